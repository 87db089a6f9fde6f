"""What the student reads in one forward: how the opposite neighbours of each head part, and what a few blocks pass on.

The divergences say that attention changes; the values, which attention sends from token to token, say what lies on both
sides. Both have as many channels as the model has heads and widths, whatever the size of the picture.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tracedge.attention import BlockCall
from tracedge.student.divergences import opposite_divergence


def blocks_of_values(names: Sequence[str], count: int) -> tuple[str, ...]:
    """The blocks whose values are read, of all in forward order: the last, and others evenly spaced before it.

    >>> blocks_of_values(["a", "b", "c", "d", "e", "f"], 3)
    ('b', 'd', 'f')
    """
    count = min(count, len(names))
    return tuple(names[(place + 1) * len(names) // count - 1] for place in range(count))


class Reading:
    """A reduction for `record_attention`: what the decoder gets, on one grid."""

    def __init__(self, with_values: Collection[str]) -> None:
        self._with_values = with_values
        self._divergences: list[Tensor] = []
        self._values: list[Tensor] = []

    def add(self, call: BlockCall) -> None:
        # Where a block's activations are computed twice (gradient checkpointing), what is saved here is kept instead:
        # the second time nobody watches, and torch wants the same tensors saved.
        with torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is):
            query = call.query[..., call.image, :] * call.scale
            apart = opposite_divergence(query, call.key[..., call.image, :], call.grid_hw)
            self._divergences.append(torch.log(apart + 1e-3))  # they spread over decades; their logarithm does not
            if call.block in self._with_values:
                values = call.value[..., call.image, :].float().transpose(-1, -2)  # (B, A, d, N)
                self._values.append(values.flatten(1, 2).unflatten(-1, call.grid_hw))

    def result(self) -> Tensor:
        """(B, C, h, w): logarithms of all divergences, then the values; smaller grids brought to the largest. Ends the reduction.

        C = 2 x the heads of all blocks + the widths of the blocks whose values are read.
        """
        parts = self._divergences + self._values
        self._divergences, self._values = [], []
        grid_hw = max((part.shape[-2:] for part in parts), key=lambda hw: hw[0] * hw[1])
        return torch.cat(
            [
                part if part.shape[-2:] == grid_hw else F.interpolate(part, size=grid_hw, mode="bilinear")
                for part in parts
            ],
            dim=1,
        )


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor
