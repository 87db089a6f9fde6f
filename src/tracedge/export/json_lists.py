"""The lists of a large JSON object, one record at a time: what is not kept is gone before the next one is read.

COCO's own files are up to half a gigabyte of text, and many times that once every number is an object of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracedge.errors import DataError
from tracedge.export.json_records import MAX_JSON_BYTES, refuse_constant

_BLANK = re.compile(r"[ \t\n\r]*")


def read_json_text(path: Path) -> str:
    """The text of a JSON file.

    Raises:
        DataError: a file that cannot be read, is not UTF-8, or is larger than MAX_JSON_BYTES.
    """
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise DataError(f"{path} is {size} bytes, more than the limit of {MAX_JSON_BYTES}: split it.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from error


@contextmanager
def saying_damage() -> Iterator[None]:
    """What `lists_of` and its records raise becomes a sentence, a DataError."""
    try:
        yield
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"it cannot be read as JSON: {error}.") from error


def lists_of(text: str, others: dict[str, Any] | None = None) -> Iterator[tuple[str, Iterator[Any]]]:
    """Each key of a JSON object whose value is a list, with the records of that list, in the order of the text.

    A list's records are read as they are asked for, and those that are not asked for when the next key is. Values that are no
    lists are put into `others`, if there is one.

    Raises:
        DataError: a list and no object, as COCO results are.
        ValueError, RecursionError: no JSON object, or one that is damaged; only when the damaged place is reached.

    >>> for key, records in lists_of('{"info": {"year": 1}, "images": [{"id": 3}, {"id": 4}], "annotations": []}'):
    ...     print(key, list(records))
    images [{'id': 3}, {'id': 4}]
    annotations []
    """
    scan = _Scan(text)
    if scan.take_if("["):
        raise DataError(
            "it is a list, as COCO results are; a truth is an object with lists of images, annotations and categories."
        )
    scan.take("{")
    if scan.take_if("}"):
        return
    while True:
        key = scan.value()
        if not isinstance(key, str):
            raise ValueError(f"a key of an object is text, got {key!r:.40}")
        scan.take(":")
        if scan.take_if("["):
            records = scan.records()
            yield key, records
            for _ in records:
                pass
        elif others is None:
            scan.value()
        else:
            others[key] = scan.value()
        if not scan.take_if(","):
            scan.take("}")
            return


class _Scan:
    """A place in the text, and what comes next there."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self._decode = json.JSONDecoder(parse_constant=refuse_constant).raw_decode

    def value(self) -> Any:
        found, self.at = self._decode(self.text, self._next())
        return found

    def records(self) -> Iterator[Any]:
        if self.take_if("]"):
            return
        yield self.value()
        while self.take_if(","):
            yield self.value()
        self.take("]")

    def take(self, sign: str) -> None:
        if not self.take_if(sign):
            got = repr(self.text[self.at]) if self.at < len(self.text) else "the end"
            raise ValueError(f"expected {sign!r} at character {self.at}, got {got}")

    def take_if(self, sign: str) -> bool:
        if self.text[self._next() : self.at + 1] != sign:
            return False
        self.at += 1
        return True

    def _next(self) -> int:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at
