"""Instances of several methods side by side on one data set, each image's truth read once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracedge.datasets.fingerprint import fingerprint
from tracedge.datasets.layouts import SampleList
from tracedge.datasets.samples import InstanceSample, PhotolessInstances
from tracedge.errors import DataError, SettingsError
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.naming import naming, refuse_doubles
from tracedge.evaluation.processes import in_order
from tracedge.instances import Instances, Masks
from tracedge.metrics.instance_matches import Matches
from tracedge.metrics.instances import ImageCounts, InstanceFigures, InstanceScores, count_instances, score_instances


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

    @property
    def fingerprint(self) -> str:
        """Of all of it."""
        return fingerprint(self)

    def load(self) -> LabelledInstances:
        """Itself: it is read already."""
        return self


class InstanceImage(Protocol):
    """An image of a data set that is not read before it is asked for; `LabelledInstances` is one that is."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str:
        """Of photo and truth; it is asked for where there is a journal, and decodes no photo."""

    def load(self) -> LabelledInstances:
        """Photo and truth."""


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
    """A data set: the names of its images, known before anything is read, and each of them, not yet read, afresh each time.

    Raises:
        DataError: two images of one name.
    """

    names: tuple[str, ...]
    images: Callable[[], Iterator[InstanceImage]]

    def __post_init__(self) -> None:
        refuse_doubles(self.names, "the data set")

    def __iter__(self) -> Iterator[InstanceImage]:
        return self.images()


@dataclass(frozen=True)
class _OfSample:
    """An image of an opened data set."""

    sample: InstanceSample | PhotolessInstances

    @property
    def name(self) -> str:
        return self.sample.name

    @property
    def fingerprint(self) -> str:
        return self.sample.fingerprint

    def load(self) -> LabelledInstances:
        truth = self.sample.truth
        return LabelledInstances(self.name, self.sample.image, truth.objects, truth.classes, truth.crowds)


def labelled_set(samples: SampleList[InstanceSample | PhotolessInstances]) -> LabelledSet:
    """The images of an opened data set (`open_dataset(...).instances()`), with their instances."""
    return LabelledSet(samples.names, lambda: map(_OfSample, samples))


def evaluate_instances(
    samples: Iterable[InstanceImage],
    make: Callable[[], Methods],
    truth: str = "",
    on_image: Callable[[], None] | None = None,
    *,
    workers: int = 1,
    journal: Journal | None = None,
) -> list[InstanceRow]:
    """Score every method on the same images; one row each, in the order in which the first image names them.

    Args:
        samples: the data set; the name of a sample is its own alone. What the journal has is not decoded again.
        make: the methods; called once in each process, so with several workers it must be picklable. They are let go at the end.
        truth: the name of the data set, in the rows and in the journal.
        on_image: called after each image.
        workers: processes, each with methods (and a model) of its own; see `tracedge.evaluation.processes.in_order`.
        journal: what an interrupted evaluation has counted, and where this one writes what it counts.

    Raises:
        DataError: two images of one name.
        RunError: a method failed, or gave masks of another size; the message names the image. Or photo or truth of an image that
            the journal has are not what they were.
    """
    journal, told = journal or Journal(None, {}), on_image or _silent
    counted, scores = _Counted(samples, journal, truth, told), dict[str, InstanceScores]()
    answers: Iterator[tuple[str, dict[str, ImageCounts]]]
    if workers == 1:
        answers = map(partial(_scored, make()), counted.new())
    else:
        answers = in_order(_scored_here, counted.new(), workers, partial(_prepare, make))
    for name, counts in answers:
        if journal.lasts:
            journal.put([[method, asdict(image)] for method, image in counts.items()], truth, name, of=counted.of[name])
        else:
            _add(scores, counts)
        told()
    # What was counted comes in the order of the data set, by which masks of equal score are ranked, also after a kill.
    for name, of in counted.of.items() if journal.lasts else ():
        _add(scores, _from_json(journal.get(truth, name, of=of)))
    return [InstanceRow(name, truth, found.compute()) for name, found in scores.items()]


def image_scores(journal: Journal, row: InstanceRow) -> dict[str, float]:
    """How well the objects of each image are found (`mean_best_iou`), by its name: by the method and on the data of a row."""
    scores = {}
    for (name,), counts in journal.items(row.truth):
        if (value := _from_json(counts)[row.name].mean_best_iou) is not None:
            scores[name] = value
    return scores


class _Counted:
    """Goes through a data set: what the journal knows of it, and what is new.

    of: name of each image so far -> its fingerprint, None if there is no file that would keep it.
    """

    def __init__(
        self, samples: Iterable[InstanceImage], journal: Journal, truth: str, told: Callable[[], None]
    ) -> None:
        self._samples, self._journal, self._truth, self._told = samples, journal, truth, told
        self.of: dict[str, str | None] = {}

    def new(self) -> Iterator[LabelledInstances]:
        """The images that the journal does not know, read."""
        for sample in self._samples:
            if sample.name in self.of:
                raise DataError(f"{sample.name!r} is the name of two images: rename one of them.")
            with naming(sample.name, "reading its truth"):
                self.of[sample.name] = of = sample.fingerprint if self._journal.lasts else None
            if self._journal.get(self._truth, sample.name, of=of) is not None:
                self._told()
                continue
            with naming(sample.name, "reading it"):
                image = sample.load()
            yield image


_methods: Methods | None = None  # of a process that does nothing else, and ends with them


def _prepare(make: Callable[[], Methods]) -> None:
    global _methods
    _methods = make()


def _scored_here(image: LabelledInstances) -> tuple[str, dict[str, ImageCounts]]:
    assert _methods is not None
    return _scored(_methods, image)


def _scored(methods: Methods, image: LabelledInstances) -> tuple[str, dict[str, ImageCounts]]:
    with naming(image.name, "finding and scoring instances"):
        return image.name, {
            name: count_instances(score_instances(image.objects, found, crowds=image.crowds, classes=image.classes))
            for name, found in methods(image).items()
        }


def _add(scores: dict[str, InstanceScores], counts: Mapping[str, ImageCounts]) -> None:
    for method, image in counts.items():
        scores.setdefault(method, InstanceScores()).add(image)


def _from_json(plain: Any) -> dict[str, ImageCounts]:
    """The counts of an image as a journal has them, by method."""
    return {
        method: ImageCounts(
            **image | {kind: Matches(**image[kind]) for kind in ("by_mask", "by_border")},
        )
        for method, image in plain
    }


def _silent() -> None:
    """Nobody is told."""


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
    """The rows as JSON text; the figures of the row named `headline` also stand on top.

    Raises:
        SettingsError: no row is called `headline`.
    """
    rows = list(rows)
    report: dict[str, object] = {
        "rows": [{"name": row.name, "truth": row.truth, **asdict(row.figures)} for row in rows],
        "provenance": dict(provenance),
    }
    if headline is not None:
        first = next((row for row in rows if row.name == headline), None)
        if first is None:
            raise SettingsError(f"No row is called {headline!r}; there are {', '.join(row.name for row in rows)}.")
        report |= asdict(first.figures)
    return json.dumps(report, indent=2, sort_keys=True) + "\n"
