"""One-to-one matching of edge pixels: how many predicted pixels can each be given a true pixel of their own nearby."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from tracedge.errors import SettingsError

_FREE = -1


def match_edges(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], max_distance: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match predicted edge pixels with true ones, one to one, as many as can be matched.

    Pixels p and g may be paired if ``|p - g| <= max_distance`` (Euclidean). Of all one-to-one pairings one of maximum
    cardinality is returned. BSDS minimises a cost in which a pixel left alone costs 100 ``max_distance``; in practice
    that is the same number of pairs, and so the same precision and recall.

    A greedy pass pairs by increasing distance; what it leaves is mended by augmenting paths, all those of one breadth-
    first forest at a time. About 15 ms for 5 000 pixels a side on 480 x 640.

    Args:
        predicted: (H, W) bool, lines one pixel wide.
        truth: (H, W) bool, lines one pixel wide.
        max_distance: in pixels, 0 or more.

    Returns:
        The matched pixels of ``predicted`` and of ``truth``, both (H, W) bool with equally many True. Which of several
        maximum pairings is taken is fixed by the pixels' order, so equal input gives equal output.

    Raises:
        SettingsError: shapes that differ, arrays that are not (H, W) bool, a negative distance.

    Source: Martin, Fowlkes and Malik, 2004 (the benchmark); Azad, Buluc and Pothen, 2017 (breadth-first forests).

    >>> line = np.zeros((9, 9), bool); line[4] = True
    >>> matched, _ = match_edges(np.roll(line, 1, axis=0), line, max_distance=1.0)
    >>> int(matched.sum())
    9
    """
    _check(predicted, truth, max_distance)
    true_at, predicted_at = np.flatnonzero(truth), np.flatnonzero(predicted)
    # 1. every pair in reach, nearest first, and a maximal pairing on the way
    pairs, partner, owner = _greedy(true_at, predicted_at, predicted.shape, max_distance)
    # 2. a maximal pairing holds at least half the pairs of a maximum one: mend the rest
    if (partner == _FREE).any() and (owner == _FREE).any():
        _augment(*_neighbour_lists(pairs, partner.size, owner.size), partner, owner)
    # 3. back to maps
    matched_predicted, matched_truth = np.zeros_like(predicted), np.zeros_like(truth)
    matched_predicted.ravel()[predicted_at[owner != _FREE]] = True
    matched_truth.ravel()[true_at[partner != _FREE]] = True
    return matched_predicted, matched_truth


def _check(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], max_distance: float) -> None:
    for name, edges in (("predicted", predicted), ("truth", truth)):
        if edges.ndim != 2 or edges.dtype != np.bool_:
            raise SettingsError(f"{name} must be (H, W) bool, got {edges.dtype} {edges.shape}.")
    if predicted.shape != truth.shape:
        raise SettingsError(f"predicted {predicted.shape} and truth {truth.shape} must have one shape.")
    if not 0 <= max_distance < np.inf:
        raise SettingsError(f"max_distance is a number of pixels, 0 or more; got {max_distance}.")


