"""Jobs in other processes: the same function on many, the answers in their order; or one by itself."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_AHEAD = 2  # jobs made ahead for each worker: enough to keep it busy, few enough to fit in memory


def apart(function: Callable[[Job], Answer], job: Job) -> Answer:
    """The answer to one job in a process that ends with it, so that what it loads is gone, of a device's memory too."""
    with _pool(1) as pool:
        return pool.submit(function, job).result()


def in_order(
    function: Callable[[Job], Answer],
    jobs: Iterable[Job],
    workers: int,
    prepare: Callable[[], object] | None = None,
) -> Iterator[Answer]:
    """The answers, in the order of the jobs, a few of which are made ahead.

    Args:
        function: of the top level of a module, so that another process finds it; an error of it, or in making a job, ends all
            once the answers of the jobs that were given out before are there: these are given, and the error is raised last.
        workers: processes; 1 works in this one. They are spawned and not forked, since a model in this process may hold threads
            and a device: a script that asks for more than one needs its ``if __name__ == "__main__":``.
        prepare: called once in each process before its first job.
    """
    if workers == 1:
        if prepare is not None:
            prepare()
        yield from map(function, jobs)
        return
    pool = _pool(workers, prepare)
    waiting: deque[Future[Answer]] = deque()
    errors: list[Exception] = []
    try:
        for job in _until_an_error(jobs, errors):
            waiting.append(pool.submit(function, job))
            if len(waiting) > _AHEAD * workers:
                yield from _answer(waiting.popleft(), errors)
            if errors:
                break
        while waiting:
            yield from _answer(waiting.popleft(), errors)
        if errors:
            raise errors[0]
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int, prepare: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=partial(_start, prepare))


def _start(prepare: Callable[[], object] | None) -> None:
    """In a new process: end with the one that made it, also if that is killed, and do not wait for jobs of nobody."""
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _until_an_error(jobs: Iterable[Job], errors: list[Exception]) -> Iterator[Job]:
    """The jobs; an error in making one ends them, and is kept."""
    try:
        yield from jobs
    except Exception as error:
        errors.append(error)


def _answer(waiting: Future[Answer], errors: list[Exception]) -> Iterator[Answer]:
    """The answer when it is there; or none, and its error is kept."""
    try:
        answer = waiting.result()
    except Exception as error:
        errors.append(error)
    else:
        yield answer
