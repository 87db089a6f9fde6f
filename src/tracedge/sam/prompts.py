"""What an instance says to SAM: points within it and beside it, its box, the mask itself. All in the picture's pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from tracedge.errors import DataError
from tracedge.instances import Instances, Masks, inner_point

KINDS = ("box", "points", "mask")
WITHIN, BESIDE, NO_POINT = 1, 0, -10
"""Labels of points, as SAM's prompt encoder has them: the object, not the object, and none, which fills up."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """K prompts for one picture, each asking for one object.

    points: float64 (K, P, 2), x and y of each; (0, 0) is the first pixel. labels: int64 (K, P), of `WITHIN`, `BESIDE` and, after
    those, `NO_POINT`. boxes: float64 (K, 4), x and y of the first and of the last pixel. masks: bool (K, H, W). None: not said.

    Raises:
        DataError: nothing is said, or of different numbers of objects.
    """

    points: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None
    boxes: NDArray[np.float64] | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        counts = {len(said) for said in (self.points, self.labels, self.boxes, self.masks) if said is not None}
        if len(counts) != 1 or (self.points is None) != (self.labels is None):
            raise DataError(
                "prompts are points with labels, boxes or masks, as many of each, got "
                f"{', '.join(f'{name} {np.shape(said)}' for name, said in vars(self).items() if said is not None) or 'none'}."
            )

    def __len__(self) -> int:
        return next(len(said) for said in (self.points, self.boxes, self.masks) if said is not None)

    def __getitem__(self, part: slice) -> Prompts:
        """Some of them."""
        return Prompts(*(None if said is None else said[part] for said in vars(self).values()))

    def batches(self, size: int) -> Iterator[Prompts]:
        """All of them in order, up to `size` at once, none filled up: what is no point would still be heard a little."""
        counts = np.zeros(len(self), int) if self.labels is None else (self.labels != NO_POINT).sum(axis=1)
        start = 0
        for count, alike in groupby(counts.tolist()):
            end = start + len(list(alike))
            for first in range(start, end, size):
                part = self[first : min(first + size, end)]
                if part.points is not None and part.labels is not None:
                    part = replace(part, points=part.points[:, :count], labels=part.labels[:, :count])
                yield part
            start = end


def prompts_of(
    instances: Instances, kinds: tuple[str, ...] = ("box", "points"), *, points: int = 1, negatives: int = 0
) -> Prompts:
    """What K instances, none of them blank, say.

    Args:
        instances: of the picture.
        kinds: some of `KINDS`.
        points: within each, at most; see `inner_points`.
        negatives: points beside each, at most: the innermost ones of those that it touches most.
    """
    boxes = masks = found = labels = None
    if "box" in kinds:
        top, left, bottom, right = instances.boxes.T.astype(np.float64)
        boxes = np.stack((left, top, right - 1, bottom - 1), axis=1)
    if "mask" in kinds:
        masks = instances.masks
    if "points" in kinds:
        found, labels = _points_of(instances, points, negatives)
    return Prompts(found, labels, boxes, masks)


def inner_points(mask: NDArray[np.bool_], count: int = 1) -> list[tuple[int, int]]:
    """(row, column) of up to `count` pixels of a mask (H, W), far from what is not the mask and from each other.

    The first is the maximum of the Euclidean distance transform of the largest connected piece (what is outside of the picture is
    outside of the mask), each further one that of the whole mask without those before.

    >>> inner_points(np.ones((5, 5), bool), 2)
    [(2, 2), (1, 1)]
    """
    points = [inner_point(_largest_piece(mask))]
    rest = mask.copy()
    while len(points) < count:
        rest[points[-1]] = False
        if not rest.any():
            break
        points.append(inner_point(rest))
    return points


def neighbours(instances: Instances, number: int) -> list[int]:
    """The others that have pixels beside (8 neighbours) an instance, outside of it: those with the most first."""
    top, left, bottom, right = instances.boxes[number]
    around = np.s_[:, max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
    inside = instances.masks[around][number]
    rim = binary_dilation(inside, np.ones((3, 3))) & ~inside
    shared = (instances.masks[around] & rim).sum(axis=(1, 2))
    return [other for other in np.argsort(-shared, kind="stable").tolist() if shared[other]]


def _points_of(instances: Instances, count: int, negatives: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    within = [inner_points(mask, count) for mask in instances.masks]
    beside: list[list[tuple[int, int]]] = [[] for _ in within]
    for number in range(len(within) if negatives else 0):
        theirs = [within[other][0] for other in neighbours(instances, number)]
        beside[number] = [point for point in theirs if not instances.masks[number][point]][:negatives]
    most = max((len(ours) + len(theirs) for ours, theirs in zip(within, beside, strict=True)), default=1)
    points = np.zeros((len(within), most, 2))
    labels = np.full((len(within), most), NO_POINT)
    for number, (ours, theirs) in enumerate(zip(within, beside, strict=True)):
        both = ours + theirs
        points[number, : len(both)] = np.array(both)[:, ::-1]  # x is the column
        labels[number, : len(both)] = [WITHIN] * len(ours) + [BESIDE] * len(theirs)
    return points, labels


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, count = label(mask)
    if count == 1:
        return mask
    largest: NDArray[np.bool_] = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    return largest