def within_reach(points: NDArray[np.bool_], target: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The pixels of ``points`` (H, W) that have a pixel of ``target`` (H, W) at a distance <= ``radius`` pixels.

    Equals ``points`` inside ``target`` dilated by a disc. Quick where ``points`` are few: each is asked alone.
    """
    _check(points, target, radius)
    margin = int(radius)
    padded = np.pad(target, margin)
    stride, flat = padded.shape[1], padded.ravel()
    rows, columns = np.nonzero(points)
    open_at = (rows + margin) * stride + columns + margin
    for dy, dx in _disc(radius):
        open_at = open_at[~flat[open_at + (dy * stride + dx)]]
    near = points.copy()
    near[open_at // stride - margin, open_at % stride - margin] = False
    return near


@lru_cache(maxsize=16)
def _disc(radius: float) -> tuple[tuple[int, int], ...]:
    """All (dy, dx) with dy^2 + dx^2 <= radius^2, nearest first."""
    reach = int(radius)
    span = range(-reach, reach + 1)
    inside = [(dy, dx) for dy in span for dx in span if dy * dy + dx * dx <= radius * radius]
    return tuple(sorted(inside, key=lambda offset: (offset[0] ** 2 + offset[1] ** 2, offset)))


def _greedy(
    true_at: NDArray[np.int64], predicted_at: NDArray[np.int64], shape: tuple[int, ...], max_distance: float
) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], NDArray[np.int32], NDArray[np.int32]]:
    """All pairs (true, predicted) in reach, the partner of each true pixel and the owner of each predicted pixel.

    One offset is one gather from an index image; an offset cannot give a pixel two partners, so no order is lost.
    """
    margin, width = int(max_distance), shape[1]
    stride = width + margin  # one margin serves the right of a row and the left of the next
    lookup = np.full((shape[0] + 2 * margin) * stride + 2 * margin, _FREE, np.int32)

    def padded(at: NDArray[np.int64]) -> NDArray[np.int64]:
        return (at // width + margin) * stride + at % width + margin

    lookup[padded(predicted_at)] = np.arange(predicted_at.size, dtype=np.int32)
    from_true = padded(true_at)
    partner = np.full(true_at.size, _FREE, np.int32)
    owner = np.full(predicted_at.size, _FREE, np.int32)
    pairs = []
    for dy, dx in _disc(max_distance):
        found = lookup[from_true + (dy * stride + dx)]
        true = np.flatnonzero(found >= 0).astype(np.int32)
        near = found[true]
        pairs.append((true, near))
        free = (partner[true] == _FREE) & (owner[near] == _FREE)
        partner[true[free]] = near[free]
        owner[near[free]] = true[free]
    return (np.concatenate([t for t, _ in pairs]), np.concatenate([p for _, p in pairs])), partner, owner


def _neighbour_lists(
    pairs: tuple[NDArray[np.int32], NDArray[np.int32]], trues: int, predictions: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The predicted pixels in reach of each true pixel, as the start of each list and the lists end to end."""
    table = coo_array((np.ones(pairs[0].size, bool), pairs), shape=(trues, predictions)).tocsr()
    return table.indptr, table.indices


def _augment(
    start: NDArray[np.int32], near: NDArray[np.int32], partner: NDArray[np.int32], owner: NDArray[np.int32]
) -> None:
    """Grow the pairing in place to maximum cardinality.

    Each round grows one tree of alternating paths from every free true pixel, all trees level by level, no predicted
    pixel in two trees. Trees that end at a free predicted pixel are augmented together; they share no pixel. A round in
    which no tree ends so has seen every alternating path, and by Berge's theorem the pairing is maximum.
    """
    roots = np.flatnonzero((partner == _FREE) & (np.diff(start) > 0))
    while roots.size:
        parent, leaf = _grow_trees(start, near, owner, roots)
        won = leaf[roots] != _FREE
        if not won.any():
            return
        end = leaf[roots[won]]
        while end.size:  # walk all paths back to their roots, one pair of each at a time
            true = parent[end]
            before = partner[true]
            partner[true], owner[end] = end, true
            end = before[before != _FREE]
        roots = roots[~won]


def _grow_trees(
    start: NDArray[np.int32], near: NDArray[np.int32], owner: NDArray[np.int32], roots: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The true pixel each predicted pixel was reached from, and the free predicted pixel each root's tree found."""
    trues = start.size - 1
    parent = np.full(owner.size, _FREE, np.int64)
    leaf = np.full(trues, _FREE, np.int64)
    root_of = np.full(trues, _FREE, np.int64)
    root_of[roots] = roots
    frontier = roots
    while frontier.size:
        counts = start[frontier + 1] - start[frontier]
        first = np.cumsum(counts) - counts
        reached = near[np.repeat(start[frontier] - first, counts) + np.arange(counts.sum())]
        source = np.repeat(frontier, counts)
        new = parent[reached] == _FREE
        reached, source = reached[new], source[new]
        parent[reached] = source  # reached from two sides: the last write is the one that counts
        mine = parent[reached] == source
        reached, source = reached[mine], source[mine]
        free = owner[reached] == _FREE
        leaf[root_of[source[free]]] = reached[free]
        following = owner[reached[~free]]
        root_of[following] = root_of[source[~free]]
        frontier = following[leaf[root_of[following]] == _FREE].astype(np.int64)
    return parent, leaf
