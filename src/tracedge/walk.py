"""The random walk inside the edges: T^t x for all masks of an image at once, sparse, and without t steps.

T is row-stochastic and similar to a symmetric matrix, so its eigenvalues lie in [-1, 1], where x^t is a sum of Chebyshev
polynomials with binomial weights: x^t = sum_k w_k T_k(x). The weights beyond a few times sqrt(t) are next to nothing (Sachdeva
and Vishnoi, 2014), so some 80 products with T do what 256 would, with an error known beforehand. A walk cannot leave a piece
of the image that edges of strength 1 close, so maps that lie in different pieces walk together.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln

Map = NDArray[np.float32]


def max_pooled(edges: Map, cell: int) -> Map:
    """(H, W) -> (ceil(H / cell), ceil(W / cell)): the strongest edge of each cell, so that thin edges do not leak."""
    pixels = torch.from_numpy(edges.astype(np.float32))[None]
    return F.max_pool2d(pixels, cell, ceil_mode=True)[0].numpy()


def mean_pooled(masks: NDArray[np.bool_], cell: int) -> Map:
    """(K, H, W) -> (K, h, w): the share of each cell that a mask covers."""
    # One by one: all together would not fit the caches.
    pixels = (torch.from_numpy(mask.astype(np.float32))[None] for mask in masks)
    pooled = [F.avg_pool2d(each, cell, ceil_mode=True, count_include_pad=False)[0] for each in pixels]
    return torch.stack(pooled).numpy()


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
    paths = path_offsets(radius)
    # One plane (h, w) for each step, in the order of A's columns: the steps back, to oneself, the steps forth.
    own = len(paths)
    planes = np.zeros((2 * own + 1, height, width))
    planes[own] = 1
    for number, ((down, right), way) in enumerate(paths, start=1):
        tall, wide, left = height - down, width - abs(right), max(-right, 0)
        if tall <= 0 or wide <= 0:
            continue
        barrier = np.zeros((tall, wide), edges.dtype)
        for row, column in way:
            np.maximum(barrier, edges[row : row + tall, left + column : left + column + wide], out=barrier)
        weight = np.clip(1 - barrier.astype(np.float64), 0, 1) ** beta
        planes[own + number, :tall, left : left + wide] = weight
        planes[own - number, down:, left + right : left + right + wide] = weight
    forth = [down * width + right for (down, right), _ in paths]
    steps = np.array([-step for step in reversed(forth)] + [0] + forth, np.int32)  # what each adds to a cell's number
    weights = np.ascontiguousarray(planes.reshape(len(steps), -1).T)  # (N, steps): rows in order, so nothing is sorted
    reached = weights > 0
    columns = (np.arange(height * width, dtype=np.int32)[:, None] + steps)[reached]
    starts = np.concatenate(([0], np.count_nonzero(reached, axis=1).cumsum())).astype(np.int32)
    affinity = csr(torch.from_numpy(starts), torch.from_numpy(columns), torch.from_numpy(weights[reached]))
    return affinity, torch.from_numpy(weights.sum(axis=1))


def csr(starts: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A square sparse matrix; with int32 indices its product is the fastest, others are converted each time."""
    size = (len(starts) - 1, len(starts) - 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse", UserWarning)  # torch calls its CSR tensors a beta
        return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)


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


def raised(transition: torch.Tensor, maps: torch.Tensor, steps: int, tolerance: float) -> torch.Tensor:
    """T^steps maps, T sparse (N, N), float64 maps (N, P), within `tolerance`: see `power_weights`. Maps are written over."""
    weights = power_weights(steps, tolerance)
    before, now = maps, transition @ maps
    total = weights[0] * before
    for order, weight in enumerate(weights[1:], start=1):
        if order > 1:  # T_k = 2 x T_k-1 - T_k-2, written over T_k-2: no new memory
            before, now = now, before.addmm_(transition, now, beta=-1, alpha=2)
        if weight > 0:
            total.add_(now, alpha=weight)
    return total


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
    starts, columns, values = affinity.crow_indices(), affinity.col_indices(), affinity.values()
    transition = csr(starts, columns, values / sums.repeat_interleave(starts.diff())).to(device)
    maps = masks.reshape(len(masks), edges.size)  # (K, N)
    graph = csr_array((values.numpy(), columns.numpy(), starts.numpy()), tuple(affinity.shape))
    pieces = connected_components(graph, directed=False)[1]  # (N,)
    rows, inside = shared_rows(maps, pieces)
    together = np.zeros((rows.max(initial=-1) + 1, maps.shape[1]))  # (P, N)
    for row, each in zip(rows, maps, strict=True):
        together[row] += each
    before = torch.from_numpy(np.ascontiguousarray(together.T)).to(device)  # (N, P)
    walked = raised(transition, before, steps, tolerance).T.float().cpu().numpy()  # (P, N)
    own = [walked[row] * each[pieces] for row, each in zip(rows, inside, strict=True)]
    return np.stack(own).reshape(masks.shape) if own else masks.astype(np.float32)


def shared_rows(maps: Map, pieces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A row for each of K maps (K, N), none of which shares a piece with another map of its row, and (K, C) which pieces it has.

    pieces: (N,) from 0 to C - 1.

    >>> shared_rows(np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]], np.float32), np.array([0, 1, 1]))[0]
    array([0, 0, 1])
    """
    inside = np.zeros((len(maps), int(pieces.max()) + 1), bool)
    rows = np.zeros(len(maps), np.int64)
    taken = np.zeros_like(inside)  # a row's pieces
    used = 0
    for number, each in enumerate(maps):
        inside[number, pieces[each != 0]] = True
        row = (taken[: used + 1] & inside[number]).any(axis=1).argmin()  # the first one free, or the next
        taken[row] |= inside[number]
        rows[number], used = row, max(used, row + 1)
    return rows, inside


def walk_device(device: torch.device) -> torch.device:
    """The device itself if it has sparse products in float64, as CUDA has, or else the CPU (Apple's has neither)."""
    return device if device.type == "cuda" else torch.device("cpu")
