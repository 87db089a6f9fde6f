"""Instances as GeoJSON polygons in pixel coordinates: exact outlines, with holes."""

from __future__ import annotations

import json
import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.instances import Instances

Ring: TypeAlias = list[list[int]]
"""[[x, y], ...], the last as the first."""

Walk: TypeAlias = list[tuple[int, int]]
"""[(x, y), ...], the first only once."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # x, y: along the top of a pixel, its right, its bottom, its left side


def write_geojson(path: str | os.PathLike[str], instances: Instances) -> None:
    """Write `instances_geojson`, whole or not at all; equal instances give equal bytes."""
    text = json.dumps(instances_geojson(instances), sort_keys=True, separators=(",", ":"), allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="ascii", newline="\n")


def instances_geojson(instances: Instances) -> dict[str, Any]:
    """A FeatureCollection (RFC 7946) with one feature an instance: its outline, and `id` (from 1), `score` and `area` (pixels).

    Coordinates are pixels and not degrees: x to the right, y down, (0, 0) the top left corner of the image, (W, H) the bottom
    right one, so that corners of pixels are whole numbers and the polygons cover the mask exactly. The collection's own member
    `settings` says what the masks depend on.
    """
    instances = instances.seen()
    features = []
    for number, (mask, score, area) in enumerate(
        zip(instances.masks, instances.scores, instances.areas.tolist(), strict=True), start=1
    ):
        polygons = outlines(mask)
        one = len(polygons) == 1
        geometry = {"type": "Polygon" if one else "MultiPolygon", "coordinates": polygons[0] if one else polygons}
        properties = {"id": number, "score": float(score), "area": area}
        features.append({"type": "Feature", "id": number, "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features, "settings": dict(instances.settings)}


def outlines(mask: NDArray[np.bool_]) -> list[list[Ring]]:
    """The polygons of a mask, bool (H, W): each connected piece's outer ring and then its holes, in corners of pixels.

    Pieces are connected by sides of pixels, so that no ring crosses or touches itself. Outer rings have a positive area by the
    formula sum(x1 y2 - x2 y1) / 2, holes a negative one, as RFC 7946 asks; corners on a straight line are left out.

    Raises:
        DataError: no bool array (H, W).

    >>> outlines(np.array([[True, True]]))
    [[[[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]]]]
    """
    if mask.dtype != bool or mask.ndim != 2:
        raise DataError(f"expected a mask, bool (H, W), got {mask.dtype} {mask.shape}.")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    pieces, count = ndimage.label(inside)
    outer: list[list[Ring]] = [[] for _ in range(count)]
    holes: list[list[Ring]] = [[] for _ in range(count)]
    for walk, (row, column) in _walks(inside):
        piece = pieces[row, column] - 1
        for ring in _simple_rings(walk):
            (outer if enclosed_area(ring) > 0 else holes)[piece].append(_corners(ring, left, top))
    return [[*first, *others] for first, others in zip(outer, holes, strict=True)]


def _walks(mask: NDArray[np.bool_]) -> list[tuple[Walk, tuple[int, int]]]:
    """The closed walks along the sides between inside and outside, inside to the right as one looks at it.

    Each comes with the (row, column) of a pixel inside beside it.
    """
    padded = np.pad(mask, 1)
    here = padded[1:-1, 1:-1]
    beyond = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])  # above, right, below, left
    sides = [np.argwhere(here & ~other) for other in beyond]  # pixels, (row, column)
    pixels = np.concatenate(sides)
    direction = np.repeat(np.arange(4), [len(side) for side in sides])
    start = pixels[:, ::-1] + np.array([(0, 0), (1, 0), (1, 1), (0, 1)])[direction]  # x, y
    corners: Walk = list(map(tuple, start.tolist()))
    after, unseen = _following(start, direction, mask.shape).tolist(), bytearray(b"\1") * len(start)
    walks = []
    for first in range(len(start)):
        walk, side = [], first
        while unseen[side]:
            unseen[side] = 0
            walk.append(corners[side])
            side = after[side]
        if walk:
            row, column = pixels[first].tolist()
            walks.append((walk, (row, column)))
    return walks


def _following(start: NDArray[np.int64], direction: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Which side a walk takes after each; where two pixels touch by their corners alone, it stays with its pixel."""
    end = start + np.array(_STEPS)[direction]
    leaving = np.full((4, shape[0] + 1, shape[1] + 1), -1)  # the side that leaves a corner in a direction
    leaving[direction, start[:, 1], start[:, 0]] = np.arange(len(start))
    following = np.full(len(start), -1)
    for turn in (3, 0, 1):  # the last that exists is kept: to the right, along the same pixel, comes before all
        candidate = leaving[(direction + turn) % 4, end[:, 1], end[:, 0]]
        following = np.where(candidate >= 0, candidate, following)
    return following


def _simple_rings(walk: Walk) -> list[Walk]:
    """A walk cut where it comes to a corner for the second time: a cavity that meets the outside in a corner is a hole."""
    rings: list[Walk] = []
    ring: Walk = []
    places: dict[tuple[int, int], int] = {}
    for corner in walk:
        if corner in places:
            cut = places[corner]
            rings.append(ring[cut:])
            for gone in ring[cut:]:
                del places[gone]
            del ring[cut:]
        places[corner] = len(ring)
        ring.append(corner)
    return [*rings, ring]


def enclosed_area(ring: Ring | Walk) -> int:
    """Sum(x1 y2 - x2 y1) / 2 of a ring whose corners are those of pixels: pixels inside, negative of a hole."""
    x, y = np.array(ring).T
    return int(x @ np.roll(y, -1) - np.roll(x, -1) @ y) // 2


def _corners(ring: Walk, left: int, top: int) -> Ring:
    """The ring closed, without the points where it goes straight on, and moved to its place in the image."""
    points = np.array(ring)
    along = points - np.roll(points, 1, axis=0)
    turns = (along != np.roll(along, -1, axis=0)).any(axis=1)
    kept = (points[turns] + np.array([left, top])).tolist()
    return [*kept, kept[0]]
