"""One-to-one matching of edge pixels: how many predicted pixels can each be given a true pixel of their own nearby."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import SettingsError

FREE = -1
_AT_ONCE = 1 << 16  # places looked at together: few enough to stay in a cache

Indices = NDArray[np.intp]
Lists = tuple[Indices, Indices]  # where each list begins in the second array, and the lists end to end


def match_edges(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], max_distance: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match predicted edge pixels with true ones, one to one, as many as can be matched.

    Pixels p and g may be paired if ``|p - g| <= max_distance`` (Euclidean). Of all one-to-one pairings one of maximum
    cardinality is returned. BSDS minimises a cost in which a pixel left alone costs 100 ``max_distance``; in practice
    that is the same number of pairs, and so the same precision and recall.

    A greedy pass pairs by increasing distance; what it leaves is mended by augmenting paths, all those of one breadth-
    first forest at a time. Maps further apart than ``max_distance`` do not touch each other's pairs, so several may be
    asked as one, laid one below the other with rows of False between: the same pairs, in less time.

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
    owner, partner, _ = match_pixels(predicted, truth, max_distance)
    matched_predicted, matched_truth = predicted.copy(), truth.copy()
    matched_predicted[predicted] = owner != FREE
    matched_truth[truth] = partner != FREE
    return matched_predicted, matched_truth


def match_pixels(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], max_distance: float
) -> tuple[Indices, Indices, NDArray[np.bool_]]:
    """The pairing of ``match_edges`` by numbers: pixels of each map are counted row by row, as ``map[map]`` lists them.

    Returns:
        For each predicted pixel the number of its true one, for each true pixel that of its predicted one, -1 where there
        is none; and whether any predicted pixel lies in reach of each true one.
    """
    _check(predicted, truth, max_distance)
    # 1. every pair in reach, and a maximal pairing, nearest first
    true, near, place = _pairs(np.flatnonzero(truth), predicted, max_distance)
    trues, predictions = int(np.count_nonzero(truth)), int(np.count_nonzero(predicted))
    partner, owner = _greedy(true, near, place, trues, predictions)
    # 2. a maximal pairing holds at least half the pairs of a maximum one: mend the rest
    _augment(true, near, partner, owner)
    in_reach = np.zeros(trues, np.bool_)
    in_reach[true] = True
    return owner, partner, in_reach


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


def _pairs(
    true_at: Indices, predicted: NDArray[np.bool_], max_distance: float
) -> tuple[Indices, Indices, NDArray[np.unsignedinteger]]:
    """All pairs (true, predicted) in reach, by the numbers of their pixels, ascending; and their offsets' places in `_disc`.

    Args:
        true_at: flat places of the true pixels.
        predicted: (H, W) bool; its pixels are numbered row by row, as those of the truth.
        max_distance: in pixels.
    """
    height, width = predicted.shape
    margin = int(max_distance)
    stride = width + margin  # one margin serves the right of a row and the left of the next
    padded = np.zeros((height + 2 * margin + 1, stride), np.bool_)
    rows = padded.ravel()[margin * stride + margin :][: height * stride].reshape(height, stride)
    rows[:, :width] = predicted
    number = np.zeros(padded.size, np.int32)
    number[np.flatnonzero(padded)] = np.arange(np.count_nonzero(predicted), dtype=np.int32)
    from_true = (true_at // width + margin) * stride + true_at % width + margin

    disc = _disc(max_distance)
    in_order = sorted(range(len(disc)), key=disc.__getitem__)
    shift = np.array([disc[place][0] * stride + disc[place][1] for place in in_order])
    place_of = np.array(in_order, np.min_scalar_type(len(disc)))
    true, near, place = [], [], []
    step = max(1, _AT_ONCE // len(disc))
    for first in range(0, true_at.size, step):
        around = (from_true[first : first + step, None] + shift).ravel()
        found = np.flatnonzero(padded.ravel().take(around))
        true.append(first + found // len(disc))
        near.append(number[around[found]])
        place.append(place_of[found % len(disc)])
    if not true:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), place_of[:0]
    return np.concatenate(true), np.concatenate(near).astype(np.intp), np.concatenate(place)


def _greedy(
    true: Indices, near: Indices, place: NDArray[np.unsignedinteger], trues: int, predictions: int
) -> tuple[Indices, Indices]:
    """The partner of each true pixel and the owner of each predicted pixel, paired nearest first.

    A pair that comes first for both of its pixels is taken, at whatever distance; then again among those that are left.
    That is the pairing of going through all pairs in order, in a few rounds. Pairs of one offset share no pixel.
    """
    partner, owner = np.full(trues, FREE), np.full(predictions, FREE)
    first_of_true, first_of_near = np.empty_like(partner), np.empty_like(owner)
    order = np.argsort(place, kind="stable")
    true, near = true[order], near[order]
    while true.size:
        turn = np.arange(true.size)
        first_of_true[true[::-1]] = turn[::-1]  # of equal places the last write counts: the first pair
        first_of_near[near[::-1]] = turn[::-1]
        both = (first_of_true[true] == turn) & (first_of_near[near] == turn)
        partner[true[both]], owner[near[both]] = near[both], true[both]
        left = (partner[true] == FREE) & (owner[near] == FREE)
        true, near = true[left], near[left]
    return partner, owner


def _augment(true: Indices, near: Indices, partner: Indices, owner: Indices) -> None:
    """Grow the pairing in place to maximum cardinality; the pairs (true, near) ascend.

    Each round grows one tree of alternating paths from every free true pixel, all trees level by level, no predicted
    pixel in two trees. Trees that end at a free predicted pixel are augmented together; they share no pixel. A true
    pixel from which no alternating path leads to a free predicted one will never have such a path again and takes part
    no more. When no free true pixel is left, by Berge's theorem the pairing is maximum.
    """
    if not ((partner == FREE).any() and (owner == FREE).any()):
        return
    shift = int(partner.size).bit_length()
    turned = np.sort(near << shift | true)  # the same pairs, ascending by their predicted pixel
    start, start_of = _starts(true, partner.size), _starts(turned >> shift, owner.size)
    true_of = turned & ((1 << shift) - 1)
    hopeful = np.diff(start) > 0
    while True:
        hopeful = _hopeful(hopeful, (start, near), (start_of, true_of), partner, owner)
        roots = np.flatnonzero(hopeful & (partner == FREE))
        if not roots.size:
            return
        parent, leaf = _grow_trees((start, near), owner, hopeful, roots)
        end = leaf[roots]
        end = end[end != FREE]
        while end.size:  # walk all paths back to their roots, one pair of each at a time
            at = parent[end]
            before = partner[at]
            partner[at], owner[end] = end, at
            end = before[before != FREE]


def _starts(ascending: Indices, count: int) -> Indices:
    """(count + 1,) where the entries of each number begin in an ascending list of numbers."""
    return np.concatenate([[0], np.cumsum(np.bincount(ascending, minlength=count))])


def _listed(lists: Lists, of: Indices) -> tuple[Indices, Indices]:
    """The lists of these numbers end to end, and how long each one is."""
    start, entries = lists
    begin = start[of]
    counts = start[of + 1] - begin
    ends = counts.cumsum()
    if not ends.size:
        return of, of
    return entries[np.repeat(begin - ends + counts, counts) + np.arange(ends[-1])], counts


def _hopeful(
    before: NDArray[np.bool_], near: Lists, true_of: Lists, partner: Indices, owner: Indices
) -> NDArray[np.bool_]:
    """Of these true pixels those from which an alternating path leads to a free predicted one; found from its end.

    Args:
        before: (T,) bool; those that are left out have no such path.
        near, true_of: the predicted pixels in reach of each true one, and the other way about.
    """
    members = np.flatnonzero(before)
    reached, counts = _listed(near, members)
    hopeful = np.zeros_like(before)
    hopeful[np.repeat(members, counts)[owner[reached] == FREE]] = True
    following, seen = partner[hopeful], np.empty_like(partner)
    while True:
        reached, _ = _listed(true_of, following[following != FREE])
        reached = reached[before[reached] & ~hopeful[reached]]
        if not reached.size:
            return hopeful
        hopeful[reached] = True
        turn = np.arange(reached.size)
        seen[reached] = turn
        following = partner[reached[seen[reached] == turn]]  # each of them once


def _grow_trees(near: Lists, owner: Indices, hopeful: NDArray[np.bool_], roots: Indices) -> tuple[Indices, Indices]:
    """The true pixel each predicted pixel was reached from, and the free predicted pixel each root's tree found."""
    trues = hopeful.size
    parent = np.full(owner.size, FREE)
    leaf = np.full(trues, FREE)
    root_of = np.full(trues, FREE)
    root_of[roots] = roots
    frontier = roots
    while frontier.size:
        reached, counts = _listed(near, frontier)
        source = np.repeat(frontier, counts)
        new = parent[reached] == FREE
        reached, source = reached[new], source[new]
        parent[reached] = source  # reached from two sides: the last write is the one that counts
        mine = parent[reached] == source
        reached, source = reached[mine], source[mine]
        free = owner[reached] == FREE
        leaf[root_of[source[free]]] = reached[free]
        following = owner[reached[~free]]
        root_of[following] = root_of[source[~free]]
        frontier = following[hopeful[following] & (leaf[root_of[following]] == FREE)]
    return parent, leaf
