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
def exclusive(path: Path, *, tidy: bool = False) -> Iterator[None]:
    """Hold the lock file `path` for the length of the block.

    Where the system has `flock` the lock ends with the process, however that ends. The file stays, or is removed at the end if
    `tidy`, and after a kill by the next one that holds it. Whoever locks a file that no longer is the one of its name, since it
    was removed between opening and locking, opens it again; so two processes never hold two files of one name. Elsewhere the file
    itself is the lock and is always removed at the end; after a kill it must be removed by hand.

    Raises:
        RunError: another process (or another block of this one) holds it.
    """
    if fcntl is None:
        with _by_existence(path):
            yield
        return
    descriptor = _locked(path)
    try:
        yield
    finally:
        if tidy and is_at(descriptor, path):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int:
    """A descriptor that holds the lock on the file that is at `path` now."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise RunError(
                f"another run is writing to {path.parent}: wait for it, or choose another folder."
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the file that is open is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


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
