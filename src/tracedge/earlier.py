"""What earlier runs left in an output folder: what is done, what would fail again, and what must not be mixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracedge.errors import RunError
from tracedge.jsonlines import decode

Entry = Mapping[str, Any]  # a line of the manifest


def is_same(entry: Entry, settings_hash: str, content_hash: str | None) -> bool:
    """Whether a line tells of the same settings and the same bytes."""
    return bool(entry["settings_hash"] == settings_hash and entry["content_hash"] == content_hash)


def would_fail_again(entry: Entry, outputs: Sequence[str]) -> bool:
    """Whether a line of the same settings and bytes says that trying again is in vain.

    Only what lay with the image itself (`Failure.lasting`), and only for the same outputs: another one may have been at fault.
    A file without readable bytes has nothing that could be known again. Lines that do not say are tried again.
    """
    known = entry["status"] == "failed" and entry["content_hash"] is not None and entry.get("lasting") is True
    return known and set(entry.get("suffixes", ())) == set(outputs)


def refuse_other_settings(
    entries: Iterable[Entry], settings: Mapping[str, object], settings_hash: str, written: Path
) -> None:
    """Raise `RunError` if results of other settings stand in the folder of `written`, the settings that were used there."""
    done = [entry for entry in entries if entry["status"] == "ok"]
    others = sum(entry["settings_hash"] != settings_hash for entry in done)
    if others:
        raise RunError(
            f"{written.parent} holds {others} results of other settings{_difference(settings, written)}: "
            "choose another output folder, or replace them with --force (force=True)."
        )


def _difference(settings: Mapping[str, object], written: Path) -> str:
    """The settings that differ from those last written, for the sentence; they are a help and not a proof."""
    try:
        there = decode(written.read_bytes())
    except (OSError, ValueError):
        return ""
    if not isinstance(there, dict):
        return ""
    names = sorted(key for key in there.keys() | settings.keys() if there.get(key) != settings.get(key))
    listed = [f"{name}: {_short(there.get(name))} there, {_short(settings.get(name))} now" for name in names[:3]]
    return f" ({'; '.join(listed)})" if listed else ""


def _short(setting: object) -> str:
    """What is said of a setting in a sentence."""
    text = str(setting)
    return text if len(text) <= 120 else f"{text[:100]} ... ({len(text)} characters)"
