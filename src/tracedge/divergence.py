"""Attention boundary divergence, ABDiv (paper, 3.3, equation 2): where the attention of opposite neighbours parts."""

from __future__ import annotations

import torch
from torch import Tensor

from tracedge.criteria import criterion
from tracedge.errors import SettingsError

_STRAIGHT = ((1, 0), (0, 1))
_DIAGONAL = ((1, 1), (1, -1))


def attention_boundary_divergence(
    attention: Tensor,
    grid_hw: tuple[int, int],
    *,
    neighbours: int = 4,
    measure: str = "kl",
    symmetric: bool = False,
    rows: int = 256,
) -> Tensor:
    """ABDiv_ij = KL(SA_{i+1,j} || SA_{i-1,j}) + KL(SA_{i,j+1} || SA_{i,j-1}).

    SA_{i,j} is the row of the query at (i, j): a distribution over all keys. Inside an object opposite neighbours attend
    alike and the sum is small; across a boundary they do not. At the border of the grid the missing neighbour is the
    token itself, so nothing is invented there.

    Args:
        attention: (B, N, N), rows sum to 1.
        grid_hw: (h, w) with h w = N.
        neighbours: 4 as in equation 2, or 8 to add both diagonals (same accuracy in the paper, twice the cost).
        measure: a name of `tracedge.criteria.CRITERIA`.
        symmetric: average both directions of the measure. Then flips commute with ABDiv; with KL as it stands only
            transposition does.
        rows: how many queries are compared at a time; bounds the memory to a few (B, rows, N).

    Returns:
        (B, h, w) float32, >= 0, in the measure's unit (nats for KL).

    Raises:
        SettingsError: neighbours other than 4 or 8, an unknown measure, or a grid that does not fit.

    >>> sides = torch.eye(2).repeat_interleave(2, 0).repeat_interleave(2, 1)[None] / 2  # two objects of two tokens
    >>> attention_boundary_divergence(sides, (1, 4), measure="l1")
    tensor([[[0., 2., 2., 0.]]])
    """
    if attention.ndim != 3 or attention.shape[1] != attention.shape[2] or attention.shape[1] != grid_hw[0] * grid_hw[1]:
        raise SettingsError(
            f"expected attention (B, N, N) with N = {grid_hw[0]} x {grid_hw[1]}, got {tuple(attention.shape)}"
        )
    if neighbours not in (4, 8):
        raise SettingsError(f"neighbours must be 4 or 8, got {neighbours}")
    compare = criterion(measure)
    height, width = grid_hw
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    result = torch.zeros(attention.shape[:2], dtype=torch.float32, device=attention.device)
    for down, right in _STRAIGHT + (_DIAGONAL if neighbours == 8 else ()):
        after = _token(row + down, column + right, grid_hw).to(attention.device)
        before = _token(row - down, column - right, grid_hw).to(attention.device)
        for start in range(0, height * width, rows):
            chunk = slice(start, start + rows)
            p, q = attention[:, after[chunk]].float(), attention[:, before[chunk]].float()
            apart = compare(p, q, grid_hw)
            if symmetric:
                apart = (apart + compare(q, p, grid_hw)) / 2
            result[:, chunk] += apart.clamp_min(0)
    return result.unflatten(1, grid_hw)


def _token(row: Tensor, column: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Sequence positions of grid places, those outside moved to the nearest inside."""
    return (row.clamp(0, grid_hw[0] - 1) * grid_hw[1] + column.clamp(0, grid_hw[1] - 1)).flatten()
