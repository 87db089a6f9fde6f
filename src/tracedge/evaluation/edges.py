"""Edge predictors side by side on one data set: predicted here, scored in worker processes, one row each."""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from statistics import median
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError, RunError, SettingsError
from tracedge.metrics.edges import STANDARD, EdgeCounts, EdgeProtocol, EdgeScores, instance_boundaries, score_image
from tracedge.rivals import FolderOfEdges

EdgePredictorLike = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
_AHEAD = 2  # maps predicted ahead of each worker: enough to keep it busy, few enough to fit in memory


class LabelledImage(Protocol):
    """What is asked of a sample; ``tracedge.datasets.folder.Sample`` is one."""

    @property
    def stem(self) -> str: ...
    @property
    def void(self) -> int | None: ...
    @property
    def image(self) -> NDArray[np.uint8]: ...
    @property
    def labels(self) -> NDArray[np.int32]: ...
    @property
    def ignore(self) -> NDArray[np.bool_]: ...
    @property
    def boundaries(self) -> NDArray[np.bool_] | None:
        """(H, W), or (A, H, W) of A annotators, where these and not the borders of the labels are the truth; else None."""


class LabelledImages(Protocol):
    """A data set: its samples in a fixed order, and how many."""

    def __iter__(self) -> Iterator[LabelledImage]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class EdgeRow:
    """One predictor's line of the table; the scores are those of ``tracedge.metrics.edges.EdgeFigures``.

    ``milliseconds`` is the median time of a prediction, None where edges were read from files. ``nms`` says whether
    non-maxima were suppressed before scoring. ``truth`` names the data set where a report holds several.
    """

    name: str
    images: int
    ods: float
    ods_threshold: float
    ois: float
    ap: float
    r50: float
    cldice: float
    cldice_threshold: float
    thresholds: int
    tolerance: float
    cldice_tolerance: float
    ignore_margin: float
    thin_truth: bool
    nms: bool
    milliseconds: float | None
    truth: str = ""


def evaluate_edges(
    dataset: LabelledImages,
    predictors: Mapping[str, EdgePredictorLike | FolderOfEdges],
    thresholds: int = 99,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    *,
    nms: Collection[str] = (),
    protocol: EdgeProtocol = STANDARD,
) -> list[EdgeRow]:
    """Score edge predictors on the instance boundaries of a data set.

    The truth is ``true_boundaries`` of each sample, void and ignored pixels left out. Every predictor sees every
    image, in the order of the data set; counts are integers, so the scores do not depend on ``workers``.

    Args:
        dataset: its samples, and their number.
        predictors: name -> callable, image uint8 (H, W, 3) -> strength float (H, W) in [0, 1]; or a ``FolderOfEdges``.
        thresholds: K cuts at k / (K + 1).
        workers: processes that score; 1 scores in this one. They are spawned, so a script that calls this with more
            than one needs its ``if __name__ == "__main__":``.
        progress: called after each scored map with (done, all).
        nms: names of the predictors whose maps are thick and have their non-maxima suppressed first.
        protocol: the other choices; its own ``thresholds`` and ``nms`` are not looked at.

    Returns:
        One row a predictor, in the order of ``predictors``.

    Raises:
        SettingsError: no predictor, no worker, an unknown name in ``nms``, a bad number of thresholds.
        RunError: a predictor, a file or a score failed; the message names the image. Scores of a part of the images
            would not compare with those of all, so there are none.
    """
    _check(predictors, workers, nms)
    scores = {name: EdgeScores(replace(protocol, thresholds=thresholds, nms=name in nms)) for name in predictors}
    times: dict[str, list[float]] = {name: [] for name in predictors}
    jobs = _predicted(dataset, predictors, {name: part.protocol for name, part in scores.items()}, times)
    for done, (name, counts) in enumerate(_scored(jobs, workers), start=1):
        scores[name].add(counts)
        if progress is not None:
            progress(done, len(dataset) * len(predictors))
    return [_row(name, scores[name], times[name]) for name in predictors]


def true_boundaries(sample: LabelledImage) -> NDArray[np.bool_]:
    """A sample's own boundaries if it has some (BSDS: of several annotators), else ``instance_boundaries`` of its labels."""
    drawn = sample.boundaries
    return instance_boundaries(sample.labels, sample.ignore, sample.void) if drawn is None else drawn


