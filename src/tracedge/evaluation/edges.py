"""Edge predictors side by side on one data set: predicted here, scored in worker processes, one row each."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError, RunError, SettingsError
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.processes import in_order
from tracedge.metrics.curves import f_measure
from tracedge.metrics.edges import STANDARD, EdgeCounts, EdgeProtocol, EdgeScores, instance_boundaries, score_image
from tracedge.rivals import FolderOfEdges

EdgePredictorLike = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


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
    non-maxima were suppressed before scoring. ``truth`` names the data set where a report holds several. ``precision`` and
    ``recall`` are the curve, one value a threshold.
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
    precision: tuple[float, ...] = ()
    recall: tuple[float, ...] = ()


def evaluate_edges(
    dataset: LabelledImages,
    predictors: Mapping[str, EdgePredictorLike | FolderOfEdges],
    thresholds: int = 99,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    *,
    nms: Collection[str] = (),
    protocol: EdgeProtocol = STANDARD,
    journal: Journal | None = None,
    truth: str = "",
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
        journal: what an interrupted evaluation has counted, and where this one writes what it counts.
        truth: the name of the data set, in the rows and in the journal.

    Returns:
        One row a predictor, in the order of ``predictors``.

    Raises:
        SettingsError: no predictor, no worker, an unknown name in ``nms``, a bad number of thresholds.
        RunError: a predictor, a file or a score failed; the message names the image. Scores of a part of the images
            would not compare with those of all, so there are none.
    """
    _check(predictors, workers, nms)
    journal = journal or Journal(None, {})
    protocols = {name: replace(protocol, thresholds=thresholds, nms=name in nms) for name in predictors}
    scores = {name: EdgeScores(each) for name, each in protocols.items()}
    times: dict[str, list[float | None]] = {name: [] for name in predictors}
    for (predictor, _), (counts, milliseconds) in journal.items(truth):
        scores[predictor].add(counts_from_json(protocols[predictor], counts))
        times[predictor].append(milliseconds)
    done = len(journal.items(truth))
    for answer in in_order(_scored, _predicted(dataset, predictors, protocols, journal, truth), workers):
        journal.put([counts_as_json(answer.counts), answer.milliseconds], truth, answer.predictor, answer.stem)
        scores[answer.predictor].add(answer.counts)
        times[answer.predictor].append(answer.milliseconds)
        done += 1
        if progress is not None:
            progress(done, len(dataset) * len(predictors))
    return [_row(name, truth, scores[name], times[name]) for name in predictors]


def true_boundaries(sample: LabelledImage) -> NDArray[np.bool_]:
    """A sample's own boundaries if it has some (BSDS: of several annotators), else ``instance_boundaries`` of its labels."""
    drawn = sample.boundaries
    return instance_boundaries(sample.labels, sample.ignore, sample.void) if drawn is None else drawn


def report_markdown(rows: Iterable[EdgeRow]) -> str:
    """The rows as a Markdown table, scores to three places."""
    lines = ["| data (images) | edges | ODS | OIS | AP | clDice | ms / image |", "| --- " * 7 + "|"]
    for row in rows:
        scores = " | ".join(f"{value:.3f}" for value in (row.ods, row.ois, row.ap, row.cldice))
        lines.append(
            f"| {row.truth} ({row.images}) | {row.name} | {scores} | {format_milliseconds(row.milliseconds)} |"
        )
    return "\n".join(lines) + "\n"


def report_json(rows: Iterable[EdgeRow], provenance: Mapping[str, object], headline: str | None = None) -> str:
    """The rows as JSON text: ``rows``, ``provenance`` and, for the row named ``headline``, its four scores on top.

    Equal scores give equal text: keys are sorted, numbers are written in full, and times are left out.

    Raises:
        SettingsError: no row is called ``headline``.
    """
    rows = list(rows)
    plain = [{name: value for name, value in asdict(row).items() if name != "milliseconds"} for row in rows]
    report: dict[str, object] = {"rows": plain, "provenance": dict(provenance)}
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
    """A predicted map on its way to a worker; milliseconds that its prediction took, None if it was read."""

    predictor: str
    stem: str
    protocol: EdgeProtocol
    edges: NDArray[np.float32]
    truth: NDArray[np.bool_]
    ignore: NDArray[np.bool_]
    milliseconds: float | None


@dataclass(frozen=True)
class _Answer:
    """What a map adds to the scores of its predictor."""

    predictor: str
    stem: str
    counts: EdgeCounts
    milliseconds: float | None


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
    journal: Journal,
    name_of_truth: str,
) -> Iterator[_Job]:
    """The maps that the journal does not know."""
    for sample in dataset:
        new = [name for name in predictors if journal.get(name_of_truth, name, sample.stem) is None]
        if not new:
            continue
        with _naming(sample.stem, "reading its truth"):
            truth = true_boundaries(sample)
        for name in new:
            with _naming(sample.stem, f"edges of {name}"):
                edges, milliseconds = edges_of(predictors[name], sample)
            yield _Job(name, sample.stem, protocols[name], edges, truth, sample.ignore, milliseconds)


def edges_of(
    predictor: EdgePredictorLike | FolderOfEdges, sample: LabelledImage
) -> tuple[NDArray[np.float32], float | None]:
    """One image's edges (H, W), and the milliseconds of the prediction, None where they were read from a file."""
    image_hw = (sample.image.shape[0], sample.image.shape[1])
    if isinstance(predictor, FolderOfEdges):
        return predictor.read(sample.stem, image_hw), None
    started = perf_counter()
    edges = predictor(sample.image)
    milliseconds = 1000 * (perf_counter() - started)
    if edges.shape != image_hw:
        raise DataError(f"the predictor returned {edges.shape} for an image of {image_hw} (rows, columns).")
    return edges, milliseconds


def _scored(job: _Job) -> _Answer:
    with _naming(job.stem, f"scoring {job.predictor}"):
        counts = score_image(job.edges, job.truth, job.ignore, job.protocol)
    return _Answer(job.predictor, job.stem, counts, job.milliseconds)


def image_scores(journal: Journal, row: EdgeRow) -> dict[str, float]:
    """F of each image, by its stem, at the threshold that is best for all: of the predictor and the data set of a row."""
    levels = np.arange(1, row.thresholds + 1) / (row.thresholds + 1)
    at = int(np.abs(levels - row.ods_threshold).argmin())
    scores = {}
    for (predictor, stem), (counts, _) in journal.items(row.truth):
        if predictor == row.name:
            hit, predicted = counts["matched_predicted"][at], counts["predicted"][at]
            scores[stem] = float(f_measure(hit, predicted, counts["matched_truth"][at], counts["truth"])[2])
    return scores


def counts_as_json(counts: EdgeCounts) -> dict[str, Any]:
    """Counts of JSON's types, for a journal; without the protocol, which is one of the evaluation's settings."""
    return {name: np.asarray(part).tolist() for name, part in vars(counts).items() if name != "protocol"}


def counts_from_json(protocol: EdgeProtocol, plain: Mapping[str, Any]) -> EdgeCounts:
    """The counts that `counts_as_json` wrote."""
    arrays = {name: np.array(part, np.int64) for name, part in plain.items() if name != "truth"}
    return EdgeCounts(protocol, plain["truth"], **arrays)


def _row(name: str, truth: str, scores: EdgeScores, times: list[float | None]) -> EdgeRow:
    figures = scores.compute()
    measured = [time for time in times if time is not None]
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
        milliseconds=median(measured) if measured else None,
        truth=truth,
        precision=tuple(figures.precision.tolist()),
        recall=tuple(figures.recall.tolist()),
    )
