"""SIGTERM and Ctrl-C as exceptions, so that what is open is closed; one that a library swallows is raised again."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn


@contextmanager
def signals_raise() -> Iterator[Callable[[], None]]:
    """Make SIGTERM end the block as an exception, as Ctrl-C does; then put back what was there.

    Python drops an exception that a signal raises within a callback of a library; the function that is given raises it again.
    Python lets only the main thread set handlers, and a handler that somebody else has set is theirs to keep.
    """
    asked: list[int] = []

    def handler(number: int, frame: FrameType | None) -> NoReturn:
        asked.append(number)
        _raise(number)

    def check() -> None:
        if asked:
            _raise(asked[0])

    usual: dict[int, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = [number for number, there in usual.items() if in_main_thread and signal.getsignal(number) is there]
    for number in ours:
        signal.signal(number, handler)
    try:
        yield check
    finally:
        for number in ours:
            signal.signal(number, usual[number])


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
