"""Panoptic quality of several predictions side by side on one data set, each image's truth read once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category
from tracedge.errors import SettingsError
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.naming import naming
from tracedge.evaluation.panoptic_sets import LabelledPanoptic, PanopticSet
from tracedge.evaluation.processes import in_order
from tracedge.metrics.panoptic import ClassCounts, PanopticCounts, PanopticFigures, PanopticScores, image_quality
from tracedge.metrics.semantic import ClassPixels, SemanticFigures, count_pixels, semantic_scores
from tracedge.panoptic_map import PanopticMap

Predictor = Callable[[LabelledPanoptic], PanopticMap]
"""An image -> the map that is scored against its truth; `PanopticPredictions` is one."""

Counts = tuple[PanopticCounts, dict[int, ClassPixels]]


@dataclass(frozen=True)
class PanopticRow:
    """One predictor's line of the table; truth names the data set. semantic: the classes alone, whoever's the segments are."""

    name: str
    truth: str
    figures: PanopticFigures
    semantic: SemanticFigures


def evaluate_panoptic(
    labelled: PanopticSet,
    predictors: Mapping[str, Predictor],
    truth: str = "",
    on_image: Callable[[], None] | None = None,
    *,
    agnostic: bool = False,
    workers: int = 1,
    journal: Journal | None = None,
) -> list[PanopticRow]:
    """Score every predictor on the same images; one row each, in the order of `predictors`.

    Args:
        labelled: the data set.
        predictors: name -> image to map; with several workers they must be picklable, and are given no photo.
        truth: the name of the data set, in the rows and in the journal.
        on_image: called after each image.
        agnostic: count all things as one class.
        workers: processes; see `tracedge.evaluation.processes.in_order`.
        journal: what an interrupted evaluation has counted, and where this one writes what it counts.

    Raises:
        SettingsError: no predictor.
        RunError: an image that cannot be predicted, or a map of another size; the message names the image.
        DataError: a truth that cannot be read, or no image at all.
    """
    if not predictors:
        raise SettingsError("There is nothing to score: give at least one predictor.")
    journal = journal or Journal(None, {})
    counted = frozenset(name for name in labelled.names if (truth, name) in journal)
    for sample in labelled.read(counted):
        journal.get(truth, sample.name, of=sample.fingerprint)  # its truth is as it was, or this raises
        if on_image is not None:
            on_image()
    new = frozenset(labelled.names) - counted
    jobs = labelled.read(new)
    if workers > 1:  # what works in another process reads files: a photo need not travel
        jobs = (replace(sample, image=None) for sample in jobs)
    prepare = partial(_prepare, predictors, labelled.categories, agnostic)
    for name, known_by, counts in in_order(_scored, jobs, workers, prepare):
        journal.put({predictor: _as_json(*both) for predictor, both in counts.items()}, truth, name, of=known_by)
        if on_image is not None:
            on_image()
    scores = {name: PanopticScores(labelled.categories, agnostic=agnostic) for name in predictors}
    for _, counts in journal.items(truth):
        for name, total in scores.items():
            total.add(_from_json(counts[name], agnostic))
    semantic = {
        name: semantic_scores(_pixels_from_json(counts[name]) for _, counts in journal.items(truth)) for name in scores
    }
    return [PanopticRow(name, truth, found.compute(), semantic[name]) for name, found in scores.items()]


def image_scores(journal: Journal, row: PanopticRow) -> dict[str, float]:
    """PQ of each image with all its segments as of one class (`image_quality`), by its name: of a predictor on its data."""
    scores = {}
    for (name,), counts in journal.items(row.truth):
        if (value := image_quality(_from_json(counts[row.name], row.figures.agnostic))) is not None:
            scores[name] = value
    return scores


def panoptic_markdown(rows: Iterable[PanopticRow]) -> str:
    """The rows as a Markdown table, in per cent; what has nothing to score is a dash."""
    groups = ("", " things", " stuff")
    columns = [f"{name}{group}" for group in groups for name in ("PQ", "SQ", "RQ")]
    lines = [
        f"| data (images) | segments | {' | '.join(columns)} | mIoU | classes |",
        "| --- | --- " + "| ---: " * 11 + "|",
    ]
    for row in rows:
        found = row.figures
        cells = [
            _cell(value) for group in (found.all, found.things, found.stuff) for value in (group.pq, group.sq, group.rq)
        ]
        cells.append(_cell(row.semantic.miou))
        lines.append(f"| {row.truth} ({found.images}) | {row.name} | {' | '.join(cells)} | {found.all.classes} |")
    return "\n".join(lines) + "\n"


def classes_markdown(rows: Iterable[PanopticRow]) -> str:
    """Each class that any row has, in ascending order of the ids: PQ, SQ and RQ of each row, in per cent."""
    rows = list(rows)
    columns = [f"{name}, {row.name}" for row in rows for name in ("PQ", "SQ", "RQ")]
    lines = [f"| class | kind | {' | '.join(columns)} |", "| --- | --- " + "| ---: " * len(columns) + "|"]
    for same in zip(*(row.figures.per_class for row in rows), strict=True):
        if all(one.pq is None for one in same):
            continue
        cells = [_cell(value) for one in same for value in (one.pq, one.sq, one.rq)]
        category = same[0].category
        lines.append(f"| {category.name} | {'thing' if category.isthing else 'stuff'} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def panoptic_json(rows: Iterable[PanopticRow], provenance: Mapping[str, object], headline: str | None = None) -> str:
    """The rows as JSON text, with per_class and miou; the figures of the row named `headline` also stand on top."""
    rows = list(rows)
    report: dict[str, object] = {
        "rows": [{"name": row.name, "truth": row.truth, **_figures(row)} for row in rows],
        "provenance": dict(provenance),
    }
    if headline is not None and (first := next((row for row in rows if row.name == headline), None)) is not None:
        report |= _figures(first)
    return json.dumps(report, indent=2, sort_keys=True) + "\n"


def _figures(row: PanopticRow) -> dict[str, object]:
    return row.figures.as_dict() | {"miou": row.semantic.miou}


@dataclass(frozen=True)
class _Scorer:
    predictors: Mapping[str, Predictor]
    categories: tuple[Category, ...]
    agnostic: bool

    def __call__(self, sample: LabelledPanoptic) -> dict[str, Counts]:
        counts = {}
        true = self._classes(sample.truth)
        for name, predict in self.predictors.items():
            scores, found = PanopticScores(self.categories, agnostic=self.agnostic), predict(sample)
            counts[name] = scores.update(found, sample.truth), count_pixels(self._classes(found), true)
        return counts

    def _classes(self, panoptic: PanopticMap) -> NDArray[np.int32]:
        """(H, W) category ids; all things have one of their own where they are not told apart."""
        classes = panoptic.classes()
        if not self.agnostic:
            return classes
        things = [one.id for one in self.categories if one.isthing]
        return np.where(np.isin(classes, things), 1 + max(one.id for one in self.categories), classes)


_scorer: _Scorer | None = None  # of this process


def _prepare(predictors: Mapping[str, Predictor], categories: tuple[Category, ...], agnostic: bool) -> None:
    global _scorer
    _scorer = _Scorer(predictors, categories, agnostic)


def _scored(sample: LabelledPanoptic) -> tuple[str, str, dict[str, Counts]]:
    assert _scorer is not None
    with naming(sample.name, "scoring its segments"):
        return sample.name, sample.fingerprint, _scorer(sample)


def _as_json(counts: PanopticCounts, pixels: Mapping[int, ClassPixels]) -> dict[str, dict[str, list[int]]]:
    """segments: category id -> matches, false alarms, misses, and the sum of IoUs times 2^53; pixels: hit, found, true."""
    return {
        "segments": {str(number): list(astuple(one)) for number, one in counts.classes.items()},
        "pixels": {str(number): list(astuple(one)) for number, one in pixels.items()},
    }


def _from_json(plain: Mapping[str, Any], agnostic: bool) -> PanopticCounts:
    segments = plain["segments"].items()
    return PanopticCounts({int(number): ClassCounts(*values) for number, values in segments}, agnostic)


def _pixels_from_json(plain: Mapping[str, Any]) -> dict[int, ClassPixels]:
    return {int(number): ClassPixels(*values) for number, values in plain["pixels"].items()}


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
