"""What a worker does: it loads the model once, and goes through one share after the other."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tracedge.claims import join
from tracedge.errors import TracedgeError
from tracedge.jobs import Task, folded
from tracedge.outcomes import Named, Outcome, OutputFolder
from tracedge.scale.shares import InHand, Share
from tracedge.work import Steps, Work, work_through

MOMENT = 0.2
"""Seconds between two messages of a worker, if its images are faster than that."""

MOST = 64
"""Images in a message at most. If a worker dies, so many may be done again."""


@dataclass(frozen=True)
class Message:
    """What a worker says, and then waits to be told to go on.

    outcomes: of images whose outputs are in place. in_hand: what it takes up next, if it goes carefully. refused: why the run
    must not go on. finished: whether the share is.
    """

    outcomes: tuple[Outcome, ...] = ()
    in_hand: InHand | None = None
    refused: Exception | None = None
    finished: bool = False


@dataclass(frozen=True)
class Orders:
    """What holds for all shares of a run. folder, claim: their paths are absolute."""

    folder: OutputFolder
    claim: Path
    batch_size: int


class Worker:
    """An actor. Errors that are meant for the user are given back: Ray would wrap what is raised."""

    def __init__(self, work: Work, threads: int, here: Path) -> None:
        import torch

        with contextlib.suppress(OSError):  # names of files are relative to where the driver stands
            os.chdir(here)
        torch.set_num_threads(threads)
        self._opened: Steps | Exception
        try:
            self._opened = work.open()
        except (TracedgeError, OSError) as error:
            self._opened = error
        self._messages: Iterator[Message] = iter(())

    def provenance(self) -> dict[str, Any] | Exception:
        """What the results of this worker depend on, or why there will be none."""
        return self._opened if isinstance(self._opened, Exception) else self._opened.provenance

    def begin(self, share: Share, orders: Orders) -> Message:
        """Begin a share; gives its first message."""
        if isinstance(self._opened, Exception):
            return Message(refused=self._opened)
        try:
            join(orders.claim)
        except TracedgeError as error:
            return Message(refused=error)
        self._messages = _messages(share, self._opened, orders)
        return self.go_on()

    def go_on(self) -> Message:
        """Gives the next message."""
        return next(self._messages)


def _messages(share: Share, steps: Steps, orders: Orders) -> Iterator[Message]:
    """Those of a share, the last one finished or refused."""
    tasks = (task for task in share.part.tasks() if folded(str(task.relative)) not in share.told)
    outcomes: list[Outcome] = []
    try:
        for task in islice(tasks, share.careful):
            yield Message(in_hand=InHand(_named(task), task.content_hash()))
            yield Message(tuple(map(_told, work_through([task], orders.folder, share.known, steps, 1))))
        since = time.monotonic()
        for outcome in work_through(tasks, orders.folder, share.known, steps, orders.batch_size):
            outcomes.append(_told(outcome))
            if len(outcomes) >= MOST or time.monotonic() - since > MOMENT:
                yield Message(tuple(outcomes))
                outcomes, since = [], time.monotonic()
    except (TracedgeError, OSError) as error:
        yield Message(tuple(outcomes), refused=error)
        return
    yield Message(tuple(outcomes), finished=True)


def _told(outcome: Outcome) -> Outcome:
    """The same with the name of its image alone."""
    return replace(outcome, task=_named(outcome.task))


def _named(task: Task) -> Named:
    return Named(str(task.source), task.relative, task.file)
