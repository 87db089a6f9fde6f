"""What an evaluation has counted so far, on disk, so that a kill costs one image and not the night."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracedge.errors import RunError
from tracedge.jsonlines import append, encode, read_and_mend
from tracedge.locking import exclusive


class Journal:
    """Counts by key: those of an interrupted evaluation, and those that are added now. `None` as path: in memory only.

    settings: what the counts depend on, of JSON's types. They are the first line of the file; each other line is one image.

    Raises:
        RunError: the file is another evaluation's, or no journal at all.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, object]) -> None:
        self._known: dict[tuple[str, ...], Any] = {}
        self._stream = None
        if path is None:
            return
        lines = [_read(line, path) for line in read_and_mend(path)]
        first = json.loads(encode({"settings": dict(settings)}))
        if lines and lines[0] != first:
            raise RunError(
                f"{path} is of an evaluation that was interrupted, and had other settings: finish that one, or remove the file."
            )
        self._known = {tuple(line["key"]): line["counts"] for line in lines[1:]}
        self._stream = path.open("ab", buffering=0)
        if not lines:
            append(self._stream, encode(first))

    def get(self, *key: str) -> Any | None:
        """The counts of a key, of JSON's types; None if there are none yet."""
        return self._known.get(key)

    def items(self, first: str) -> list[tuple[tuple[str, ...], Any]]:
        """(the rest of the key, the counts) of all keys that begin with `first`, in the order in which they came."""
        return [(key[1:], counts) for key, counts in self._known.items() if key[0] == first]

    def put(self, counts: object, *key: str) -> None:
        """Add the counts of a key; on the disk when this returns."""
        self._known[key] = counts
        if self._stream is not None:
            append(self._stream, encode({"key": key, "counts": counts}))

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()


@contextmanager
def journal_beside(report: Path | None, settings: Mapping[str, object]) -> Iterator[Journal]:
    """The journal `<report>.journal` of the evaluation whose report that is; it is removed if the block ends well.

    One process at a time. Without a report there is nowhere to write, and nothing is kept.

    Raises:
        RunError: see `Journal`; or another process is at it.
    """
    if report is None:
        yield Journal(None, settings)
        return
    path = report.with_name(f"{report.name}.journal")
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path):
        journal = Journal(path, settings)
        try:
            yield journal
        finally:
            journal.close()
        path.unlink()


def _read(line: bytes, path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not (entry.keys() == {"settings"} or entry.keys() == {"key", "counts"}):
        raise RunError(f"{path} is no journal of an evaluation: remove it, or choose another file for the report.")
    return entry
