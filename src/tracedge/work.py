"""What one process does of a folder run: images in, outputs in their places, and an outcome for each.

It holds no lock and writes no manifest; `FolderRun` does, wherever the work is done.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from tracedge.atomic import atomic_path
from tracedge.batching import Failure, Prediction, attempt, predict_in_parts
from tracedge.earlier import Entry
from tracedge.errors import RunError
from tracedge.jobs import Task, folded
from tracedge.outcomes import Outcome, OutputFolder
from tracedge.sources import Part

Load: TypeAlias = Callable[[Any], Any]
PredictBatch: TypeAlias = Callable[[list[Any]], Sequence[Any]]
Write: TypeAlias = Callable[[Any, Mapping[str, Path]], Mapping[str, object] | None]


@dataclass(frozen=True)
class Steps:
    """How an image is taken to its outputs, with the model at hand.

    load: task -> what is predicted of. predict: several of these, in order -> as many results. write: (result, {suffix: path})
    -> further fields of the manifest's line, or None. provenance: what the results depend on, of JSON's types.
    """

    load: Load
    predict: PredictBatch
    write: Write
    provenance: dict[str, Any] = field(default_factory=dict)


class Work(Protocol):
    """What is to be done with images, before any model is loaded; it may be pickled."""

    def open(self) -> Steps:
        """Load the model: once in each process that works."""


class Engine(Protocol):
    """Who does the work: this process (`Local`), or those of a cluster (`tracedge.scale.RayEngine`)."""

    def __enter__(self) -> Engine: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def open(self, work: Work) -> dict[str, Any]:
        """Get ready; gives the provenance of the results."""

    def outcomes(
        self, parts: Sequence[Part], folder: OutputFolder, known: Mapping[str, Entry], batch_size: int
    ) -> Generator[Outcome]:
        """Do the work that was opened. known: the last entries of the manifest, by the folded names of their outputs."""


class Local:
    """The engine that is this process."""

    def __init__(self) -> None:
        self._steps: Steps | None = None

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        self._steps = None

    def open(self, work: Work) -> dict[str, Any]:
        self._steps = work.open()
        return self._steps.provenance

    def outcomes(
        self, parts: Sequence[Part], folder: OutputFolder, known: Mapping[str, Entry], batch_size: int
    ) -> Generator[Outcome]:
        if self._steps is None:
            raise RunError("this engine has no work: open it first.")
        tasks = (task for part in parts for task in part.tasks())
        yield from work_through(tasks, folder, known, self._steps, batch_size)


def work_through(
    tasks: Iterable[Task], folder: OutputFolder, known: Mapping[str, Entry], steps: Steps, batch_size: int
) -> Generator[Outcome]:
    """Take each image to its outputs, unless an earlier run did; the outcome follows when they are in place.

    An image that fails, in whatever step, is told and left behind. A batch that runs out of memory is halved, and batches
    stay that small; a batch that fails for another reason is tried again image by image.

    Raises:
        RunError: outputs would replace those of another photo, or leave the folder.
    """
    batch: list[_Loaded] = []
    for task in tasks:
        # 1. What is done is done, and what cannot be done is not tried twice.
        entry, content_hash = known.get(folded(str(task.relative))), task.content_hash()
        folder.refuse_replacing(entry, task)
        if folder.is_done(entry, task, content_hash):
            yield Outcome(task, "skipped")
            continue
        if (error := folder.failed_before(entry, content_hash)) is not None:
            yield Outcome(task, "failed", None, error)
            continue
        # 2. The image, or a line that says why not.
        image = attempt(steps.load, task)
        if isinstance(image, Failure):
            yield _failed(folder, task, content_hash, image)
            continue
        # 3. A full batch, and its outputs.
        batch.append(_Loaded(task, content_hash, image))
        if len(batch) >= batch_size:
            batch_size = min(batch_size, (yield from _finish(batch, folder, steps)))
            batch = []
    if batch:
        yield from _finish(batch, folder, steps)


@dataclass(frozen=True)
class _Loaded:
    task: Task
    content_hash: str | None
    image: Any


def _finish(batch: list[_Loaded], folder: OutputFolder, steps: Steps) -> Generator[Outcome, None, int]:
    """Predict a batch and write its outputs; gives the batch size that memory allows."""
    outcomes, size = predict_in_parts(steps.predict, [loaded.image for loaded in batch])
    for loaded, outcome in zip(batch, outcomes, strict=True):
        line = outcome if isinstance(outcome, Failure) else attempt(_write, loaded, outcome, folder, steps.write)
        if isinstance(line, Failure):
            yield _failed(folder, loaded.task, loaded.content_hash, line)
        else:
            yield Outcome(loaded.task, "ok", line)
    return size


def _write(loaded: _Loaded, prediction: Prediction, folder: OutputFolder, write: Write) -> bytes:
    """Bring the outputs of one image into place; gives the line that says so."""
    task = loaded.task
    with ExitStack() as stack:
        paths = {suffix: stack.enter_context(atomic_path(folder.place(task, suffix))) for suffix in folder.outputs}
        fields = {"seconds": round(prediction.seconds, 4), **(write(prediction.result, paths) or {})}
        return folder.line(task, loaded.content_hash, fields)


def _failed(folder: OutputFolder, task: Task, content_hash: str | None, failure: Failure) -> Outcome:
    return Outcome(task, "failed", folder.line(task, content_hash, failure), failure.error)
