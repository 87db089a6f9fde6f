"""Instances of several methods side by side on one data set, each image's truth read once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tracedge.datasets.layouts import SampleList
from tracedge.datasets.samples import InstanceSample, PhotolessInstances
from tracedge.errors import RunError
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.processes import in_order
from tracedge.instances import Instances, Masks
from tracedge.metrics.instances import ImageInstances, InstanceFigures, InstanceScores, mean_best_iou, score_instances


@dataclass(frozen=True)
class LabelledInstances:
    """The truth of one image: its objects, the class of each or None, and its crowds, bool (C, H, W), or None.

    name: of the image, relative to its folder, with its suffix. image: uint8 (H, W, 3), None where only masks are at hand.
    """

    name: str
    image: NDArray[np.uint8] | None
    objects: Instances
    classes: tuple[object, ...] | None
    crowds: Masks | None


Methods = Callable[[LabelledInstances], Mapping[str, Instances]]
"""An image -> what each method finds in it; methods that share a step do it once."""


@dataclass(frozen=True)
class InstanceRow:
    """One method's line of the table; truth names the data set."""

    name: str
    truth: str
    figures: InstanceFigures


@dataclass(frozen=True)
class LabelledSet:
    """A data set: the names of its images, known before anything is read, and each of them with its instances, read afresh."""

    names: tuple[str, ...]
    read: Callable[[], Iterator[LabelledInstances]]

    def __iter__(self) -> Iterator[LabelledInstances]:
        return self.read()


def labelled_set(samples: SampleList[InstanceSample | PhotolessInstances]) -> LabelledSet:
    """The images of an opened data set (`open_dataset(...).instances()`), with their instances."""

    def read() -> Iterator[LabelledInstances]:
        for sample in samples:
            truth = sample.truth
            yield LabelledInstances(sample.name, sample.image, truth.objects, truth.classes, truth.crowds)

    return LabelledSet(samples.names, read)


def evaluate_instances(
    samples: Iterable[LabelledInstances],
    make: Callable[[], Methods],
    truth: str = "",
    on_image: Callable[[], None] | None = None,
    *,
    workers: int = 1,
    journal: Journal | None = None,
) -> list[InstanceRow]:
    """Score every method on the same images; one row each, in the order in which the first image names them.

    Args:
        samples: the data set; the name of a sample is its own alone.
        make: the methods; called once in each process, so with several workers it must be picklable.
        truth: the name of the data set, in the rows and in the journal.
        on_image: called after each image.
        workers: processes, each with methods (and a model) of its own; see `tracedge.evaluation.processes.in_order`.
        journal: what an interrupted evaluation has counted, and where this one writes what it counts.

    Raises:
        RunError: a method failed, or gave masks of another size; the message names the image.
    """
    journal = journal or Journal(None, {})
    new = (sample for sample in samples if journal.get(truth, sample.name) is None)
    for _ in journal.items(truth):
        if on_image is not None:
            on_image()
    for name, counts in in_order(_scored, new, workers, partial(_prepare, make)):
        journal.put([[method, asdict(image)] for method, image in counts.items()], truth, name)
        if on_image is not None:
            on_image()
    scores: dict[str, InstanceScores] = {}
    for _, counts in journal.items(truth):
        for method, image in counts:
            scores.setdefault(method, InstanceScores()).add(ImageInstances(**image))
    return [InstanceRow(name, truth, found.compute()) for name, found in scores.items()]


def image_scores(journal: Journal, row: InstanceRow) -> dict[str, float]:
    """How well the objects of each image are found (`mean_best_iou`), by its name: by the method and on the data of a row."""
    scores = {}
    for (name,), counts in journal.items(row.truth):
        for method, image in counts:
            if method == row.name and (value := mean_best_iou(ImageInstances(**image))) is not None:
                scores[name] = value
    return scores


_methods: Methods | None = None  # of this process


def _prepare(make: Callable[[], Methods]) -> None:
    global _methods
    _methods = make()


def _scored(sample: LabelledInstances) -> tuple[str, dict[str, ImageInstances]]:
    assert _methods is not None
    try:
        return sample.name, {
            name: score_instances(sample.objects, found, crowds=sample.crowds, classes=sample.classes)
            for name, found in _methods(sample).items()
        }
    except Exception as error:
        raise RunError(f"{sample.name}: {type(error).__name__}: {error}") from error


def instances_markdown(rows: Iterable[InstanceRow]) -> str:
    """The rows as a Markdown table, in per cent, touching pairs with their number; what has nothing to score is a dash."""
    lines = ["| data (images) | masks | AP | AP50 | AR100 | boundary AP | touching kept apart |", "| --- " * 7 + "|"]
    for row in rows:
        figures = row.figures
        values = (figures.ap, figures.ap50, figures.ar100, figures.boundary_ap, figures.touching_separated)
        cells = " | ".join("-" if value is None else f"{100 * value:.1f}" for value in values)
        lines.append(f"| {row.truth} ({figures.images}) | {row.name} | {cells} ({figures.touching}) |")
    return "\n".join(lines) + "\n"


def instances_json(rows: Iterable[InstanceRow], provenance: Mapping[str, object], headline: str | None = None) -> str:
    """The rows as JSON text; the figures of the row named `headline` also stand on top."""
    rows = list(rows)
    report: dict[str, object] = {
        "rows": [{"name": row.name, "truth": row.truth, **asdict(row.figures)} for row in rows],
        "provenance": dict(provenance),
    }
    if headline is not None and (first := next((row for row in rows if row.name == headline), None)) is not None:
        report |= asdict(first.figures)
    return json.dumps(report, indent=2, sort_keys=True) + "\n"
