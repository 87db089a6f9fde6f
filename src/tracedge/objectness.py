"""Whether a region looks like an object, from its contour, its shape and what cuts it through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask

from tracedge.instances import Instances, Masks
from tracedge.regions import EDGE, Regions

CLOSED = 2.0
"""Power of the share of a contour on which there is an edge: what is open on one side is rather a gap between objects."""

BALANCE = 0.35
"""Power of the share that a border within a region cuts off, by which it counts less: a speck speaks against no object."""

SIZE = 0.85
"""Power of the area when a region is weighed against its parts (below 1 favours the parts)."""

NEAR = 3
"""Pixels, a side, in which an edge is looked for from a pixel of a contour."""

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


def strongest_split(regions: Regions, areas: NDArray[np.number], balance: float = BALANCE) -> NDArray[np.float64]:
    """(B + M, ...) how strongly a border cuts each node in two: the largest strength x (2 x smaller part / node)^balance within.

    areas: (B, ...) pixels of each basin that count: all of them, or those in each of several masks.
    """
    nodes = regions.gathered(areas.astype(np.float64))
    smaller = nodes[regions.merges].min(axis=1, initial=np.inf)
    cuts = (smaller > 0) * (2 * smaller) ** balance
    own = regions.strengths.reshape(-1, *[1] * (areas.ndim - 1)) * cuts
    return regions.gathered(np.zeros(areas.shape), np.maximum, own) / np.maximum(nodes, 1) ** balance


def looks(
    instances: Instances, edges: NDArray[np.float32], splits: NDArray[np.float64] | float = 0.0, trust: float = 0.0
) -> NDArray[np.float64]:
    """(K,) in [0, 1]: how much each of K instances looks like an object by the edges (H, W).

    The mean edge along its contour, the image's border apart, less for gaps in it, for its shape, for its smallness, and for the
    strongest border that cuts it through: splits (K,), see `strongest_split`; that leaves at least the share `trust` of it.
    """
    masks, boxes, areas = instances.masks, instances.boxes, instances.areas
    near = maximum_filter(edges, NEAR)
    contours = [near[_contour(mask)] for mask in masks]
    contrasts = np.array([contour.mean() if contour.size else 0.0 for contour in contours])
    closed = np.array([(contour >= EDGE).mean() if contour.size else 0.0 for contour in contours])
    rims = np.concatenate((masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]), axis=1).sum(axis=1)
    shape = shape_factor(areas, rims, boxes[:, :2], boxes[:, 2:])
    whole = 1 - np.minimum(splits / np.maximum(contrasts, 1e-6), 1 - trust)
    return contrasts * closed**CLOSED * shape * whole * small_factor(areas, edges.size)


def gap_shares(masks: Masks) -> NDArray[np.float64]:
    """(K,) how much of the convex hull of each of K disjoint masks (K, H, W), the surest first, is cut out of it by surer ones.

    Objects bulge into the ground between them, each from its own side. What one alone cuts out does not count, since what lies
    behind an object looks like that as well.
    """
    shares = np.zeros(len(masks))
    owner = np.full(masks.shape[1:], -1)
    for number, mask in enumerate(masks):
        (top, bottom), (left, right) = (
            (lines[0], lines[-1] + 1) for lines in map(np.flatnonzero, (mask.any(1), mask.any(0)))
        )
        inside, owners = mask[top:bottom, left:right], owner[top:bottom, left:right]
        hull = _hull(inside)
        cut_out = np.bincount(owners[hull & (owners >= 0)])
        shares[number] = (cut_out.sum() - cut_out.max(initial=0)) / hull.sum()
        owners[inside] = number
    return shares


def _hull(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The convex hull of a mask (H, W) without empty rows: all pixels whose centres lie in that of its pixels' corners."""
    rows = np.arange(len(mask))
    ends = (mask.argmax(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1))  # of each row, the last one plus one
    corners = np.concatenate([np.stack((rows + down, end), axis=1) for down in (0, 1) for end in ends]) - 0.5
    outline = corners[ConvexHull(corners).vertices]
    return polygon2mask(mask.shape, outline)


def _contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask (H, W) beside one that is not its own; the image's border is no contour."""
    around = np.pad(mask, 1, constant_values=True)
    within = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~within
