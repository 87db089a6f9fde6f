"""Panoptic quality: PQ, SQ and RQ of things and stuff, as whole numbers that add up over images and over processes.

The sum of IoUs is a whole number too: an IoU above 0.5, rounded once to float64, is a multiple of 2^-53, and Python's whole
numbers have no limit. So the order of images and of shards does not change a bit of the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category, by_id
from tracedge.errors import DataError, SettingsError
from tracedge.panoptic_map import PanopticMap

ANY_THING = Category(-1, "any thing", isthing=True)
"""The one class of all things where classes of things are not told apart."""

_UNIT = 1 << 53
"""What a summed IoU of 1 is written as."""

_PLACES_PER_PIXEL = 8
"""Pairs of segments are counted in a table of up to so many places for each pixel; beyond, pixels are sorted."""


@dataclass(frozen=True)
class ClassCounts:
    """One class: matches, false alarms, misses, and the IoUs of the matches, summed, times 2^53. All add up."""

    matched: int = 0
    false_alarms: int = 0
    missed: int = 0
    iou: int = 0

    def __post_init__(self) -> None:
        low = min(self.matched, self.false_alarms, self.missed)
        if low < 0 or not self.matched * (_UNIT // 2) <= self.iou <= self.matched * _UNIT:
            raise DataError(f"counts are not negative, and each match has an IoU of 0.5 to 1; got {self}.")

    def __add__(self, other: ClassCounts) -> ClassCounts:
        return ClassCounts(*(mine + theirs for mine, theirs in zip(_fields(self), _fields(other), strict=True)))

    @property
    def any(self) -> bool:
        """Whether the class is there at all; one that is not has no part in an average."""
        return self.matched + self.false_alarms + self.missed > 0


@dataclass(frozen=True)
class PanopticCounts:
    """What one image adds to the scores: plain whole numbers, to be sent, stored and summed in any order.

    classes: category id -> counts, of the classes of this image. agnostic: things were counted as one class, `ANY_THING`.
    """

    classes: Mapping[int, ClassCounts]
    agnostic: bool = False


@dataclass(frozen=True)
class Quality:
    """PQ, SQ and RQ in [0, 1]; of a group the means over its `classes` that are there at all, None where there are none."""

    pq: float | None
    sq: float | None
    rq: float | None
    classes: int


@dataclass(frozen=True)
class ClassQuality:
    """PQ, SQ and RQ of one class, None where it is neither in the truth nor found, and what they were computed from."""

    category: Category
    pq: float | None
    sq: float | None
    rq: float | None
    matched: int
    false_alarms: int
    missed: int


@dataclass(frozen=True)
class PanopticFigures:
    """The scores of a data set: over all classes, over things, over stuff, and of each class in ascending order of its id."""

    images: int
    all: Quality
    things: Quality
    stuff: Quality
    per_class: tuple[ClassQuality, ...]
    agnostic: bool

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: pq, sq, rq, classes; the same with _things and _stuff; images; and per_class by name."""
        flat: dict[str, Any] = {"images": self.images, "agnostic": self.agnostic}
        for suffix, group in (("", self.all), ("_things", self.things), ("_stuff", self.stuff)):
            flat |= {f"{name}{suffix}": value for name, value in vars(group).items()}
        per_class = {}
        for one in self.per_class:
            numbers = {name: value for name, value in vars(one).items() if name != "category"}
            per_class[one.category.name] = {"id": one.category.id, "isthing": one.category.isthing, **numbers}
        return flat | {"per_class": per_class}


