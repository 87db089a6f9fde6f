"""What holds of every reader, whatever bytes it is given: a checked object or one of tracedge's errors, in time, quietly, and
without a look at any other file.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tracedge.errors import MAX_MESSAGE, TracedgeError

SECONDS = 20.0
"""Of processor time that one file may take; seeds take milliseconds."""


@dataclass(frozen=True)
class Reader:
    """One way into the package.

    name: of the row in the tables. file: under which name it finds its bytes. seeds: valid files. mutate: (a valid file, chance)
    -> a damaged one. read: reads the file and asserts what must hold of the result. prepare: the other files of its folder.
    named: whether its errors name the file.
    """

    name: str
    file: str
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    read: Callable[[Path], object]
    prepare: Callable[[Path], object] = field(default=lambda folder: None)
    named: bool = True


def hold(reader: Reader, content: bytes, folder: Path) -> TracedgeError | None:
    """Let a reader read these bytes; what it refused them with, None if it took them.

    Raises:
        AssertionError: the contract is broken. Whatever else comes out of the reader breaks it too.
    """
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    started, refused = time.process_time(), None
    with warnings.catch_warnings(record=True) as said, _opened_below(folder):
        warnings.simplefilter("always")
        try:
            reader.read(path)
        except TracedgeError as error:
            refused = error
    assert time.process_time() - started < SECONDS, f"{reader.name} took {time.process_time() - started:.0f} s"
    assert not said, f"{reader.name} warned: {said[0].message}"
    if refused is not None:
        check_message(str(refused), (path.name, str(folder)) if reader.named else ("",))
    return refused


def check_message(message: str, names: tuple[str, ...]) -> None:
    """One line of bounded length that can be printed anywhere and names the file, or another one of its folder."""
    assert 0 < len(message) <= MAX_MESSAGE, f"a message of {len(message)} characters"
    assert message.isprintable(), f"a message that cannot be printed in one line: {message!r}"
    message.encode()
    assert any(name in message for name in names), f"{names[0]} is not named in: {message}"


_watched: list[str] = []
_outside: list[str] = []
_OURS = tuple(
    os.path.realpath(place)
    for place in (
        *sysconfig.get_paths().values(),
        sys.base_prefix,
        sys.prefix,
        Path(__file__).parents[1],
        "/dev",
        "/proc",
    )
)


@contextmanager
def _opened_below(folder: Path) -> Iterator[None]:
    """Python's own opens that end elsewhere than below the folder, or where code lies, break the contract."""
    if not _watched:
        sys.addaudithook(_look)  # it cannot be taken off, and looks only while a folder is watched
    _watched[:] = [os.path.realpath(folder)]
    _outside.clear()
    try:
        yield
    finally:
        _watched[:] = [""]
    assert not _outside, f"opened outside of its folder: {_outside[0]}"


def _look(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _watched or not _watched[0] or not isinstance(arguments[0], str | bytes):
        return
    real = os.path.realpath(os.fsdecode(arguments[0]))
    if not real.startswith((_watched[0], *_OURS)):
        _outside.append(real)
