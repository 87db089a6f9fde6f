"""Mean intersection over union of semantic maps, as whole numbers that add up over images and over processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.semantic_map import UNKNOWN


@dataclass(frozen=True)
class ClassPixels:
    """Pixels of one class: hit, in truth and found so; found; true. Where the truth is unknown, none are counted. They add up."""

    hit: int = 0
    found: int = 0
    true: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.hit <= min(self.found, self.true):
            raise DataError(f"pixels that were hit were found and are true, and no count is below 0; got {self}.")

    def __add__(self, other: ClassPixels) -> ClassPixels:
        return ClassPixels(self.hit + other.hit, self.found + other.found, self.true + other.true)

    @property
    def iou(self) -> float | None:
        """hit / (found + true - hit); None of a class that is neither found nor true."""
        either = self.found + self.true - self.hit
        return self.hit / either if either else None


@dataclass(frozen=True)
class SemanticFigures:
    """miou: the mean of the IoUs of the classes that are found or true, None where there are none. per_class: by category id."""

    miou: float | None
    per_class: Mapping[int, float]


def count_pixels(found: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]]) -> dict[int, ClassPixels]:
    """Count one image. A plain function, for pools.

    Args:
        found, truth: integer (H, W), a category id from 0 or -1, unknown (`tracedge.semantic_map.UNKNOWN`). Pixels that are
            unknown in truth are left out; those that are unknown in what was found are missed.

    Returns:
        Category id -> its pixels, of the classes of this image.

    Raises:
        DataError: maps of different sizes.

    >>> count_pixels(np.array([[1, 1, 2, -1]]), np.array([[1, 2, 2, 2]]))[2]
    ClassPixels(hit=1, found=1, true=3)
    """
    if found.shape != truth.shape:
        raise DataError(f"the truth is {truth.shape} and what was found {found.shape} (rows, columns).")
    known = truth != UNKNOWN
    present, numbers = np.unique(np.stack([found[known], truth[known]]), return_inverse=True)
    of_found, of_true = numbers.reshape(2, -1)
    same = of_found == of_true
    counts = [np.bincount(each, minlength=len(present)) for each in (of_true[same], of_found, of_true)]
    rows = zip(present.tolist(), *(each.tolist() for each in counts), strict=True)
    return {number: ClassPixels(*pixels) for number, *pixels in rows if number != UNKNOWN}


def semantic_scores(counts: Iterable[Mapping[int, ClassPixels]]) -> SemanticFigures:
    """IoU of each class, its pixels summed over all images first, and their mean (mIoU, as Pascal VOC has it).

    A class that is found where it is nowhere true counts with 0; the order of the images does not change a bit.

    >>> semantic_scores([{1: ClassPixels(1, 2, 1), 2: ClassPixels(1, 1, 3)}]).miou
    0.41666666666666663
    """
    sums: dict[int, ClassPixels] = {}
    for one in counts:
        for number, pixels in one.items():
            sums[number] = sums.get(number, ClassPixels()) + pixels
    ious = {number: iou for number in sorted(sums) if (iou := sums[number].iou) is not None}
    return SemanticFigures(fsum(ious.values()) / len(ious) if ious else None, ious)
