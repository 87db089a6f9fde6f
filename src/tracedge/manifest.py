"""The diary of a folder run: one line of JSON for each image that was finished, appended and never rewritten.

The last line of an output counts. A kill may tear the line that was being written; the next run mends that.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from tracedge.errors import RunError
from tracedge.jobs import folded, is_suffix
from tracedge.jsonlines import append, decode, read_and_mend

MANIFEST = "manifest.jsonl"
"""Its name in the folder of a run."""

_REQUIRED = frozenset({"file", "output", "content_hash", "settings_hash", "status", "error"})


class Manifest:
    """An append-only file of JSON lines, read once and then written to.

    Each line is an object with sorted keys: `file` (the image, its path under the input folder), `output` (the same
    without suffix: what the names of its outputs begin with), `content_hash` (SHA-256 of the file's bytes, or null if
    it could not be read), `settings_hash`, `suffixes` (of the outputs), `status` ("ok" or "failed"), `error`
    (null or "TypeName: sentence"), where it failed `lasting` (whether the same bytes would fail again), and whatever else the
    run knows of the image.

    Args:
        path: the file; it is made if it is not there. A torn last line is cut off.

    Raises:
        RunError: a line before the last one is not of this form.

    Attributes:
        last: the last entry of each output, by its `folded` name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: dict[str, dict[str, Any]] = {}
        for entry in _entries(path):
            self.last[folded(entry["output"])] = entry
        self._stream = path.open("ab", buffering=0)  # unbuffered: a line is one write, whole or not there

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()

    def append(self, line: bytes) -> None:
        """Add a line that `jsonlines.encode` made; it is on the disk when this returns.

        Raises:
            OSError: the line could not be written in full; the next run cuts off what was.
            RunError: the file is not there any more: what is written to it is lost, and so are, it seems, the outputs.
        """
        if os.fstat(self._stream.fileno()).st_nlink == 0:
            raise RunError(
                f"{self.path} was removed while the run was going on: start it again, and what is lost is done anew."
            )
        append(self._stream, line)
        entry = json.loads(line)
        self.last[folded(entry["output"])] = entry


def _entries(path: Path) -> list[dict[str, Any]]:
    entries = []
    for number, line in enumerate(read_and_mend(path), start=1):
        entry = parsed(line)
        if entry is None:
            raise RunError(
                f"line {number} of {path} is not an entry of a run: remove that line, or choose another output folder."
            )
        entries.append(entry)
    return entries


def parsed(line: bytes) -> dict[str, Any] | None:
    """The entry that a line holds; None if it is not of the form that `Manifest` says."""
    try:
        entry = decode(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not entry.keys() >= _REQUIRED:
        return None
    texts = [entry[key] for key in ("file", "output", "settings_hash", "status")]
    suffixes = entry.get("suffixes", [])
    whole = isinstance(suffixes, list) and all(isinstance(each, str) for each in (*texts, *suffixes))
    known = whole and entry["status"] in ("ok", "failed") and all(map(is_suffix, suffixes))
    return entry if known else None
