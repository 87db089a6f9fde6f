"""SIGTERM and Ctrl-C as exceptions, so that what is open is closed; one that a library swallows is raised again."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_USUAL: dict[int, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}

_asked: list[int] = []
"""The signals that came since the outermost block began."""


@contextmanager
def signals_raise() -> Iterator[Callable[[], None]]:
    """Make SIGTERM end the block as an exception, as Ctrl-C does; then put back what was there. Blocks may be nested.

    Python drops an exception that a signal raises within a callback of a library; the function that is given raises it again.
    Python lets only the main thread set handlers, and a handler that somebody else has set is theirs to keep.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = [number for number, there in _USUAL.items() if in_main_thread and signal.getsignal(number) is there]
    for number in ours:
        signal.signal(number, _handler)
    try:
        yield _check if in_main_thread else _nothing
    finally:
        for number in ours:
            signal.signal(number, _USUAL[number])
        if ours:
            _asked.clear()


def _handler(number: int, frame: FrameType | None) -> NoReturn:
    _asked.append(number)
    _raise(number)


def _check() -> None:
    if _asked:
        _raise(_asked[0])


def _nothing() -> None:
    pass


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
