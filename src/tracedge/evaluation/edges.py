"""Edge predictors side by side on one data set: predicted here, scored in worker processes, one row each."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError, SettingsError
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.naming import naming, refuse_doubles, without_suffix
from tracedge.evaluation.processes import in_order
from tracedge.metrics.curves import f_measure
from tracedge.metrics.edges import BSDS, STANDARD, EdgeCounts, EdgeProtocol, EdgeScores, score_image
from tracedge.metrics.instance_boundaries import instance_boundaries
from tracedge.rivals import FolderOfEdges

EdgesOf = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Image uint8 (H, W, 3) -> strength of edges float32 (H, W) in [0, 1]."""


class LabelledImage(Protocol):
    """What is asked of a sample; ``tracedge.datasets.folder.Sample`` is one. All but the name is read when it is asked for."""

    @property
    def name(self) -> str:
        """Of the photo, relative to the folder of the photos, with "/" and its suffix."""

    @property
    def fingerprint(self) -> str:
        """Of photo and truth; it is asked for where there is a journal."""

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
    """A data set: its samples in a fixed order, afresh each time, and how many."""

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
    predictors: Mapping[str, EdgesOf | FolderOfEdges],
    protocol: EdgeProtocol = STANDARD,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    *,
    thin: Collection[str] = (),
    journal: Journal | None = None,
    truth: str = "",
) -> list[EdgeRow]:
    """Score edge predictors on the instance boundaries of a data set.

    The truth is ``true_boundaries`` of each sample, void and ignored pixels left out. Every predictor sees every
    image, in the order of the data set; counts are integers, so the scores do not depend on ``workers``.

    Args:
        dataset: its samples, and their number.
        predictors: name -> image to edges, or a ``FolderOfEdges``.
        protocol: the thresholds and the other choices.
        workers: processes that score; 1 scores in this one. They are spawned, so a script that calls this with more
            than one needs its ``if __name__ == "__main__":``.
        progress: called after each scored map with (done, all).
        thin: names of the predictors whose maps are lines already: their non-maxima are not suppressed, also if
            ``protocol.nms``.
        journal: what an interrupted evaluation has counted, and where this one writes what it counts.
        truth: the name of the data set, in the rows and in the journal.

    Returns:
        One row a predictor, in the order of ``predictors``.

    Raises:
        SettingsError: no predictor, no worker, an unknown name in ``thin``.
        DataError: two images of one name.
        RunError: a predictor, a file or a score failed; the message names the image. Scores of a part of the images
            would not compare with those of all, so there are none. Or photo or truth of an image that the journal has
            are not what they were.
    """
    _check(predictors, workers, thin)
    refuse_doubles((sample.name for sample in dataset), truth)
    protocols = {name: replace(protocol, nms=protocol.nms and name not in thin) for name in predictors}
    scores = {name: EdgeScores(each) for name, each in protocols.items()}
    times: dict[str, list[float]] = {name: [] for name in predictors}
    journal, done = journal or Journal(None, {}), 0
    for predictor, counts, milliseconds in _known(dataset, protocols, journal, truth):
        scores[predictor].add(counts)
        times[predictor] += [milliseconds] if milliseconds is not None else []
        done += 1
    for answer in in_order(_scored, _predicted(dataset, predictors, protocols, journal, truth), workers):
        if journal.lasts:
            counted = [counts_as_json(answer.counts), answer.milliseconds]
            journal.put(counted, truth, answer.predictor, answer.name, of=answer.fingerprint)
        scores[answer.predictor].add(answer.counts)
        times[answer.predictor] += [answer.milliseconds] if answer.milliseconds is not None else []
        done += 1
        if progress is not None:
            progress(done, len(dataset) * len(predictors))
    return [_row(name, truth, scores[name], times[name]) for name in predictors]


def protocol_for(layout: str, thresholds: int, *, as_written: bool | None = None, nms: bool = False) -> EdgeProtocol:
    """How a data set of a layout is scored: BSDS to the letter, all else by the standard, unless `as_written` is given."""
    to_the_letter = layout == "BSDS" if as_written is None else as_written
    return replace(BSDS if to_the_letter else STANDARD, thresholds=thresholds, nms=nms)


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
    name: str
    fingerprint: str | None
    protocol: EdgeProtocol
    edges: NDArray[np.float32]
    truth: NDArray[np.bool_]
    ignore: NDArray[np.bool_]
    milliseconds: float | None


