"""One process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracedge.errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the length of the block.

    Where the system has `flock` the lock ends with the process, however that ends, and the file stays: to remove it
    would let two processes lock two files of one name. Elsewhere the file itself is the lock and is removed at the end;
    after a kill it must be removed by hand.

    Raises:
        RunError: another process (or another block of this one) holds it.
    """
    if fcntl is None:
        with _by_existence(path):
            yield
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"another run is writing to {path.parent}: wait for it, or choose another folder."
            ) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _by_existence(path: Path) -> Iterator[None]:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError as error:
        raise RunError(
            f"another run is writing to {path.parent}: wait for it, or remove {path} if none is going on."
        ) from error
    try:
        yield
    finally:
        path.unlink()
