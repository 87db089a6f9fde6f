"""What runs and evaluations write down and read again: manifests, journals, logs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from random import Random

from fuzz.contract import Reader
from fuzz.json_trees import damaged_json
from fuzz.mutations import damaged
from tracedge.checkpoints import cut_log
from tracedge.errors import SettingsError
from tracedge.evaluation.journal import Journal
from tracedge.jsonlines import encode
from tracedge.manifest import Manifest
from tracedge.run_entries import read_entries
from tracedge.student.pseudo_labels import PseudoLabels
from tracedge.visualize.contact_sheet import SORTS, SheetSettings, caption, contact_sheet, in_order
from tracedge.visualize.thumbnails import thumbnail

_SETTINGS = {"thresholds": 9, "data": {"a": {"images": 2}}}


def _manifests() -> list[bytes]:
    ok = {"file": "a.png", "output": "a", "content_hash": "0", "settings_hash": "1", "status": "ok", "error": None}
    lost = ok | {
        "file": "sub/b.png",
        "output": "sub/b",
        "status": "failed",
        "error": "ImageError: it is empty.",
        "content_hash": None,
    }
    return [encode(ok | {"suffixes": [".png"]}) + encode(lost) + encode(ok)]


def _sheets() -> list[bytes]:
    ok = {"file": "a.png", "output": "a", "content_hash": "0", "settings_hash": "1", "status": "ok", "error": None}
    ok |= {"suffixes": [".edges.png"], "seconds": 0.5}
    torn = {"status": "failed", "error": "DataError: s.tar cannot be read to its end after 1 image: it has 9 bytes."}
    lines = [
        ok | {"timestep": 100.0, "margin": 0.25},
        ok | {"file": "b.jpg", "output": "b", "instances": 2, "scores": [0.5, 0.25]},
        ok | {"file": "sub/c.png", "output": "sub/c", "segments": [[1, 2, True, None]]},
        ok | {"file": "s/0.png", "output": "s/0", "classes": [3, 4]},
        ok | {"file": "s.tar", "output": "s", "content_hash": None, "suffixes": []} | torn,
    ]
    return [b"".join(map(encode, lines)), b"".join(map(encode, [*lines, ok | {"file": "s/1.png", "output": "s/1"}]))]


def _journals() -> list[bytes]:
    line = {"key": ["sobel", "data", "a.jpg"], "counts": {"hit": [1, 2]}, "of": "1"}
    return [encode({"settings": _SETTINGS}) + encode(line) + encode(line | {"key": ["b"], "counts": [1]})]


def _logs() -> list[bytes]:
    return [b"".join(encode({"step": step, "loss": 0.5}) for step in range(4))]


def _damaged_lines(content: bytes, chance: Random) -> bytes:
    if chance.randrange(4) == 0:
        return damaged(content, chance)
    lines = content.splitlines()
    at = chance.randrange(len(lines)) if lines else 0
    return (
        b"\n".join([*lines[:at], *(damaged_json(line, chance) for line in lines[at : at + 1]), *lines[at + 1 :]])
        + b"\n"
    )


def _manifest(path: Path) -> None:
    with Manifest(path) as manifest:
        last = manifest.last
        assert all(isinstance(entry["file"], str) and isinstance(entry["status"], str) for entry in last.values())
        assert all(isinstance(suffix, str) for entry in last.values() for suffix in entry.get("suffixes", ()))
    with Manifest(path) as again:
        assert again.last == last


def _sheet(path: Path) -> None:
    """All that a sheet shows of it, in each order; no picture is there, and each says so."""
    folder = path.parent
    entries = read_entries(folder)
    assert all(entry.error is None or "\n" not in caption(entry) for entry in entries)
    for entry in entries:
        for suffix in entry.suffixes:
            assert ".." not in entry.output(folder, suffix).relative_to(folder).parts
    for sort in SORTS if entries else ():
        try:
            assert sorted(in_order(entries, sort), key=id) == sorted(entries, key=id)
        except SettingsError as error:
            assert "no photo of this run has a figure" in str(error)
    show = partial(thumbnail, folder, side=48)
    pages = list(contact_sheet(entries, show, SheetSettings(side=48)))
    assert bool(pages) == bool(entries)


def _journal(path: Path) -> None:
    journal = Journal(path, _SETTINGS)
    try:
        assert all(isinstance(key, tuple) for key, _ in journal.items("sobel"))
        journal.put([1], "new", of="2")
        assert journal.get("new", of="2") == [1] and len(journal.seen({"data": {}})["data"]["fingerprint"]) == 16
    finally:
        journal.close()


def _log(path: Path) -> None:
    cut_log(path, 2)
    assert all(json.loads(line)["step"] <= 2 for line in path.read_text().splitlines())


def _provenance(path: Path) -> None:
    found = PseudoLabels(path.parent)
    assert len(found) == 1 and isinstance(found.provenance, dict)


def _pair(folder: Path) -> None:
    for name in ("a.image.png", "a.edges.png"):
        (folder / name).touch()


def _settings() -> list[bytes]:
    return [json.dumps({"predictor": "teacher", "taught_px": 48, "size": 24, "backbone": {"name": "mini"}}).encode()]


READERS = [
    Reader("manifest", "manifest.jsonl", _manifests, _damaged_lines, _manifest),
    Reader("manifest on a sheet", "manifest.jsonl", _sheets, _damaged_lines, _sheet),
    Reader("journal", "report.json.journal", _journals, _damaged_lines, _journal),
    Reader("log of a training", "train.jsonl", _logs, _damaged_lines, _log),
    Reader("settings of pseudo labels", "settings.json", _settings, damaged_json, _provenance, _pair),
]