def report_markdown(rows: Iterable[EdgeRow]) -> str:
    """The rows as a Markdown table, scores to three places."""
    lines = ["| edges | ODS | OIS | AP | clDice | ms / image |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        scores = " | ".join(f"{value:.3f}" for value in (row.ods, row.ois, row.ap, row.cldice))
        lines.append(f"| {row.name} | {scores} | {format_milliseconds(row.milliseconds)} |")
    return "\n".join(lines) + "\n"


def report_json(rows: Iterable[EdgeRow], provenance: Mapping[str, object], headline: str | None = None) -> str:
    """The rows as JSON text: ``rows``, ``provenance`` and, for the row named ``headline``, its four scores on top.

    Equal rows give equal text: keys are sorted, numbers are written in full, nothing is stamped with the time.

    Raises:
        SettingsError: no row is called ``headline``.
    """
    rows = list(rows)
    report: dict[str, object] = {"rows": [asdict(row) for row in rows], "provenance": dict(provenance)}
    if headline is not None:
        first = next((row for row in rows if row.name == headline), None)
        if first is None:
            raise SettingsError(f"No row is called {headline!r}; there are {', '.join(row.name for row in rows)}.")
        report |= {"ods": first.ods, "ois": first.ois, "ap": first.ap, "cldice": first.cldice}
    return json.dumps(report, indent=2, sort_keys=True) + "\n"


def format_milliseconds(value: float | None) -> str:
    """A time for a table; a dash where edges came from files."""
    return "-" if value is None else f"{value:.0f}"


@dataclass(frozen=True)
class _Job:
    """A predicted map on its way to a worker."""

    predictor: str
    stem: str
    edges: NDArray[np.float32]
    truth: NDArray[np.bool_]
    ignore: NDArray[np.bool_]
    protocol: EdgeProtocol


@contextmanager
def _naming(stem: str, doing: str) -> Iterator[None]:
    """Whatever goes wrong inside names the image it went wrong on."""
    try:
        yield
    except Exception as error:
        raise RunError(f"Image {stem!r}, {doing}: {str(error) or type(error).__name__}") from error


def _check(predictors: Mapping[str, object], workers: int, nms: Collection[str]) -> None:
    if not predictors:
        raise SettingsError("There is nothing to evaluate: give at least one predictor.")
    if workers < 1:
        raise SettingsError(f"workers is a number of processes, 1 or more; got {workers}.")
    unknown = sorted(set(nms) - set(predictors))
    if unknown:
        raise SettingsError(f"nms names {', '.join(unknown)}, but the predictors are {', '.join(predictors)}.")


def _predicted(
    dataset: LabelledImages,
    predictors: Mapping[str, EdgePredictorLike | FolderOfEdges],
    protocols: Mapping[str, EdgeProtocol],
    times: Mapping[str, list[float]],
) -> Iterator[_Job]:
    for sample in dataset:
        with _naming(sample.stem, "reading its truth"):
            truth = true_boundaries(sample)
        for name, predictor in predictors.items():
            with _naming(sample.stem, f"edges of {name}"):
                edges = _edges_of(predictor, sample, times[name])
            yield _Job(name, sample.stem, edges, truth, sample.ignore, protocols[name])


def _edges_of(
    predictor: EdgePredictorLike | FolderOfEdges, sample: LabelledImage, times: list[float]
) -> NDArray[np.float32]:
    image_hw = (sample.image.shape[0], sample.image.shape[1])
    if isinstance(predictor, FolderOfEdges):
        return predictor.read(sample.stem, image_hw)
    started = perf_counter()
    edges = predictor(sample.image)
    times.append(1000 * (perf_counter() - started))
    if edges.shape != image_hw:
        raise DataError(f"the predictor returned {edges.shape} for an image of {image_hw} (rows, columns).")
    return edges


def _score(job: _Job) -> EdgeCounts:
    with _naming(job.stem, f"scoring {job.predictor}"):
        return score_image(job.edges, job.truth, job.ignore, job.protocol)


def _scored(jobs: Iterator[_Job], workers: int) -> Iterator[tuple[str, EdgeCounts]]:
    """The counts of each job, in the order of the jobs."""
    if workers == 1:
        for job in jobs:
            yield job.predictor, _score(job)
        return
    # Spawned, not forked: a model in this process may hold threads and a device.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    waiting: deque[tuple[str, Future[EdgeCounts]]] = deque()
    try:
        for job in jobs:
            waiting.append((job.predictor, pool.submit(_score, job)))
            if len(waiting) > _AHEAD * workers:
                name, counts = waiting.popleft()
                yield name, counts.result()
        while waiting:
            name, counts = waiting.popleft()
            yield name, counts.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _row(name: str, scores: EdgeScores, times: list[float]) -> EdgeRow:
    figures = scores.compute()
    return EdgeRow(
        name=name,
        images=figures.images,
        ods=figures.ods,
        ods_threshold=figures.ods_threshold,
        ois=figures.ois,
        ap=figures.ap,
        r50=figures.r50,
        cldice=figures.cldice,
        cldice_threshold=figures.cldice_threshold,
        **asdict(figures.protocol),
        milliseconds=median(times) if times else None,
    )
