"""A run's manifest as a contact sheet reads it: the last line of each photo, and nothing is touched."""

import json

import pytest

from fake_runs import five_photos, run
from tracedge.errors import DataError
from tracedge.run_entries import read_entries

HASHES = {"content_hash": "0", "settings_hash": "0"}


def written(folder, *entries, torn=b""):
    lines = [
        {"output": "a", "file": "a.png", "status": "ok", "error": None, "suffixes": [".edges.png"]} | HASHES | each
        for each in entries
    ]
    (folder / "manifest.jsonl").write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + torn)
    return read_entries(folder)


def test_the_last_line_of_a_photo_counts_and_a_torn_one_is_left_as_it_is(tmp_path):
    torn = b'{"output": "b"'
    (one,) = written(tmp_path, {"status": "failed", "error": "ImageError: no"}, {"instances": 3}, torn=torn)
    assert one.error is None and one.count == (3, "instances")
    assert (tmp_path / "manifest.jsonl").read_bytes().endswith(torn)


def test_what_a_real_run_wrote_is_found_under_its_names(tmp_path):
    photos = five_photos(tmp_path / "photos")
    (photos / "b.png").write_text("no picture")
    run(photos, tmp_path / "out")
    entries = read_entries(tmp_path / "out")
    assert [entry.file for entry in entries] == ["a.png", "b.png", "sub/a.png", "sub/deep/c.png", "z.png"]
    assert [entry.file for entry in entries if entry.error] == ["b.png"]
    assert all(entry.output(tmp_path / "out", entry.suffixes[0]).is_file() for entry in entries if not entry.error)


def test_figures_of_each_command_are_known(tmp_path):
    found = written(
        tmp_path,
        {"output": "a", "instances": 2, "scores": [0.5, 0.9]},
        {"output": "b", "file": "b.png", "segments": [[1, 2, True, None]]},
        {"output": "c", "file": "c.png", "classes": [3, 4]},
        {"output": "d", "file": "d.png", "timestep": 100.0, "margin": 0.25},
        {"output": "e", "file": "e.png", "instances": 0, "scores": []},
    )
    assert [one.count for one in found] == [(2, "instances"), (1, "segments"), (2, "classes"), None, (0, "instances")]
    assert [one.sureness for one in found] == [pytest.approx(0.7), None, None, 0.25, None]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", ""])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    for key in ("output", "file"):
        with pytest.raises(DataError, match=r"line 1 of .* is not an entry of a run"):
            written(tmp_path, {key: name})


def test_no_run_and_no_entry_are_said(tmp_path):
    with pytest.raises(DataError, match=r"has no readable manifest\.jsonl"):
        read_entries(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match="is not an entry of a run"):
        read_entries(tmp_path)


@pytest.mark.parametrize("suffix", ["../.overlay.png", "/../../etc/.png", "png"])
def test_outputs_that_lead_out_of_the_folder_are_refused(tmp_path, suffix):
    with pytest.raises(DataError, match="is not an entry of a run"):
        written(tmp_path, {"suffixes": [suffix]})
