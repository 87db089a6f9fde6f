"""A folder run of some work by some engine, from start to exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tracedge.cli.progress import PhotoBar, finish, loading

if TYPE_CHECKING:
    from tracedge.cli.engine_options import EngineOptions
    from tracedge.runs import FolderRun
    from tracedge.sources import Part
    from tracedge.work import Work


def run_folder(
    work: Work,
    parts: Sequence[Part],
    output: Path,
    suffixes: Sequence[str],
    engine: EngineOptions,
    *,
    batch_size: int,
    force: bool,
    retry_failed: bool,
    done: str = "done",
    gathered: Sequence[str] = (),
    at_the_end: Callable[[FolderRun, dict[str, Any]], None] = lambda run, provenance: None,
) -> NoReturn:
    """Load the model, run, and end the command with its exit code.

    done: the word for it. gathered: names of files of all images, which at_the_end writes (see `FolderRun`). at_the_end: is
    given the run, and what the results depend on, while it holds the folder.
    """
    from tracedge.runs import FolderRun

    with engine.build() as by:
        with loading():
            provenance = by.open(work)
        with (
            FolderRun(output, provenance, suffixes, force=force, retry_failed=retry_failed, gathered=gathered) as run,
            PhotoBar(_count(parts)) as bar,
        ):
            summary = run.process_parts(parts, by, batch_size=batch_size, on_progress=bar.step)
            at_the_end(run, provenance)
    finish(summary, output, done=done)


def _count(parts: Sequence[Part]) -> int | None:
    """How many images there are; None: nobody knows before they are read."""
    if any(part.prefix is not None for part in parts):
        return None
    return sum(1 for part in parts for _ in part.tasks())
