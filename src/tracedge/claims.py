"""Processes that write into the folder of a run for it, and may outlive it for a moment; the next run waits for them.

A run that has such workers makes a file, its claim. Each worker holds a shared lock of it for as long as it lives. The next
run waits until it can have each claim that it finds for itself, and removes it; a worker that comes only then does nothing.
Where the system has no `flock` nobody can be waited for: claims are removed at once, and workers look for theirs at each share.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from tracedge.errors import RunError
from tracedge.locking import fcntl, is_at

PREFIX = ".tracedge-workers-"

_joined: dict[Path, int] = {}
"""The claims of which this process holds a lock, with the descriptors; they end with the process."""


def make(folder: Path) -> Path:
    """Make the claim of a run that holds the folder."""
    path = folder / f"{PREFIX}{secrets.token_hex(8)}"
    path.touch(exist_ok=False)
    return path


def join(claim: Path) -> None:
    """Hold a claim as a worker, until this process ends.

    Raises:
        RunError: the run that made it is over, so that nothing may be written for it.
    """
    try:
        descriptor = _joined[claim] if claim in _joined else os.open(claim, os.O_RDWR)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        _joined[claim] = descriptor
        still = is_at(descriptor, claim)
    except (FileNotFoundError, BlockingIOError):
        still = False
    if not still:
        raise RunError(f"the run that writes to {claim.parent} is over.")


def take_over(folder: Path, seconds: float = 60.0) -> None:
    """Wait until no worker of an earlier run writes to a folder, and let none begin; for the process that holds the folder.

    Raises:
        RunError: some still do after so many seconds.
    """
    end = time.monotonic() + seconds
    for claim in folder.glob(f"{PREFIX}*"):
        descriptor = os.open(claim, os.O_RDWR)
        try:
            while fcntl is not None and not _alone(descriptor):
                if time.monotonic() > end:
                    raise RunError(
                        f"workers of an earlier run still write to {folder}, {seconds:g} s after it: end them, or choose "
                        "another folder."
                    )
                time.sleep(0.05)
            claim.unlink()
        finally:
            os.close(descriptor)


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
