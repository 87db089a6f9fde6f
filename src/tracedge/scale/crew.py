"""The workers that live: started, asked, and dismissed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracedge.errors import RunError
from tracedge.scale.cluster import ray_module
from tracedge.scale.worker import Worker
from tracedge.work import Work

OPENINGS = 3
"""So many workers, one after the other, may die while they load the model."""


class Crew:
    """Actors of Ray that all do the same work. None is started again by Ray: whoever died was in the midst of something.

    resources: what each of them takes, as Ray names it. threads: of each on a CPU.
    """

    def __init__(self, work: Work, threads: int, resources: dict[str, float]) -> None:
        self._ray = ray_module()
        self._start = self._ray.remote(**resources, max_restarts=0, max_task_retries=0)(Worker).remote
        self._given = (work, threads, Path.cwd())
        self._living: list[Any] = []
        self._stillborn = 0

    def start(self) -> Any:
        """A new worker; it loads the model by itself, and `provenance` answers when it has."""
        self._living.append(self._start(*self._given))
        return self._living[-1]

    def answer(self, asked: Any) -> Any | None:
        """What a worker answers, as soon as it does; None: it died."""
        try:
            return self._ray.get(asked)
        except self._ray.exceptions.RayActorError:
            return None

    def first_answer(self, asked: list[Any]) -> Any:
        """Whichever of several questions is answered first."""
        ready, _ = self._ray.wait(asked)
        return ready[0]

    def opened(self, provenance: Any | None) -> dict[str, Any] | None:
        """Judge what a new worker answered; None: it died as it loaded the model.

        Raises:
            RunError: so did those before it.
            TracedgeError, OSError: the work cannot be opened.
        """
        if isinstance(provenance, Exception):
            raise provenance
        self._stillborn = self._stillborn + 1 if provenance is None else 0
        if self._stillborn >= OPENINGS:
            raise RunError(
                f"{OPENINGS} workers died as they loaded the model: is there memory for so many? Ask for fewer by --workers."
            )
        return provenance

    def dismiss(self, worker: Any) -> None:
        """End a worker, whatever it does."""
        self._living.remove(worker)
        self._ray.kill(worker)

    def dismiss_all(self) -> None:
        """End all workers."""
        while self._living:
            self.dismiss(self._living[-1])
