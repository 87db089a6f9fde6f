"""ABDiv for the student: a divergence of opposite neighbours that never makes the map.

Token i attends by the distribution p_i(j) ~ exp(s q_i . k_j). Between two queries that differ by d the KL divergence is,
to second order in d, half of d^T C d with C the covariance of the keys under that distribution (its Fisher information).
With one C for all tokens, the covariance of the keys over the image, the divergence of opposite neighbours costs N d^2
instead of N^2: 60 times less than equation 2 at 2,000 tokens, for each head, and with gradients to q and k.
"""

from __future__ import annotations

import torch
from torch import Tensor


def opposite_divergence(query: Tensor, key: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """1/2 (q_after - q_before)^T Cov(k) (q_after - q_before), down and right, for each head.

    Args:
        query: (B, A, N, d) times the softmax's scale; key: (B, A, N, d); N = h w image tokens.

    Returns:
        (B, 2 A, h, w) fp32, >= 0: all heads downwards, then all heads to the right. At the border the missing neighbour
        is the token itself, as in ABDiv.
    """
    with torch.autocast(query.device.type, enabled=False):
        key = key.float() - key.float().mean(dim=-2, keepdim=True)
        covariance = key.transpose(-1, -2) @ key / key.shape[-2]  # (B, A, d, d)
        grid = query.float().unflatten(-2, grid_hw)  # (B, A, h, w, d)
        down = _after(grid, -3) - _before(grid, -3)
        right = _after(grid, -2) - _before(grid, -2)
        apart = torch.cat([down, right], dim=1).flatten(2, 3)  # (B, 2 A, N, d)
        spread = apart @ covariance.repeat(1, 2, 1, 1)
        return ((spread * apart).sum(dim=-1) / 2).clamp_min(0).unflatten(-1, grid_hw)


def _after(grid: Tensor, dim: int) -> Tensor:
    return torch.cat([grid.narrow(dim, 1, grid.shape[dim] - 1), grid.narrow(dim, grid.shape[dim] - 1, 1)], dim)


def _before(grid: Tensor, dim: int) -> Tensor:
    return torch.cat([grid.narrow(dim, 0, 1), grid.narrow(dim, 0, grid.shape[dim] - 1)], dim)
