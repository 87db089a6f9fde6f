"""A run over a folder of images that may be killed at any moment and started again.

What every batch command promises comes from here: outputs are whole or not there, a line of the manifest says what
became of each image, a bad image does not stop the others, what is done is not done again, and results of different
settings never stand in one folder by accident.

    with FolderRun("edges", settings, outputs=(".edges.png",)) as run:
        summary = run.process(find_images(["photos"], output="edges"), load_image, predict, write, batch_size=4)
    sys.exit(summary.exit_code)
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, TypeAlias

from tracedge import claims
from tracedge.atomic import atomic_path, remove_leftovers
from tracedge.earlier import Entry, refuse_other_settings
from tracedge.errors import RunError, SettingsError
from tracedge.interrupts import raise_again, signals_raise
from tracedge.jobs import Job, Task, find_images, folded, is_suffix, refuse_collisions
from tracedge.locking import exclusive
from tracedge.manifest import MANIFEST, Manifest
from tracedge.maps import settings_hash
from tracedge.outcomes import Outcome, OutputFolder, Status
from tracedge.sources import Part
from tracedge.sources.mended import mended, torn_archives
from tracedge.work import Engine, Load, PredictBatch, Steps, Write, work_through

__all__ = ["FolderRun", "Job", "RunSummary", "Task", "find_images"]

SETTINGS = "settings.json"
LOCK = ".tracedge.lock"

OnProgress: TypeAlias = Callable[[Task, Status, str | None], None]


@dataclass(frozen=True)
class RunSummary:
    """What became of the images of a run.

    Args:
        done: images whose outputs were written by this run.
        skipped: images that an earlier run had finished.
        failed: (path of the image, "TypeName: sentence") of each image that this run tried in vain, in order.
        seconds: wall time of the run.
        failed_before: the same of those that failed in an earlier run and were not tried again.
    """

    done: int
    skipped: int
    failed: tuple[tuple[str, str], ...]
    seconds: float
    failed_before: tuple[tuple[str, str], ...] = ()

    @property
    def exit_code(self) -> int:
        """The code for the shell: 0 if all images have their outputs, 1 if some failed, now or before."""
        return 1 if self.failed or self.failed_before else 0


class FolderRun:
    """An output folder, held by one process, with the record of what is in it.

    The folder holds the outputs, `manifest.jsonl` (one line for each finished image, see `Manifest`) and
    `settings.json` (what the results depend on).

    Args:
        output: the folder; it is made if it is not there.
        settings: what the results depend on, of JSON's types. Results of other settings are not mixed with these.
        outputs: the suffixes of the files of each image: (".edges.png", ".npz"), each with its dot. "labels/.txt" stands in a
            folder of its own, labels/, in which the tree of the images is mirrored.
        force: go on although the folder holds results of other settings, and replace those of the images of this run.
        retry_failed: try again also what failed under these settings and has not changed since.
        gathered: names of files in the folder that tell of all its images. They are removed before the manifest gets a line
            more, and whoever calls writes them anew at the end: one that is there tells of all that the manifest tells of.

    Raises:
        SettingsError: no outputs, or a suffix that is none.
        RunError: on entering: another run holds the folder, it holds results of other settings, or its manifest is
            damaged.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        settings: Mapping[str, object],
        outputs: Sequence[str],
        *,
        force: bool = False,
        retry_failed: bool = False,
        gathered: Sequence[str] = (),
    ) -> None:
        if isinstance(outputs, str) or not outputs or not all(is_suffix(suffix) for suffix in outputs):
            raise SettingsError(f"outputs must be suffixes such as ('.edges.png',), got {outputs!r}.")
        self.output = Path(output)
        self.settings = dict(settings)
        self.settings_hash = settings_hash(settings)
        self.outputs = tuple(outputs)
        self.force = force
        self.retry_failed = retry_failed
        self._folder = OutputFolder(self.output, self.outputs, self.settings_hash, force, retry_failed)
        self.gathered = tuple(gathered)
        self._held = ExitStack()
        self._manifest: Manifest | None = None

    def __enter__(self) -> FolderRun:
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"the output folder {self.output} cannot be made: {error.strerror}.") from error
        with ExitStack() as stack:
            stack.enter_context(exclusive(self.output / LOCK))
            claims.take_over(self.output)
            remove_leftovers(self.output, unless=MANIFEST)
            manifest = stack.enter_context(Manifest(self.output / MANIFEST))
            if not self.force:
                refuse_other_settings(manifest.last.values(), self.settings, self.settings_hash, self.output / SETTINGS)
            with atomic_path(self.output / SETTINGS) as temporary:
                temporary.write_text(json.dumps(self.settings, sort_keys=True, indent=2, allow_nan=False) + "\n")
            self._held = stack.pop_all()
            self._manifest = manifest
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manifest = None
        self._held.close()

    def process(
        self,
        jobs: Sequence[Task],
        load: Load,
        predict_batch: PredictBatch,
        write: Write,
        *,
        batch_size: int = 1,
        on_progress: OnProgress | None = None,
    ) -> RunSummary:
        """Take each image from its file to its outputs, unless an earlier run did.

        An image is skipped if its last line in the manifest is ok under the same settings and the same bytes of the
        file, and its outputs are there. An image that fails, in whatever step, is recorded and left behind; the next run
        tries it again if its bytes or the settings changed, if the failure did not lie with the image (memory, disk,
        permissions: see `Failure`), or if `retry_failed`. A batch
        that runs out of memory is halved, and batches stay that small; a batch that fails for another reason is tried
        again image by image. SIGTERM ends the run as SystemExit(143), as Ctrl-C does by KeyboardInterrupt.

        Args:
            jobs: what `find_images` found.
            load: the source of a job -> image; for photos a path, as `load_image` takes it.
            predict_batch: up to `batch_size` images, in order -> as many results.
            write: (result, {suffix: path}) -> further fields for the manifest's line, or None. It writes one file to
                each path; these are temporary names, renamed into place when all are written.
            batch_size: the most images in a batch, at least 1.
            on_progress: called once for each image with (job, status, error).

        Raises:
            SettingsError: a batch size below 1.
            RunError: before any work, if two outputs would have one name or an output would replace an input.
        """
        known = self._begin(jobs, batch_size)
        steps = Steps(lambda job: load(job.source), predict_batch, write)
        return self._record(work_through(jobs, self._folder, known, steps, batch_size), on_progress)

    def process_parts(
        self, parts: Sequence[Part], engine: Engine, *, batch_size: int = 1, on_progress: OnProgress | None = None
    ) -> RunSummary:
        """The same for all images of some parts, by an engine whose work was opened; errors as `process`.

        A run that was begun with one engine may go on with another.
        """
        known = self._begin([task for part in parts if part.prefix is None for task in part.tasks()], batch_size)
        torn = torn_archives(parts, known)
        summary = self._record(engine.outcomes(parts, self._folder, known, batch_size), on_progress)
        for name, entry in torn.items():
            if known[name] is entry:  # nothing was said of it now: it was read to its end
                self._append(mended(entry))
        return summary

    def finished(self, outputs: Sequence[str]) -> list[dict[str, Any]]:
        """The manifest's lines of all images of which these outputs stand in the folder under these settings, by file name.

        Images of earlier runs are among them, whatever else those wrote; `output_of` says where their outputs are.
        """
        lines = self._open_manifest().last.values()
        done = [line for line in lines if line["status"] == "ok" and line["settings_hash"] == self.settings_hash]
        there = [line for line in done if all(self.output_of(line, suffix).is_file() for suffix in outputs)]
        return sorted(there, key=lambda line: str(line["file"]))

    def output_of(self, line: Mapping[str, Any], suffix: str) -> Path:
        """Where an output stands that a line of the manifest tells of; errors as `output_path`."""
        return self.output_path(Job(Path(line["file"]), PurePosixPath(line["output"])), suffix)

    def output_path(self, job: Task, suffix: str) -> Path:
        """Where an output of a job stands.

        Raises:
            RunError: a link inside the output folder leads out of it.
        """
        return self._folder.place(job, suffix)

    def _begin(self, jobs: Sequence[Task], batch_size: int) -> Mapping[str, Entry]:
        """Check what can be checked before any work; gives what the manifest holds, as it grows."""
        if batch_size < 1:
            raise SettingsError(f"batch_size must be at least 1, got {batch_size}.")
        self._refuse_overwriting(jobs)
        return self._open_manifest().last

    def _record(self, outcomes: Generator[Outcome], on_progress: OnProgress | None) -> RunSummary:
        """Write down what became of each image, one after the other."""
        tally = _Tally(on_progress)
        start = time.monotonic()
        with signals_raise(), _naming(self.output), closing(outcomes):
            for outcome in outcomes:
                if outcome.line is not None:
                    self._remove_earlier(outcome.task, keep=self.outputs if outcome.status == "ok" else ())
                    self._append(outcome.line)
                tally.count(outcome)
                raise_again()
        return tally.summary(time.monotonic() - start)

    def _append(self, line: bytes) -> None:
        """Add a line to the manifest; what tells of all images is not right any more. A failure to do so ends the run."""
        for name in self.gathered:
            (self.output / name).unlink(missing_ok=True)
        self._open_manifest().append(line)

    def _open_manifest(self) -> Manifest:
        if self._manifest is None:
            raise RunError("this FolderRun is not open: use it as `with FolderRun(...) as run:`.")
        return self._manifest

    def _entry(self, job: Task) -> dict[str, Any] | None:
        return self._open_manifest().last.get(folded(str(job.relative)))

    def _remove_earlier(self, job: Task, keep: Sequence[str]) -> None:
        """Remove what an earlier run of other settings wrote for an image, and this one does not write anew."""
        earlier = self._entry(job)
        if earlier is None or earlier["status"] != "ok" or earlier["settings_hash"] == self.settings_hash:
            return
        for suffix in earlier.get("suffixes", ()):
            if is_suffix(suffix) and suffix not in keep:
                self.output_path(job, suffix).unlink(missing_ok=True)

    def _refuse_overwriting(self, jobs: Sequence[Task]) -> None:
        refuse_collisions(jobs, self.outputs)
        sources = {job.source.resolve() for job in jobs if isinstance(job.source, Path)}
        last = self._open_manifest().last
        for job in jobs:
            for suffix in self.outputs:
                path = self.output_path(job, suffix)
                if path.resolve() in sources:
                    raise RunError(f"the output {path} would replace an input image: choose another output folder.")
            self._folder.refuse_replacing(last.get(folded(str(job.relative))), job)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """An error of the file system that says no file, as that of a full disk, says the output folder."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(folder)
        raise


@dataclass
class _Tally:
    """Counts what became of each image, and tells who asked."""

    on_progress: OnProgress | None
    done: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    failed_before: list[tuple[str, str]] = field(default_factory=list)

    def count(self, outcome: Outcome) -> None:
        task, error = outcome.task, outcome.error
        if outcome.status == "ok":
            self.done += 1
        elif outcome.status == "skipped":
            self.skipped += 1
        else:
            (self.failed if outcome.line is not None else self.failed_before).append((str(task.source), error or ""))
        if self.on_progress is not None:
            self.on_progress(task, outcome.status, error)

    def summary(self, seconds: float) -> RunSummary:
        return RunSummary(self.done, self.skipped, tuple(self.failed), seconds, tuple(self.failed_before))
