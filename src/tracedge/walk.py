"""The random walk inside the edges: T^t x for all masks of an image at once, sparse, and without t steps.

T is row-stochastic and similar to a symmetric matrix, so its eigenvalues lie in [-1, 1], where x^t is a sum of Chebyshev
polynomials with binomial weights: x^t = sum_k w_k T_k(x). The weights beyond a few times sqrt(t) are next to nothing (Sachdeva
and Vishnoi, 2014), so some 80 products with T do what 256 would, with an error known beforehand.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, eye_array
from scipy.special import gammaln

Map = NDArray[np.float32]


def max_pooled(edges: Map, cell: int) -> Map:
    """(H, W) -> (ceil(H / cell), ceil(W / cell)): the strongest edge of each cell, so that thin edges do not leak."""
    return _blocks(edges, cell).max(axis=(1, 3))


def mean_pooled(masks: NDArray[np.bool_], cell: int) -> Map:
    """(K, H, W) -> (K, h, w): the share of each cell that a mask covers."""
    pixels = _blocks(np.ones(masks.shape[1:], np.float32), cell).sum(axis=(1, 3))
    return np.stack([_blocks(mask.astype(np.float32), cell).sum(axis=(1, 3)) / pixels for mask in masks])


def _blocks(array: Map, cell: int) -> Map:
    """(H, W) -> (h, cell, w, cell), padded by zeros."""
    height, width = array.shape
    padded = np.pad(array, ((0, -height % cell), (0, -width % cell)))
    return padded.reshape(padded.shape[0] // cell, cell, -1, cell)


def path_offsets(radius: float) -> list[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """Half of the steps (down, right) shorter than `radius`, each with the cells on its way, ends included.

    On the way are the cells of the step's bounding box less than one cell from the line (Ahn et al., 2019).
    """
    reach = int(np.ceil(radius))
    found = []
    for down in range(reach + 1):
        for right in range(-reach, reach + 1):
            if (down == 0 and right <= 0) or down**2 + right**2 >= radius**2:
                continue
            way = [
                (row, column)
                for row in range(down + 1)
                for column in range(min(right, 0), max(right, 0) + 1)
                if (row * right - column * down) ** 2 < down**2 + right**2
            ]
            found.append(((down, right), way))
    return found


def transition_matrix(edges: Map, radius: float = 5.0, beta: float = 10.0) -> tuple[torch.Tensor, torch.Tensor]:
    """T of an edge map (h, w), in the two parts in which it is used.

    a_ij = (1 - largest edge on the way from i to j)^beta where i and j are less than `radius` apart, 1 on the diagonal.

    Returns:
        A, sparse CSR float64 (N, N), symmetric, N = h w; and its row sums (N,). T = A / sums[:, None].
    """
    height, width = edges.shape
    strongest = torch.from_numpy(edges.astype(np.float64))
    number = torch.arange(height * width).reshape(height, width)
    ends, weights = [], []
    for (down, right), way in path_offsets(radius):
        tall, wide, left = height - down, width - abs(right), max(-right, 0)
        if tall <= 0 or wide <= 0:
            continue
        barrier = torch.zeros(tall, wide, dtype=torch.float64)
        for row, column in way:
            barrier = torch.maximum(barrier, strongest[row : row + tall, left + column : left + column + wide])
        start = number[:tall, left : left + wide]
        stop = number[down:, left + right : left + right + wide]
        ends.append(torch.stack((start.reshape(-1), stop.reshape(-1))))
        weights.append((1 - barrier).clamp(0, 1).pow(beta).reshape(-1))
    size = (height * width, height * width)
    starts_and_ends = torch.cat(ends, dim=1).numpy() if ends else np.zeros((2, 0), np.int64)
    half = coo_array((torch.cat(weights).numpy() if weights else np.zeros(0), tuple(starts_and_ends)), size).tocsr()
    half.eliminate_zeros()
    affinity = (half + half.T + eye_array(height * width, format="csr")).tocsr()
    sums = torch.from_numpy(affinity.sum(axis=1))
    starts, columns, values = (torch.from_numpy(part) for part in (affinity.indptr, affinity.indices, affinity.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse", UserWarning)  # torch calls its CSR tensors a beta
        return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False), sums


def power_weights(steps: int, tolerance: float) -> NDArray[np.float64]:
    """w_0..w_d with |x^steps - sum_k w_k T_k(x)| <= tolerance on [-1, 1], d as small as that allows.

    >>> len(power_weights(256, 1e-4)) - 1
    62
    """
    order = np.arange(steps + 1)
    same = (steps - order) % 2 == 0
    half = np.where(same, (steps - order) / 2, 0)
    logs = gammaln(steps + 1) - gammaln(half + 1) - gammaln(steps - half + 1) - steps * np.log(2)
    weights = np.where(same, np.exp(logs) * np.where(order == 0, 1, 2), 0)
    beyond = weights[::-1].cumsum()[::-1]  # the sum from k on bounds what is lost without them, since |T_k| <= 1
    kept = int(np.count_nonzero(beyond > tolerance))
    return weights[: max(kept, 1)]


def walk(
    edges: Map,
    masks: Map,
    *,
    radius: float = 5.0,
    beta: float = 10.0,
    steps: int = 256,
    tolerance: float = 1e-4,
    device: str | torch.device = "cpu",
) -> Map:
    """T^steps applied to each of K maps (K, h, w), T that of the edges (h, w); float32 (K, h, w).

    Each value becomes a mean over where a walk of `steps` from there ends, so the range of a map is kept, and inside a
    closed region a long walk flattens it. The error is at most `tolerance` in units of the map's largest value, in the mean
    that the walk weights by degree.
    """
    affinity, sums = transition_matrix(edges, radius, beta)
    affinity, sums = affinity.to(device), sums.to(device)[:, None]
    now = torch.from_numpy(np.ascontiguousarray(masks.reshape(len(masks), -1).T, np.float64)).to(device)  # (N, K)
    weights = power_weights(steps, tolerance)
    total, before = weights[0] * now, now
    for order, weight in enumerate(weights[1:], start=1):
        after = (affinity @ now) / sums
        if order > 1:
            after = 2 * after - before
        before, now = now, after
        if weight > 0:
            total += weight * now
    return total.T.reshape(masks.shape).float().cpu().numpy()
