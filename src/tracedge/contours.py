"""A contour stands or falls as a whole: each pixel's strength moves towards the mean of the contour that it lies on.

Noise makes short weak ridges and gaps in long strong ones; a threshold then cuts contours into dashes. The mean over a
connected ridge is steadier than any of its pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from tracedge.edges import non_maximum_suppression

Map = NDArray[np.float32]

_REACH = 4.0  # pixels of a soft edge's flank
_FAINT = 0.05  # below it a ridge of a soft map in [0, 1] is no contour


def halfway(ridges: Map) -> Map:
    """Each pixel of a map (H, W) of thin ridges, >= 0: sqrt(own strength x mean strength of its 8-connected ridge)."""
    return np.sqrt(ridges * _means(ridges)[0]).astype(np.float32)


def levelled(soft: Map) -> Map:
    """A soft map (H, W) in [0, 1] whose ridges each have the mean strength of their contour all along.

    A ridge takes its flanks, up to four pixels wide, with it; what lies beside no ridge above 0.05 stays as it is. Soft
    lines are several pixels wide, so ridges are looked for in squares of two by two: as good, and four times faster.

    Returns:
        (H, W) float32 in [0, 1].

    >>> line = np.zeros((8, 24), np.float32)
    >>> line[4] = 0.8
    >>> line[4, 10:14] = 0.4  # a gap
    >>> levelled(line)[4, [5, 12]].round(2)
    array([0.73, 0.73], dtype=float32)
    """
    height, width = soft.shape
    squares = np.pad(soft, ((0, height % 2), (0, width % 2)), "edge")
    squares = squares.reshape(squares.shape[0] // 2, 2, -1, 2).max(axis=(1, 3))
    ridges = non_maximum_suppression(squares)
    ridges[ridges < _FAINT] = 0
    if not ridges.any():
        return soft
    means, number = _means(ridges)
    distance, (row, column) = distance_transform_edt(number == 0, return_indices=True)
    share = np.where(distance <= _REACH / 2, means[row, column] / ridges[row, column], 1)
    share = share.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return (soft * share).clip(0, 1).astype(np.float32)


def _means(ridges: Map) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Mean strength of each pixel's ridge, 0 off the ridges, and the ridges' numbers from 1; both (H, W)."""
    number, _ = label(ridges > 0, np.ones((3, 3)))
    sizes = np.bincount(number.ravel())
    means = np.bincount(number.ravel(), ridges.ravel()) / np.maximum(sizes, 1)
    return np.where(number > 0, means[number], 0), number
