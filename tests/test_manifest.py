"""The diary of a run: a torn line is mended, other damage is named."""

import os

import pytest

from tracedge.errors import RunError
from tracedge.jsonlines import encode
from tracedge.manifest import Manifest


def entry(name: str) -> bytes:
    own = {"file": f"{name}.png", "output": name, "content_hash": None, "settings_hash": "0", "status": "ok"}
    return encode({**own, "error": None})


@pytest.mark.parametrize("torn", [b"{", entry("b")[:-1], entry("b")[:20], b"\0\0\0"])
def test_a_torn_last_line_is_cut_off_and_the_next_one_starts_anew(tmp_path, torn):
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(entry("a") + torn)
    with Manifest(path) as manifest:
        assert list(manifest.last) == ["a"]
        manifest.append(entry("c"))
    assert path.read_bytes() == entry("a") + entry("c")


@pytest.mark.parametrize("damage", [b"{\n", b"[]\n", b'{"file": "b.png"}\n', b"\n", entry("b").replace(b'"b"', b"1")])
def test_damage_before_the_end_is_named_and_not_passed_over(tmp_path, damage):
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(entry("a") + damage + entry("c"))
    with pytest.raises(RunError, match=r"line 2 of .*manifest\.jsonl is not an entry"):
        Manifest(path)


def test_the_last_line_of_an_output_counts(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(entry("a") + entry("a").replace(b'"ok"', b'"failed"'))
    with Manifest(path) as manifest:
        assert manifest.last["a"]["status"] == "failed"


def test_names_outside_of_unicode_survive(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        manifest.append(entry(name))
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        assert manifest.last[name]["output"] == name