@dataclass(frozen=True)
class _Answer:
    """What a map adds to the scores of its predictor."""

    predictor: str
    name: str
    fingerprint: str | None
    counts: EdgeCounts
    milliseconds: float | None


def _check(predictors: Mapping[str, object], workers: int, thin: Collection[str]) -> None:
    if not predictors:
        raise SettingsError("There is nothing to evaluate: give at least one predictor.")
    if workers < 1:
        raise SettingsError(f"workers is a number of processes, 1 or more; got {workers}.")
    unknown = sorted(set(thin) - set(predictors))
    if unknown:
        raise SettingsError(f"thin names {', '.join(unknown)}, but the predictors are {', '.join(predictors)}.")


def _known(
    dataset: LabelledImages, protocols: Mapping[str, EdgeProtocol], journal: Journal, truth: str
) -> Iterator[tuple[str, EdgeCounts, float | None]]:
    """What the journal has of photos and truth that are as they were: predictor, counts and milliseconds."""
    for sample in dataset:
        for name in (name for name in protocols if (truth, name, sample.name) in journal):
            with naming(sample.name, "reading its truth"):
                of = sample.fingerprint
            known = journal.get(truth, name, sample.name, of=of)
            if known is not None:
                yield name, counts_from_json(protocols[name], known[0]), known[1]


def _predicted(
    dataset: LabelledImages,
    predictors: Mapping[str, EdgesOf | FolderOfEdges],
    protocols: Mapping[str, EdgeProtocol],
    journal: Journal,
    name_of_truth: str,
) -> Iterator[_Job]:
    """The maps that the journal does not know."""
    for sample in dataset:
        new = [name for name in predictors if (name_of_truth, name, sample.name) not in journal]
        if not new:
            continue
        with naming(sample.name, "reading its truth"):
            truth, ignore = true_boundaries(sample), sample.ignore
            of = sample.fingerprint if journal.lasts else None
        for name in new:
            with naming(sample.name, f"edges of {name}"):
                edges, milliseconds = edges_of(predictors[name], sample)
            yield _Job(name, sample.name, of, protocols[name], edges, truth, ignore, milliseconds)


def edges_of(predictor: EdgesOf | FolderOfEdges, sample: LabelledImage) -> tuple[NDArray[np.float32], float | None]:
    """One image's edges (H, W), and the milliseconds of the prediction, None where they were read from a file."""
    image_hw = (sample.image.shape[0], sample.image.shape[1])
    if isinstance(predictor, FolderOfEdges):
        return predictor.read(without_suffix(sample.name), image_hw), None
    started = perf_counter()
    edges = predictor(sample.image)
    milliseconds = 1000 * (perf_counter() - started)
    if edges.shape != image_hw:
        raise DataError(f"the predictor returned {edges.shape} for an image of {image_hw} (rows, columns).")
    return edges, milliseconds


def _scored(job: _Job) -> _Answer:
    with naming(job.name, f"scoring {job.predictor}"):
        counts = score_image(job.edges, job.truth, job.ignore, job.protocol)
    return _Answer(job.predictor, job.name, job.fingerprint, counts, job.milliseconds)


def image_scores(journal: Journal, row: EdgeRow) -> dict[str, float]:
    """F of each image, by its name, at the threshold that is best for all: of the predictor and the data set of a row."""
    at = EdgeProtocol(row.thresholds).nearest(row.ods_threshold)
    scores = {}
    for (predictor, name), (counts, _) in journal.items(row.truth):
        if predictor == row.name:
            hit, predicted = counts["matched_predicted"][at], counts["predicted"][at]
            scores[name] = float(f_measure(hit, predicted, counts["matched_truth"][at], counts["truth"])[2])
    return scores


def counts_as_json(counts: EdgeCounts) -> dict[str, Any]:
    """Counts of JSON's types, for a journal; without the protocol, which is one of the evaluation's settings."""
    return {name: np.asarray(part).tolist() for name, part in vars(counts).items() if name != "protocol"}


def counts_from_json(protocol: EdgeProtocol, plain: Mapping[str, Any]) -> EdgeCounts:
    """The counts that `counts_as_json` wrote."""
    arrays = {name: np.array(part, np.int64) for name, part in plain.items() if name != "truth"}
    return EdgeCounts(protocol, plain["truth"], **arrays)


def _row(name: str, truth: str, scores: EdgeScores, times: list[float]) -> EdgeRow:
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
        truth=truth,
        precision=tuple(figures.precision.tolist()),
        recall=tuple(figures.recall.tolist()),
    )
