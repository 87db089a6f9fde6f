"""Closed regions of an edge map: watershed basins, and the order in which they merge when weak borders give way.

An edge map has gaps, and a region that leaks through one gap is no region. So basins of the watershed, whose borders are
closed, are merged two by two, the pair with the weakest common border first, small ones before large ones; strength is the
mean over the whole border, so a gap counts for its length only. The result is a hierarchy (Arbelaez et al., 2011, without
orientations): cut it at a level, and nothing that is left has given up a border as strong.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, label
from scipy.sparse import csr_array
from skimage.segmentation import watershed

from tracedge.errors import DataError

_Border: TypeAlias = tuple[float, float, float]  # edges along it added up, its length in pixel sides, sides on an edge

EDGE = 0.1
"""From here on there is an edge."""

_SMOOTHING = 1.0  # pixels: a minimum of the smoothed map starts a basin
_FLAT = 1 / 255  # differences of height below this start no basin of their own
_FAINT = 0.05  # edges from here on make ground fall away from them,
_FAR, _FALL = 16.0, 0.25  # over so many pixels, by so much
_SMALL = 0.5  # power of the smaller one's area in the order of merging: what is small is rather part of something


@dataclass(frozen=True, eq=False)
class Regions:
    """The hierarchy of one edge map.

    basins: int32 (H, W), the number 0..B-1 of each pixel's basin. areas: (B,) pixels. merges: int (M, 2), the two nodes that
    merge m makes into node B + m; basins are the nodes 0..B-1. M = B - 1: the last node is the whole image. strengths: (M,) mean
    edge in [0, 1] along the border that each merge gives up. contrasts: (B + M,) mean edge along the whole contour of each node,
    the image's own border apart; closed: (B + M,) the share of that contour on an edge. ridges: bool (H, W), pixels that a basin
    was given although they lie between two. touching: int (P, 2), the basins that lie side by side; lengths, walls: (P,) of the
    border between them, in pixel sides, and the mean edge in [0, 1] along it. given_up: (M,) length of the border that each merge
    gives up, in pixel sides.

    Of `closed_regions(..., apart=classes)` no basin and no node crosses from one class into another: M is then smaller, nodes
    that merge no further are their own parents, and borders between classes are none.
    """

    basins: NDArray[np.int32]
    areas: NDArray[np.int64]
    merges: NDArray[np.int64]
    strengths: NDArray[np.float64]
    contrasts: NDArray[np.float64]
    closed: NDArray[np.float64]
    ridges: NDArray[np.bool_]
    touching: NDArray[np.int64]
    lengths: NDArray[np.float64]
    walls: NDArray[np.float64]
    given_up: NDArray[np.float64]

    def at_level(self, level: float) -> NDArray[np.int64]:
        """(B,) the region of each basin, numbered from 0: the largest nodes whose level is below `level`."""
        count = len(self.areas)
        top, kept_apart = self.parents(), self.levels() >= level
        kept_apart[:count] = False
        # Merges at this level or above do not happen.
        tops = np.where(kept_apart[top], np.arange(len(top)), top).tolist()
        for node in range(len(tops) - 1, -1, -1):  # a parent's number is larger than its children's
            tops[node] = tops[tops[node]]
        return np.unique(tops[:count], return_inverse=True)[1]

    def parents(self) -> NDArray[np.int64]:
        """(B + M,) the node that each node merges into; the last one's is itself."""
        count = len(self.areas)
        parents = np.arange(count + len(self.merges))
        parents[self.merges.ravel()] = np.repeat(np.arange(count, len(parents)), 2)
        return parents

    def levels(self) -> NDArray[np.float64]:
        """(B + M,) the largest strength that each node has given up, never below its parts'; 0 for a basin."""
        return self.gathered(np.zeros(len(self.areas)), np.maximum, self.strengths)

    def gathered(
        self, values: NDArray[Any], join: np.ufunc = np.add, of_merges: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """(B + M, ...) values (B, ...) of basins, joined up the hierarchy: sums, or `np.minimum`, `np.maximum`.

        of_merges: (M, ...) what each merge adds to the node that it makes.
        """
        nodes = np.concatenate((values, np.zeros((len(self.merges), *values.shape[1:]), values.dtype)))
        for made in self._rounds:
            one, other = self.merges[made].T
            joined = join(nodes[one], nodes[other])
            nodes[len(values) + made] = joined if of_merges is None else join(joined, of_merges[made])
        return nodes

    @cached_property
    def _rounds(self) -> list[NDArray[np.int64]]:
        """The merges in groups: those of one group need only what the groups before have made."""
        rounds = [0] * (len(self.areas) + len(self.merges))
        for node, (one, other) in enumerate(self.merges.tolist(), len(self.areas)):
            rounds[node] = max(rounds[one], rounds[other]) + 1
        of_merges = np.array(rounds[len(self.areas) :], np.int64)
        order = np.argsort(of_merges, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(of_merges[order])) + 1) if len(order) else []

    def members(self, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(K, B) whether each basin lies in each of K nodes."""
        count, basins_of = len(self.areas), self.gathered(np.ones(len(self.areas), np.int64))
        first, sizes = [0] * len(basins_of), basins_of.tolist()  # side by side in the tree's order, a node's are a run
        for number, (one, other) in reversed(list(enumerate(self.merges.tolist()))):
            first[one] = first[count + number]
            first[other] = first[one] + sizes[one]
        start, place = np.array(first)[nodes, None], np.array(first[:count])
        return (start <= place) & (place < start + basins_of[nodes, None])

    def counts(self, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(K, B) pixels of each of K masks (K, H, W) in each basin."""
        counts = [np.bincount(self.basins[mask], minlength=len(self.areas)) for mask in masks]
        return np.stack(counts) if counts else np.zeros((0, len(self.areas)), np.int64)

    def labels_at_level(self, level: float) -> NDArray[np.int64]:
        """(H, W) the region of each pixel, numbered from 0."""
        return self.at_level(level)[self.basins]

    def shares(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """(K, B) mean of each of K maps (K, h, w) over each basin; a coarser map is spread over the image's pixels."""
        height, width = self.basins.shape
        rows = np.arange(height) * maps.shape[1] // height
        columns = np.arange(width) * maps.shape[2] // width
        cells = (rows[:, None] * maps.shape[2] + columns[None]).ravel()
        weights = (1 / self.areas[self.basins.ravel()]).astype(np.float32)
        shape = (len(self.areas), maps.shape[1] * maps.shape[2])
        return (csr_array((weights, (self.basins.ravel(), cells)), shape) @ maps.reshape(len(maps), -1).T).T


def closed_regions(edges: NDArray[np.float32], apart: NDArray[np.integer[Any]] | None = None) -> Regions:
    """The hierarchy of closed regions of an edge map (H, W) in [0, 1].

    Args:
        edges: the map.
        apart: (H, W) a class of each pixel: regions are found inside each class by itself.

    Raises:
        DataError: no finite float map (H, W) in [0, 1], or classes of another shape.

    >>> wall = np.zeros((9, 16), np.float32)
    >>> wall[:, 8] = 1
    >>> wall[4, 8] = 0  # a gap
    >>> int(closed_regions(wall).at_level(0.5).max()) + 1
    2
    """
    edges = checked_map(edges)
    if apart is not None and apart.shape != edges.shape:
        raise DataError(f"edges are {edges.shape}, classes {apart.shape} (rows, columns): they must be of one image.")
    height = _height(edges)
    basins, ridges = _basins(height) if apart is None else _basins_apart(height, apart)
    areas = np.bincount(basins.ravel())
    pairs, borders = _borders(basins, edges)
    if apart is not None:
        class_of = np.zeros(len(areas), apart.dtype)
        class_of[basins.ravel()] = apart.ravel()
        one_class = class_of[pairs[:, 0]] == class_of[pairs[:, 1]]
        pairs, borders = pairs[one_class], borders[one_class]
    merges, given_up, contours = _merge_weakest_first(areas, pairs, borders)
    totals, lengths, _ = borders.T
    return Regions(
        basins=basins,
        areas=areas,
        merges=merges,
        strengths=given_up[:, 0],
        contrasts=contours[:, 0],
        closed=contours[:, 1],
        ridges=ridges,
        touching=pairs,
        lengths=lengths,
        walls=totals / np.maximum(lengths, 1),
        given_up=given_up[:, 1],
    )


def checked_map(edges: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The edge map as float32.

    Raises:
        DataError: no finite float map (H, W) in [0, 1].
    """
    if not (edges.ndim == 2 and edges.dtype.kind == "f" and edges.size):
        raise DataError(f"edges are a float map (H, W) in [0, 1], got {edges.dtype} {edges.shape}.")
    least, largest = float(edges.min()), float(edges.max())
    if not (least >= 0 and largest <= 1):  # a nan fails both
        raise DataError(f"edges are a float map (H, W) in [0, 1], got values in {least:g}..{largest:g}.")
    return edges.astype(np.float32, copy=False)


def _height(edges: NDArray[np.float32]) -> NDArray[np.int32]:
    """(H, W) what is flooded. Ground falls away from the edges, so that a narrow gap is a saddle and its sides two basins."""
    smooth = gaussian_filter(edges, _SMOOTHING, mode="nearest")
    faint = smooth > _FAINT
    distance = distance_transform_edt(~faint) if faint.any() else np.full(edges.shape, _FAR)
    depth = gaussian_filter(distance, _SMOOTHING, mode="nearest")
    height = smooth - _FALL * np.minimum(depth / _FAR, 1)
    return np.asarray(np.round(height / _FLAT), np.int32)


def _basins(height: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Watershed basins (H, W) from 0, and bool (H, W) the ridges between them.

    A pixel on the ridge between two goes to the one on its left or above it: an edge map marks the last pixel of an object, as
    `tracedge.metrics.edges.instance_boundaries` does.
    """
    basins = watershed(height, watershed_line=True).astype(np.int32)
    if not basins.any():  # flat: a watershed without a minimum
        return np.zeros(height.shape, np.int32), np.zeros(height.shape, bool)
    ridges = basins == 0
    basins = ridges_filled(basins)
    numbers = np.cumsum(np.bincount(basins.ravel()) > 0, dtype=np.int32) - 1  # some lost their last pixel to a ridge
    return numbers[basins], ridges


def _basins_apart(
    height: NDArray[np.int32], apart: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The same inside each connected piece of a class by itself; what the ground is like beyond its border makes no basin."""
    basins, ridges = np.zeros(height.shape, np.int32), np.zeros(height.shape, bool)
    count = 0
    for part in np.unique(apart):
        pieces = label(apart == part)[0]
        for number, around in enumerate(find_objects(pieces), start=1):
            piece = pieces[around] == number
            found = watershed(height[around], mask=piece, watershed_line=True)
            if not found.any():  # flat: a watershed without a minimum
                found = piece.astype(np.int32)
            filled = ridges_filled(found, piece)
            basins[around][piece] = filled[piece] + count
            ridges[around][piece] = found[piece] == 0
            count += int(filled.max())
    numbers = np.cumsum(np.bincount(basins.ravel(), minlength=count + 1)[1:] > 0, dtype=np.int32) - 1
    return numbers[basins - 1], ridges


def ridges_filled(basins: NDArray[np.int32], within: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """The pixels of 0, between basins, as their neighbours, from the ridges' sides inwards: left before above, right, below.

    within: where there is something to fill; None: everywhere. What is connected to no basin stays 0.
    """
    around = np.pad(basins, 1)
    flat, width = around.ravel(), around.shape[1]
    unfilled = basins == 0 if within is None else (basins == 0) & within
    ridges = np.flatnonzero(np.pad(unfilled, 1))
    while True:
        found = flat[ridges - 1]
        for step in (-width, 1, width):
            found = np.where(found == 0, flat[ridges + step], found)
        flat[ridges] = found
        if found.all() or not found.any():
            break
        ridges = ridges[found == 0]
    return around[1:-1, 1:-1]


def _borders(basins: NDArray[np.int32], edges: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs (P, 2) of touching basins, and their borders (P, 3): see `Regions`."""
    pairs, strengths = [], []
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        differ = np.nonzero(basins[first] != basins[second])
        pairs.append(np.stack((basins[first][differ], basins[second][differ]), axis=1))
        strengths.append(np.maximum(edges[first][differ], edges[second][differ]))
    sides = np.sort(np.concatenate(pairs), axis=1).astype(np.int64)
    count = int(basins.max()) + 1
    keys, inverse = np.unique(sides[:, 0] * count + sides[:, 1], return_inverse=True)
    strength = np.concatenate(strengths).astype(np.float64)
    sums = [np.bincount(inverse, each, len(keys)) for each in (strength, np.ones(len(strength)), strength >= EDGE)]
    return np.stack((keys // count, keys % count), axis=1), np.stack(sums, axis=1)


def _merge_weakest_first(
    areas: NDArray[np.int64], pairs: NDArray[np.int64], lines: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Merges (M, 2), strength and length (M, 2) of the border that each gives up, contrast and closed share (B + M, 2) of nodes.

    Among equals the lowest numbers go first.
    """
    borders: list[dict[int, _Border]] = [{} for _ in range(len(areas))]
    sizes: list[float] = areas.tolist()
    heap: list[tuple[float, int, int]] = []

    def wait(one: int, other: int, border: _Border) -> None:
        heapq.heappush(heap, (border[0] / border[1] * min(sizes[one], sizes[other]) ** _SMALL, one, other))

    for (one, other), (total, length, firm) in zip(pairs.tolist(), lines.tolist(), strict=True):
        borders[one][other] = borders[other][one] = (total, length, firm)
        wait(one, other, borders[one][other])
    contours = [_contour(known) for known in borders]
    merges, given_up = [], []
    gone: set[int] = set()
    while heap:
        _, one, other = heapq.heappop(heap)
        if one in gone or other in gone:
            continue  # its border lives on under another number
        gone |= {one, other}
        total, length, _ = borders[one][other]
        merges.append((one, other))
        given_up.append((total / length, length))
        sizes.append(sizes[one] + sizes[other])
        joined = _joined(borders, one, other)
        for neighbour, border in joined.items():
            borders[neighbour][len(borders)] = border
            wait(neighbour, len(borders), border)
        borders.append(joined)
        contours.append(_contour(joined))
    return np.array(merges, np.int64).reshape(-1, 2), np.array(given_up).reshape(-1, 2), np.array(contours)


def _joined(borders: list[dict[int, _Border]], one: int, other: int) -> dict[int, _Border]:
    """The borders of two nodes that become one; the two have none from now on, and their neighbours forget them."""
    joined: dict[int, _Border] = {}
    for node, twin in ((one, other), (other, one)):
        for neighbour, (total, length, firm) in borders[node].items():
            if neighbour != twin:
                del borders[neighbour][node]
                known = joined.get(neighbour, (0.0, 0.0, 0.0))
                joined[neighbour] = (known[0] + total, known[1] + length, known[2] + firm)
        borders[node] = {}
    return joined


def _contour(known: dict[int, _Border]) -> tuple[float, float]:
    """Mean edge along all borders of a node, and the share of them on an edge; zeros where it has none."""
    total = length = firm = 0.0
    for border in known.values():
        total, length, firm = total + border[0], length + border[1], firm + border[2]
    return (total / length, firm / length) if length else (0.0, 0.0)