class PanopticScores:
    """Accumulator: `update` adds an image, `merge` adds another accumulator, `compute` divides.

    Args:
        categories: the classes there are; a segment of another is refused.
        agnostic: count all things as one class, `ANY_THING`, for methods that do not know classes. Stuff keeps its classes.

    Raises:
        DataError: a category id or name that comes twice.

    >>> from tracedge.categories import COCO_PANOPTIC
    >>> from tracedge.panoptic_map import Segment
    >>> cat = PanopticMap(np.array([[5, 5, 0]]), (Segment(5, 17, isthing=True),))
    >>> scores = PanopticScores(COCO_PANOPTIC)
    >>> counts = scores.update(cat, cat)
    >>> scores.compute().all
    Quality(pq=1.0, sq=1.0, rq=1.0, classes=1)
    """

    def __init__(self, categories: Sequence[Category], *, agnostic: bool = False) -> None:
        self.agnostic, self.images = agnostic, 0
        self._categories = by_id(categories)
        if len({category.name for category in categories}) < len(categories):
            raise DataError("two categories have one name: scores are told apart by it.")
        self._counted = self._categories
        if agnostic:
            stuff = (category for category in categories if not category.isthing)
            self._counted = by_id([ANY_THING, *stuff])
        self._sums: dict[int, ClassCounts] = {}

    def update(self, found: PanopticMap, truth: PanopticMap) -> PanopticCounts:
        """Score one image, add it, and give back what was added; arguments as in `score_image`.

        Raises:
            DataError: maps of different sizes, or a segment whose category is not known, or is no thing where it says it is one.
        """
        for panoptic in (found, truth):
            for segment in panoptic.segments:
                category = self._categories.get(segment.category_id)
                if category is None or category.isthing != segment.isthing:
                    kind = "a thing" if segment.isthing else "stuff"
                    said = "is not among the categories" if category is None else f"is {category}"
                    raise DataError(
                        f"the segment {segment.id} is {kind} of category {segment.category_id}, which {said}."
                    )
        counts = score_image(found, truth, agnostic=self.agnostic)
        self.add(counts)
        return counts

    def add(self, counts: PanopticCounts) -> None:
        """Add one image that was scored elsewhere, in another process for instance.

        Raises:
            SettingsError: it was counted by other classes.
        """
        self._require(counts.agnostic, counts.classes)
        self.images += 1
        self._include(counts.classes)

    def merge(self, other: PanopticScores) -> None:
        """Add all images of another accumulator; the order of merging does not change a bit of the scores.

        Raises:
            SettingsError: it counts by other classes.
        """
        if other._categories != self._categories:
            raise SettingsError("These scores are of other categories: they cannot be added.")
        self._require(other.agnostic, other._sums)
        self.images += other.images
        self._include(other._sums)

    def compute(self) -> PanopticFigures:
        """The scores of all images so far, by the formulas of `panoptic_scores`.

        Raises:
            DataError: no image was added.
        """
        if self.images == 0:
            raise DataError("No image was scored: there is nothing to divide by.")
        classes = tuple(
            _class_quality(self._counted[number], self._sums.get(number, ClassCounts()))
            for number in sorted(self._counted)
        )
        return PanopticFigures(
            images=self.images,
            all=_mean(classes),
            things=_mean([one for one in classes if one.category.isthing]),
            stuff=_mean([one for one in classes if not one.category.isthing]),
            per_class=classes,
            agnostic=self.agnostic,
        )

    def _require(self, agnostic: bool, classes: Iterable[int]) -> None:
        if agnostic != self.agnostic or (unknown := sorted(set(classes) - set(self._counted))):
            differs = "things as one class or not" if agnostic != self.agnostic else f"categories {unknown[:3]}"
            raise SettingsError(f"These counts are of other classes ({differs}): they cannot be added.")

    def _include(self, classes: Mapping[int, ClassCounts]) -> None:
        for number, counts in classes.items():
            self._sums[number] = self._sums.get(number, ClassCounts()) + counts


def panoptic_scores(
    counts: Iterable[PanopticCounts], categories: Sequence[Category], *, agnostic: bool = False
) -> PanopticFigures:
    """PQ, SQ and RQ of scored images; the functional twin of `PanopticScores`.

    With TP matches, FP false alarms and FN misses of a class, summed over all images,

        SQ = sum of IoU / TP        RQ = TP / (TP + FP / 2 + FN / 2)        PQ = sum of IoU / (TP + FP / 2 + FN / 2) = SQ RQ

    A class of TP + FP + FN = 0 is left out of every mean; without a match all three are 0. Over several classes each of the
    three is a mean of its own, so that PQ is not SQ RQ any more.

    Raises:
        DataError: no counts at all.
        SettingsError: counts of other classes.

    Source: Kirillov et al., Panoptic Segmentation, 2019, section 4.
    """
    scores = PanopticScores(categories, agnostic=agnostic)
    for one in counts:
        scores.add(one)
    return scores.compute()


