"""Files that are whole or not there.

A file is written under a temporary name in its own folder, flushed to the disk and renamed in one step. Whatever kills
the process, no half-written file ever stands under a final name; what is left over is known by its name alone.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_TEMPORARY = re.compile(rf"\.tracedge-[0-9a-f]{{16}}\.tmp({_SUFFIX.pattern})?")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; at the end of the block it is renamed to `path`, replacing what was there.

    The temporary file stands in the folder of `path` (a rename is atomic only within one file system; the folder is
    made if need be) and keeps the suffix, since some writers choose a format by it. Its mode is what the umask says. If
    the block raises, the temporary file is removed and `path` is as it was.

    Raises:
        OSError: the folder cannot be made or written to, the disk is full, or the block wrote no file.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [entry.name for entry in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name does not hold the final one, which may be as long as a name can be.
    suffix = path.suffix if _SUFFIX.fullmatch(path.suffix) else ""
    temporary = path.parent / f".tracedge-{secrets.token_hex(8)}.tmp{suffix}"
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def is_temporary(name: str) -> bool:
    """Whether a file name is one that `atomic_path` gives, and nobody else."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(folder: Path, *, unless: str | None = None) -> None:
    """Remove the temporary files that a kill left in a folder and below; for its one user, who writes nothing there now.

    unless: the name of a file that tells of another user: folders below that hold one are left alone.
    """
    for where, folders, names in os.walk(folder):
        if unless in names and Path(where) != folder:
            folders.clear()
            continue
        for name in filter(is_temporary, names):
            Path(where, name).unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last: it is an entry of the folder. Windows opens no folders, and needs none of this."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
