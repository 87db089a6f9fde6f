"""An append-only file of JSON lines that survives a kill: the last line may be torn, and is then cut off.

`manifest.py` keeps the diary of a folder run in one, `evaluation/journal.py` what has been counted so far.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np


def encode(entry: object) -> bytes:
    """The line of an entry, keys sorted, with its newline; numpy's scalars become numbers.

    Raises:
        TypeError, ValueError: a value that JSON cannot hold, a nan included.
    """
    return json.dumps(entry, sort_keys=True, allow_nan=False, default=_plain).encode() + b"\n"


def decode(line: bytes | str) -> Any:
    """What a line holds, or any other JSON.

    Raises:
        ValueError: no JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(line if isinstance(line, str) else line.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_and_mend(path: Path) -> list[bytes]:
    """The whole lines of a file, none if it is not there; a torn one at its end is cut off."""
    return [line for _, line in lines_with_offsets(path)]


def lines_with_offsets(path: Path) -> Iterator[tuple[int, bytes]]:
    """The same one after the other, however long the file is, each with the place of its first byte and without its newline."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            yield offset, line[:-1]
            offset += len(line)
    if offset < path.stat().st_size:
        os.truncate(path, offset)


def append(stream: IO[bytes], line: bytes) -> None:
    """Add a line that `encode` made to a file opened by `open("ab", buffering=0)`; it is on the disk when this returns.

    Raises:
        OSError: the line could not be written in full; `read_and_mend` cuts off what was.
    """
    if stream.write(line) != len(line):
        raise OSError(errno.ENOSPC, "the disk is full", str(stream.name))
    os.fsync(stream.fileno())


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written to a manifest, expected JSON's types")
