"""What an evaluation has counted so far, on disk, so that a kill costs the images at work and not the night."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tracedge.errors import RunError
from tracedge.jsonlines import append, decode, encode, lines_with_offsets
from tracedge.locking import exclusive

Key = tuple[str, ...]


class Journal:
    """Counts by key: those of an interrupted evaluation, and those that are added now.

    The file's first line holds the settings; each other line is one image. In memory stands only where each key's line begins.
    With `None` as path there is no file, and the counts themselves are kept.

    settings: what the counts depend on, of JSON's types.

    Raises:
        RunError: the file is another evaluation's, or no journal at all.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, object]) -> None:
        self._path = path
        self._entries: dict[Key, Any] = {}  # of a key: where its line begins, or without a file its entry
        self._open = ExitStack()
        if path is None:
            return
        first = json.loads(encode({"settings": dict(settings)}))
        empty = True
        for offset, line in lines_with_offsets(path):
            entry = _read(line, path, first=empty)
            if not empty:
                self._entries[tuple(entry["key"])] = offset
            elif entry != first:
                differing = ", ".join(_differing(entry["settings"], first["settings"]))
                raise RunError(
                    f"{path} is of an evaluation that was interrupted, and had other settings ({differing}): "
                    "finish that one, or remove the file."
                )
            empty = False
        self._writer = self._open.enter_context(path.open("ab", buffering=0))
        self._reader = self._open.enter_context(path.open("rb"))
        if empty:
            append(self._writer, encode(first))

    @property
    def lasts(self) -> bool:
        """Whether it is on disk: what stands there must be known again by its fingerprint."""
        return self._path is not None

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, *key: str, of: str | None = None) -> Any | None:
        """The counts of a key, of JSON's types; None if there are none yet.

        of: the fingerprint of what they must have been counted on, if `put` was given one.

        Raises:
            RunError: they were counted on something else.
        """
        if key not in self._entries:
            return None
        entry = self._entry(key)
        if entry.get("of") != of:
            raise RunError(
                f"{key[-1]} of {key[0]} is not what it was when {self._path or 'it'} was written, in its photo or its truth: "
                "bring the data back, or remove the file and count afresh."
            )
        return entry["counts"]

    def items(self, first: str) -> Iterator[tuple[Key, Any]]:
        """(the rest of the key, the counts) of all keys that begin with `first`, one by one, in the order in which they came."""
        for key in [key for key in self._entries if key[0] == first]:
            yield key[1:], self._entry(key)["counts"]

    def seen(self, data: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
        """What is said of each data set, by its name, and with it a fingerprint of all photos and truths that were counted on."""
        return {name: {**said, "fingerprint": self._fingerprint(name)} for name, said in data.items()}

    def put(self, counts: object, *key: str, of: str | None = None) -> None:
        """Add the counts of a key, and the fingerprint of what they were counted on; on the disk when this returns."""
        entry = {"key": key, "counts": counts} | ({"of": of} if of is not None else {})
        if self._path is None:
            self._entries[key] = entry
        else:
            offset = self._path.stat().st_size
            append(self._writer, encode(entry))
            self._entries[key] = offset

    def close(self) -> None:
        """Let go of the file."""
        self._open.close()

    def _fingerprint(self, first: str) -> str:
        known = {(key[-1], self._entry(key).get("of")) for key in self._entries if key[0] == first}
        return sha256(json.dumps(sorted(known)).encode()).hexdigest()[:16]

    def _entry(self, key: Key) -> Any:
        found = self._entries[key]
        if self._path is None:
            return found
        self._reader.seek(found)
        return json.loads(self._reader.readline())


@contextmanager
def journal_beside(report: Path | None, settings: Mapping[str, object]) -> Iterator[Journal]:
    """The journal `<report>.journal` of the evaluation whose report that is; it is removed if the block ends well.

    One process at a time, by the lock `<report>.journal.lock`, which is gone when the block ends, however it ends; a kill leaves
    it, and the next evaluation removes it. Without a report there is nowhere to write, and nothing is kept.

    Raises:
        RunError: see `Journal`; or another process is at it.
    """
    if report is None:
        yield Journal(None, settings)
        return
    path = report.with_name(f"{report.name}.journal")
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_name(f"{path.name}.lock"), tidy=True):
        journal = Journal(path, settings)
        try:
            yield journal
        finally:
            journal.close()
        path.unlink()


def _read(line: bytes, path: Path, *, first: bool) -> dict[str, Any]:
    """The settings if it is the first line, and else an entry."""
    try:
        entry = decode(line)
    except ValueError:
        entry = None
    fields = entry.keys() - {"of"} if isinstance(entry, dict) else set()
    if not (fields == {"settings"} if first else fields == {"key", "counts"} and _is_key(entry["key"])):
        raise RunError(f"{path} is no journal of an evaluation: remove it, or choose another file for the report.")
    return dict(entry)


def _differing(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """The settings that are not the same, each by its path in them, and with its values where these are short."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                yield from _differing(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        return
    plain = (str, int, float, bool, type(None))
    both = (
        f": {json.dumps(before)}, now {json.dumps(now)}" if isinstance(before, plain) and isinstance(now, plain) else ""
    )
    yield f"{name}{both}"


def _is_key(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)