def score_image(found: PanopticMap, truth: PanopticMap, *, agnostic: bool = False) -> PanopticCounts:
    """Count one image by COCO's rules. A plain function, for pools.

    A found segment p and a true segment g of one class match if

        IoU = |p & g| / (|p| + |g| - |p & g| - |p & void|) > 0.5,

    void being where the truth has no segment; there is at most one such g for each p, and one p for each g. A crowd of the
    truth matches nothing and is not missed. What matches nothing and lies by more than half of its area in void, or in crowds
    of its own class, is no false alarm (COCO's own tool looks at one crowd a class and image; here all count). Whether a found
    segment says that it is a crowd is not looked at.

    Args:
        found, truth: maps of one size.
        agnostic: count all things as one class, `ANY_THING`.

    Raises:
        DataError: maps of different sizes.
    """
    if found.shape != truth.shape:
        raise DataError(f"the truth is {truth.shape} and the prediction {found.shape} (rows, columns).")
    classes = [_classes_of(panoptic, agnostic) for panoptic in (truth, found)]
    areas = [np.array([segment.area for segment in panoptic.segments], np.int64) for panoptic in (truth, found)]
    crowd = np.array([segment.iscrowd for segment in truth.segments], bool)
    # 1. The pixels that each pair shares; where the truth is void, and where both have a segment of one class.
    of_truth, of_found, shared = _overlaps(truth, found)
    forgiven = np.zeros(len(found), np.int64)
    in_void = (of_truth < 0) & (of_found >= 0)
    forgiven[of_found[in_void]] = shared[in_void]  # at most one pair each
    both = (of_truth >= 0) & (of_found >= 0)
    of_truth, of_found, shared = of_truth[both], of_found[both], shared[both]
    alike = classes[0][of_truth] == classes[1][of_found]
    of_truth, of_found, shared = of_truth[alike], of_found[alike], shared[alike]
    # 2. Matches.
    union = areas[0][of_truth] + areas[1][of_found] - shared - forgiven[of_found]
    hit = (2 * shared > union) & ~crowd[of_truth]
    iou = shared[hit] / union[hit]
    # 3. What is left: misses but for crowds, false alarms but for what lies in void and crowds mostly.
    in_crowd = crowd[of_truth]
    np.add.at(forgiven, of_found[in_crowd], shared[in_crowd])
    missed, false_alarm = ~crowd, 2 * forgiven <= areas[1]
    missed[of_truth[hit]] = False
    false_alarm[of_found[hit]] = False
    counts: dict[int, ClassCounts] = {}
    for number in np.unique(np.concatenate(classes)).tolist():
        ours = classes[0][of_truth[hit]] == number
        one = ClassCounts(
            matched=int(ours.sum()),
            false_alarms=int((false_alarm & (classes[1] == number)).sum()),
            missed=int((missed & (classes[0] == number)).sum()),
            iou=sum(int(value * _UNIT) for value in iou[ours].tolist()),  # exact: see the top of this file
        )
        if one.any:
            counts[number] = one
    return PanopticCounts(counts, agnostic)


def image_quality(counts: PanopticCounts) -> float | None:
    """How well one image went: PQ of all its segments as if they were of one class, None of an image without any.

    It ranks images; the score of a data set is no mean of it.

    >>> image_quality(PanopticCounts({1: ClassCounts(1, 1, 0, 3 << 51), 2: ClassCounts(0, 0, 1)}))
    0.375
    """
    total = sum(counts.classes.values(), ClassCounts())
    halves = 2 * total.matched + total.false_alarms + total.missed
    return 2 * total.iou / (halves * _UNIT) if halves else None


def _overlaps(truth: PanopticMap, found: PanopticMap) -> tuple[NDArray[np.int64], ...]:
    """Three arrays, an entry for each pair that shares a pixel: which true segment, which found one (-1: void), how many."""
    columns = len(found) + 1
    pairs = truth.places().astype(np.int64) * columns + found.places()  # (H, W)
    table = (len(truth) + 1) * columns
    if table <= _PLACES_PER_PIXEL * pairs.size:
        counts = np.bincount(pairs.ravel(), minlength=table)
        present = np.flatnonzero(counts)
        shared = counts[present]
    else:
        present, shared = np.unique(pairs, return_counts=True)
    return present // columns - 1, present % columns - 1, shared


def _classes_of(panoptic: PanopticMap, agnostic: bool) -> NDArray[np.int64]:
    numbers = [ANY_THING.id if agnostic and segment.isthing else segment.category_id for segment in panoptic.segments]
    return np.array(numbers, np.int64)


def _class_quality(category: Category, counts: ClassCounts) -> ClassQuality:
    """Divided as whole numbers, which Python rounds once."""
    matched, false_alarms, missed, iou = _fields(counts)
    pq = sq = rq = None
    if counts.any:
        halves = 2 * matched + false_alarms + missed
        pq, rq = 2 * iou / (halves * _UNIT), 2 * matched / halves
        sq = iou / (matched * _UNIT) if matched else 0.0
    return ClassQuality(category, pq, sq, rq, matched, false_alarms, missed)


def _mean(classes: Sequence[ClassQuality]) -> Quality:
    rows = [(one.pq, one.sq, one.rq) for one in classes if one.pq is not None]
    if not rows:
        return Quality(None, None, None, 0)
    pq, sq, rq = (fsum(value or 0.0 for value in column) / len(rows) for column in zip(*rows, strict=True))
    return Quality(pq, sq, rq, len(rows))


def _fields(counts: ClassCounts) -> tuple[int, int, int, int]:
    return counts.matched, counts.false_alarms, counts.missed, counts.iou
