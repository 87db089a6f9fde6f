"""Touching objects: which pairs of a label map touch, and which of them a prediction keeps apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tracedge.instances import Masks, pairwise_iou

DISTANCE, LENGTH = 2.0, 8
"""Two objects touch if at least 8 pixels of one lie within 2 pixels of the other."""


def touching_pairs(
    labels: NDArray[np.integer],
    classes: Sequence[object] | None = None,
    *,
    distance: float = DISTANCE,
    length: int = LENGTH,
) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of labels of a map (H, W), 0 background, that touch.

    classes: the class of label 1, 2, ...; only pairs of one class are taken. None: any two.

    >>> two = np.repeat([[1, 1, 1, 0, 2, 2]], 9, axis=0)
    >>> touching_pairs(two), touching_pairs(two, ["nut", "leaf"]), touching_pairs(two[:7])
    ([(1, 2)], [], [])
    """
    outline = _outline(labels)
    pixels = np.argwhere(outline)
    owners = labels[outline]
    close = cKDTree(pixels).query_pairs(distance, output_type="ndarray") if len(pixels) else np.zeros((0, 2), int)
    differ = close[owners[close[:, 0]] != owners[close[:, 1]]]
    # A pixel counts once for each other object near it: rows are (pixel, its object, the other).
    both = np.concatenate((differ, differ[:, ::-1]))
    near = np.unique(np.stack((both[:, 0], owners[both[:, 0]], owners[both[:, 1]]), axis=1), axis=0)
    directed, counts = np.unique(near[:, 1:], axis=0, return_counts=True)
    pairs = {tuple(sorted(pair)) for pair in directed[counts >= length].tolist()}
    return sorted(
        (first, second) for first, second in pairs if classes is None or classes[first - 1] == classes[second - 1]
    )


def separated(truth: Masks, pairs: Sequence[tuple[int, int]], predictions: Masks, iou: float = 0.5) -> int:
    """How many pairs are kept apart: the best masks of the two are different ones, each with an IoU above `iou`.

    truth: bool (K, H, W), `pairs` number it from 1. predictions: bool (M, H, W).
    """
    if not len(pairs) or not len(predictions):
        return 0
    overlap = pairwise_iou(truth, predictions)  # (K, M)
    best, value = overlap.argmax(axis=1), overlap.max(axis=1)
    return sum(best[one - 1] != best[other - 1] and min(value[one - 1], value[other - 1]) > iou for one, other in pairs)


def _outline(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of an object with a pixel that is not its own at most two away: all that can be near another."""
    padded = np.pad(labels, 2)
    found = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for down in range(5):
        for right in range(5):
            found |= padded[down : down + height, right : right + width] != labels
    return found & (labels > 0)
