"""The permutohedral lattice: a Gaussian filter over points with d features, linear in the points.

A sum over all pairs would cost N^2. Here each point gives its value to the d + 1 corners of the simplex around it, in the
lattice of integer vectors whose coordinates agree modulo d + 1 and sum to 0; the corners are blurred with [1 2 1] / 4 along
the lattice's d + 1 directions; each point reads its corners. (Adams, Baek, Davis, "Fast high-dimensional filtering using the
permutohedral lattice", Eurographics 2010, sections 3 and 4.)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tracedge.errors import SettingsError

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


class PermutohedralLattice:
    """out_i = sum_j exp(-|f_i - f_j|^2 / 2) v_j, approximately.

    Values spread only over corners that some point has, so points with few others around them receive too little, down to
    half; weighted means (the filter of v over the filter of 1) are nearer to the truth than sums.

    Args:
        features: (N, d) numbers, each already divided by the standard deviation along its axis; N and d at least 1.

    Raises:
        SettingsError: another shape, numbers that are not finite, or a range of features too wide to be counted (about
            2,000 standard deviations each for d = 5).

    >>> lattice = PermutohedralLattice(np.linspace(0, 20, 401)[:, None])  # 20 points in each standard deviation
    >>> round(float(lattice(np.ones((401, 1), np.float32))[200, 0]), 1)  # 20 sqrt(2 pi) = 50.1
    50.1
    """

    def __init__(self, features: NDArray[np.floating]) -> None:
        if features.ndim != 2 or 0 in features.shape or not np.isfinite(features).all():
            raise SettingsError(f"a lattice takes finite features (N, d), N and d at least 1, got {features.shape}.")
        points, dimensions = features.shape
        base, rank, weights = _simplices(embedded(features.astype(np.float64)))
        simplex, keys, offsets = _packed(base, rank)  # (N,), (S, d + 1), (d + 1,)
        corners, where = np.unique(keys, return_inverse=True)  # (M,) ascending, (S (d + 1),)
        where = where.reshape(keys.shape)[simplex]  # (N, d + 1)
        starts = np.arange(points + 1) * (dimensions + 1)
        shape = points, len(corners)
        self._slice = sparse.csr_array((weights.T.astype(np.float32).ravel(), where.ravel(), starts), shape=shape)
        self._splat = self._slice.T.tocsr()
        self._blurs = [_blur(corners, int(offset)) for offset in offsets]
        # The Gaussian's integral over the volume that a lattice point has to itself.
        self._scale = np.float32((4 * math.pi / 3) ** (dimensions / 2) * math.sqrt(dimensions + 1))

    def __call__(self, values: Floats) -> Floats:
        """Values (N, C), or (N,), filtered, each of the C channels alone: float32 of the same shape."""
        corners = self._splat @ values
        for blur in self._blurs:
            corners = blur @ corners
        filtered: Floats = (self._slice @ corners) * self._scale
        return filtered


def embedded(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, d) features in the lattice's hyperplane, (N, d + 1) coordinates that sum to 0.

    One standard deviation becomes (d + 1) sqrt(2 / 3): the blur's variance is (d + 1)^2 / 2 in each direction, giving and
    reading add (d + 1)^2 / 12 each.
    """
    dimensions = features.shape[1]
    basis = np.zeros((dimensions, dimensions + 1))
    for k in range(1, dimensions + 1):  # k ones and a -k: orthogonal to each other and to (1, ..., 1)
        basis[k - 1, :k] = 1
        basis[k - 1, k] = -k
        basis[k - 1] /= math.sqrt(k * (k + 1))
    return features @ basis * ((dimensions + 1) * math.sqrt(2 / 3))


def _simplices(position: NDArray[np.float64]) -> tuple[Integers, Integers, NDArray[np.float64]]:
    """The simplex around each point (N, d + 1): its corner of remainder 0 in units of d + 1, ranks, and barycentric weights.

    All (d + 1, N), so that a coordinate's numbers are side by side. rank: 0 where a coordinate exceeds that corner the most.
    weights: of the corners of remainder 0 to d.
    """
    count = position.shape[1]  # d + 1
    position = np.ascontiguousarray(position.T)
    base = np.rint(position / count).astype(np.int64)
    below = base * count - position
    before = np.zeros(position.shape, np.int8)
    for one in range(count):  # how many coordinates come before each; a sort of each point's few would take longer
        for other in range(one + 1, count):
            after = (below[other] < below[one]).view(np.int8)
            before[one] += after
            before[other] += 1 - after
    rank = before + base.sum(axis=0)  # rounded coordinates need not sum to 0: move those that were rounded most
    base += (rank < 0).astype(np.int64) - (rank >= count)
    rank %= count
    above = np.empty_like(position)
    np.put_along_axis(above, rank, position / count - base, axis=0)  # descending
    weights = np.empty_like(position)
    weights[0] = 1 - above[0] + above[-1]
    weights[1:] = (above[:-1] - above[1:])[::-1]
    return base, rank, weights


def _packed(base: Integers, rank: Integers) -> tuple[Integers, Integers, Integers]:
    """The simplex of each point (N,), each simplex's corners as one integer each (S, d + 1), and what one step in each of
    the d + 1 directions adds to such an integer.

    The first d coordinates are the digits (the last follows from them). There is room for a step beyond the ends, so that
    no step carries from one digit into the next. Many points share a simplex, which base and rank make out.
    """
    count = len(base)
    low = base.min(axis=1)[:-1] * count - 2 * count
    sizes = base.max(axis=1)[:-1] * count + 2 * count - low + 1
    if math.prod(int(size) for size in sizes) >= 2**62:
        raise SettingsError("the features span too many standard deviations for a lattice: take wider ones.")
    places = np.concatenate([[1], np.cumprod(sizes[:-1])])  # (d,)
    steps = np.append(places.sum() - count * places, places.sum())
    digits = base[:-1] * count - low[:, None]
    names = ((digits + rank[:-1]) * places[:, None]).sum(axis=0)  # (N,)
    _, first, simplex = np.unique(names, return_index=True, return_inverse=True)
    keys = np.empty((count, len(first)), np.int64)
    keys[0] = (digits[:, first] * places[:, None]).sum(axis=0)
    keys[1:] = steps[
        np.argsort(rank[:, first], axis=0)[:0:-1]
    ]  # from corner to corner, a step in each direction in turn
    return simplex, keys.cumsum(axis=0).T, steps


def _blur(corners: Integers, step: int) -> sparse.csr_array:
    """[1 2 1] / 4 along one direction as a matrix (M, M), where `corners + step` are the neighbours' numbers."""
    count = len(corners)
    target = corners + step
    place = np.minimum(np.searchsorted(corners, target), count - 1)
    rows = np.flatnonzero(corners[place] == target)
    quarter = np.full(len(rows), 0.25, np.float32)
    ahead = sparse.csr_array((quarter, (rows, place[rows])), shape=(count, count))
    return (sparse.eye_array(count, dtype=np.float32, format="csr") * np.float32(0.5) + ahead + ahead.T).tocsr()
