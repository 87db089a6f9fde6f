"""Whether a region looks like an object, from its contour and its shape alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracedge.regions import Regions

CLOSED = 2.0
"""Power of the share of a contour on which there is an edge: what is open on one side is rather a gap between objects."""

LARGE = 0.05
"""Share of the image from which on size says nothing about a region."""


def on_border(regions: Regions) -> NDArray[np.int64]:
    """(B,) pixel sides of each basin on the image's border."""
    basins = regions.basins
    sides = np.concatenate((basins[0], basins[-1], basins[:, 0], basins[:, -1]))
    return np.bincount(sides, minlength=len(regions.areas))


def boxes(regions: Regions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(B, 2) first row and column of each basin, and (B, 2) last row and column, plus one."""
    count = len(regions.areas)
    first = np.full((count, 2), max(regions.basins.shape))
    last = np.zeros((count, 2), np.int64)
    for axis, places in enumerate(np.indices(regions.basins.shape)):
        np.minimum.at(first[:, axis], regions.basins.ravel(), places.ravel())
        np.maximum.at(last[:, axis], regions.basins.ravel(), places.ravel() + 1)
    return first, last


def shape_factor(
    areas: NDArray[np.number],
    rims: NDArray[np.number],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    *,
    border: float = 2.0,
    extent: float = 1.0,
) -> NDArray[np.float64]:
    """(K,) in [0, 1]: 1 for what fills its bounding box and keeps off the image's border, as objects rather do than background.

    (1 - share of the box's outline that is the image's border)^border x (area / area of the box)^extent

    Args:
        areas: (K,) pixels. rims: (K,) pixel sides on the image's border. first, last: (K, 2) the corners of the bounding boxes,
            the last ones plus one.
    """
    height, width = np.maximum(last - first, 1).T
    free = 1 - np.minimum(rims / (2 * (height + width)), 1)
    return free**border * (areas / (height * width)) ** extent


def small_factor(areas: NDArray[np.number], pixels: int, rank: float = 0.25) -> NDArray[np.float64]:
    """(K,) in [0, 1]: (area / 5 % of the image)^rank, at most 1: of what looks equal, the smaller is oftener wrong."""
    return np.minimum(areas / (LARGE * pixels), 1) ** rank
