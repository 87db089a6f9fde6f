"""What the driver does: it hands shares out to workers, and what a worker died with to another one."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple

from tracedge import claims
from tracedge.batching import Failure
from tracedge.earlier import Entry
from tracedge.errors import RunError
from tracedge.maps import settings_hash
from tracedge.outcomes import Outcome, OutputFolder
from tracedge.scale.cluster import Cluster, joined, pool, ray_module
from tracedge.scale.crew import Crew
from tracedge.scale.shares import TRIES, InHand, Share, shared_out
from tracedge.scale.worker import MOST, Message, Orders
from tracedge.sources import Part
from tracedge.work import Work


class RayEngine:
    """An `Engine` whose workers are actors of Ray; entering it starts or joins the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: the cluster has fewer processors than the workers need.
    """

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.cluster = cluster or Cluster()
        self._own = contextlib.ExitStack()
        self._crew: Crew | None = None
        self._first: Any = None

    def __enter__(self) -> RayEngine:
        ray = ray_module()
        with contextlib.ExitStack() as stack:
            if not ray.is_initialized():
                stack.enter_context(joined(self.cluster))
            self._size, self._resources = pool(self.cluster, ray.cluster_resources())
            self._own = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own.__exit__(kind, error, traceback)

    def open(self, work: Work) -> dict[str, Any]:
        """Ask the first worker: the processors there may be others than here, and with them the precision."""
        self._crew = Crew(work, self.cluster.threads, self._resources)
        self._own.callback(self._crew.dismiss_all)
        while True:
            self._first = self._crew.start()
            provenance = self._crew.opened(self._crew.answer(self._first.provenance.remote()))
            if provenance is not None:
                return provenance

    def outcomes(
        self, parts: Sequence[Part], folder: OutputFolder, known: Mapping[str, Entry], batch_size: int
    ) -> Generator[Outcome]:
        """Outcomes as they come in, in no particular order of the parts; an image that was done twice is told of once.

        An image with which worker after worker dies is one that failed.
        """
        if self._crew is None:
            raise RunError("this engine has no work: open it first.")
        claim = claims.make(folder.path.absolute())
        orders = Orders(replace(folder, path=claim.parent), claim, batch_size)
        try:
            shift = _Shift(self._crew, shared_out(parts, known), orders)
            yield from shift.outcomes(self._first, min(self._size, len(parts)))
        finally:
            self._crew.dismiss_all()
            with contextlib.suppress(RunError):  # the next run waits for those that do not end
                claims.take_over(folder.path, seconds=5.0)


class _Duty(NamedTuple):
    """What a worker is at. share: None while it loads the model."""

    worker: Any
    share: Share | None


class _Shift:
    """From the first share to the last outcome."""

    def __init__(self, crew: Crew, shares: Iterator[Share], orders: Orders) -> None:
        self._crew, self._left, self._orders = crew, deque(shares), orders
        self._duties: dict[Any, _Duty] = {}  # by what the worker was asked
        self._stuck: list[RunError] = []

    def outcomes(self, opened: Any, size: int) -> Iterator[Outcome]:
        """Those of all shares, by so many workers; one is there already."""
        self._give_a_share(opened)
        for _ in range(size - 1):
            self._start()
        while self._left or any(duty.share is not None for duty in self._duties.values()):
            asked = self._crew.first_answer(list(self._duties))
            duty, answer = self._duties.pop(asked), self._crew.answer(asked)
            if duty.share is None:
                self._opened(duty.worker, answer)
            elif answer is None:
                yield from self._died(duty.worker, duty.share)
            else:
                yield from self._heard(duty.worker, duty.share, answer)
        if self._stuck:
            raise self._stuck[0]

    def _start(self) -> None:
        worker = self._crew.start()
        self._duties[worker.provenance.remote()] = _Duty(worker, None)

    def _replace(self, dead: Any) -> None:
        self._crew.dismiss(dead)
        self._start()

    def _opened(self, worker: Any, answer: Any) -> None:
        provenance = self._crew.opened(answer)
        if provenance is None:
            self._replace(worker)
            return
        if settings_hash(provenance) != self._orders.folder.settings_hash:
            raise RunError(
                "workers differ: one would make other results than the first that was asked, by its processor or its files. "
                "Say --device and --dtype, and give all of them the same models."
            )
        self._give_a_share(worker)

    def _give_a_share(self, worker: Any) -> None:
        if not self._left:
            self._crew.dismiss(worker)
        else:
            share = self._left.popleft()
            self._duties[worker.begin.remote(share, self._orders)] = _Duty(worker, share)

    def _heard(self, worker: Any, share: Share, message: Message) -> Iterator[Outcome]:
        told = [outcome for outcome in message.outcomes if share.tell(outcome.task.relative)]
        if message.in_hand is not None:
            share.announce(message.in_hand)
        # The worker goes on while these are written down.
        if message.finished:
            self._give_a_share(worker)
        elif message.refused is None:
            self._duties[worker.go_on.remote()] = _Duty(worker, share)
        yield from told
        if message.refused is not None:
            raise message.refused

    def _died(self, worker: Any, share: Share) -> Iterator[Outcome]:
        try:
            # All that a worker may have been at: a message, and a batch.
            image = share.worker_died(careful=MOST + self._orders.batch_size)
        except RunError as error:
            self._stuck.append(error)  # the other shares are done first
        else:
            self._left.appendleft(share)
            if image is not None:
                share.tell(image.task.relative)
                yield _lost(image, self._orders.folder)
        self._replace(worker)


def _lost(image: InHand, folder: OutputFolder) -> Outcome:
    failure = Failure(
        f"WorkerDied: {TRIES} processes that worked on it alone were killed: is memory short?", lasting=False
    )
    return Outcome(image.task, "failed", folder.line(image.task, image.content_hash, failure), failure.error)
