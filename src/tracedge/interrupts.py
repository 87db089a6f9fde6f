"""SIGTERM and Ctrl-C as exceptions, so that what is open is closed; one that a library swallows is raised again."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_USUAL: dict[int, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}

_taken: set[int] = set()
"""The signals that the blocks that are open now make exceptions of."""

_came: list[int] = []
"""Those that came since the outermost block began."""


@contextmanager
def signals_raise(*numbers: int) -> Iterator[None]:
    """Make SIGTERM end the block as an exception, as Ctrl-C does; then put back what was there. Blocks may be nested.

    Python lets only the main thread set handlers, and a handler that somebody else has set is theirs to keep.

    Args:
        numbers: of SIGTERM and SIGINT those that are meant; none means both.
    """
    there = [number for number in numbers or _USUAL if signal.getsignal(number) is _USUAL[number]]
    ours = there if threading.current_thread() is threading.main_thread() else []
    for number in ours:
        _taken.add(number)
        signal.signal(number, _handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, _USUAL[number])
            _taken.discard(number)
        if not _taken:
            _came.clear()


def raise_again() -> None:
    """Raise what a signal raised before in the main thread, if one came.

    A library in C that calls Python may drop what a signal raises there, and go on without the answer or raise an error of its
    own (numpy: "Cannot compare structured arrays"). So after a signal neither a result nor an error is to be believed.
    """
    if _came and threading.current_thread() is threading.main_thread():
        _raise(_came[0])


def _handler(number: int, frame: FrameType | None) -> NoReturn:
    _came.append(number)
    _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
