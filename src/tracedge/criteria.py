"""How different two attention distributions are: KL, which the paper uses, and its rivals (paper, table 4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tracedge.settings import choose

EPSILON = 1e-12
"""Added inside every logarithm: attention rows can hold exact zeros."""

Criterion = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]


def kl(p: Tensor, q: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """sum_k p_k (log p_k - log q_k), in nats, of rows (..., N) that sum to 1: (...), >= 0 up to rounding."""
    return (p * ((p + EPSILON).log() - (q + EPSILON).log())).sum(-1)


def jsd(p: Tensor, q: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Jensen-Shannon divergence, (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2; in [0, log 2], symmetric."""
    middle = (p + q) / 2
    return (kl(p, middle, grid_hw) + kl(q, middle, grid_hw)) / 2


def l1(p: Tensor, q: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """sum_k |p_k - q_k|, in [0, 2]."""
    return (p - q).abs().sum(-1)


def l2(p: Tensor, q: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """sum_k (p_k - q_k)^2, in [0, 2]."""
    return (p - q).square().sum(-1)


def entropy(p: Tensor, q: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """|H(p) - H(q)|: how much the spread of attention changes, wherever it lies; in [0, log N]."""
    return ((p * (p + EPSILON).log()).sum(-1) - (q * (q + EPSILON).log()).sum(-1)).abs()


def wasserstein(p: Tensor, q: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Earth mover's distance of the marginals over the grid's rows and columns, in tokens, summed.

    The sum of two 1-D distances is a lower bound of the 2-D distance under the city-block metric, and costs N operations.
    """
    difference = (p - q).unflatten(-1, grid_hw)
    down = difference.sum(-1).cumsum(-1).abs().sum(-1)
    return down + difference.sum(-2).cumsum(-1).abs().sum(-1)


CRITERIA: dict[str, Criterion] = {
    "kl": kl,
    "jsd": jsd,
    "l1": l1,
    "l2": l2,
    "entropy": entropy,
    "wasserstein": wasserstein,
}


def criterion(name: str) -> Criterion:
    """The measure of that name.

    Raises:
        SettingsError: no such name.
    """
    return choose("criterion", name, CRITERIA)


def mean_over_rows(measure: Criterion, p: Tensor, q: Tensor, grid_hw: tuple[int, int], rows: int = 256) -> Tensor:
    """The measure of two maps (B, N, N), row by row, averaged over rows: (B,) float64, on the CPU. Rows are taken in chunks."""
    total = torch.zeros(p.shape[0], dtype=torch.float64)  # not every device has float64
    for start in range(0, p.shape[1], rows):
        chunk = slice(start, start + rows)
        total += measure(p[:, chunk], q[:, chunk], grid_hw).cpu().double().sum(-1)
    return total / p.shape[1]
