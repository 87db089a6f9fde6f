"""What a training changes: weights, their running average, buffers and the optimiser's state; whole on disk, and put back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tracedge.atomic import atomic_path
from tracedge.checkpoints import read_checkpoint, under, write_checkpoint

CHECKPOINT = "checkpoint.safetensors"


class TrainingState:
    """Of one run; in `output`, `checkpoint.safetensors` and for people `config.json`.

    Args:
        output: the folder.
        weights: what is trained. buffered: the module whose buffers change too, or are to be the same.
        optimiser: of the weights.
        ema: decay of the running average; 0: it is the weights themselves.
        config: a dataclass of settings. described: all that the run depends on, as text: a checkpoint of another is refused.
    """

    def __init__(
        self,
        output: Path,
        weights: Sequence[nn.Parameter],
        buffered: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        ema: float,
        config: Any,
        described: str,
    ) -> None:
        self.output, self.weights, self.optimiser = output, weights, optimiser
        self.ema, self.config, self.described = ema, config, described
        self.average: list[Tensor] = [weight.detach().clone() for weight in weights] if ema else []
        self._buffers = dict(buffered.named_buffers())

    @torch.no_grad()
    def average_in(self, step: int) -> None:
        """The weights after a step join the average, which forgets faster at first."""
        for mean, weight in zip(self.average, self.weights, strict=bool(self.ema)):
            mean.lerp_(weight.detach(), 1 - min(self.ema, step / (step + 20)))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The running average in place of the weights, inside the context."""
        kept = [weight.detach().clone() for weight in self.weights] if self.ema else []
        self._put(self.average)
        try:
            yield
        finally:
            self._put(kept)

    def write(self, step: int) -> None:
        """Everything, as it is after a step."""
        tensors = {f"weight/{i}": weight.detach() for i, weight in enumerate(self.weights)}
        tensors |= {f"average/{i}": mean for i, mean in enumerate(self.average)}
        tensors |= {f"buffer/{name}": buffer for name, buffer in self._buffers.items()}
        write_checkpoint(self.output / CHECKPOINT, tensors, [self.optimiser], self.described, step)
        with atomic_path(self.output / "config.json") as path:
            path.write_text(json.dumps(asdict(self.config), indent=2, sort_keys=True) + "\n")

    @torch.no_grad()
    def resume(self) -> int:
        """Put back what was written; the step that it was written after, 0 where nothing was.

        Raises:
            CheckpointError: it is of a run with another config.
        """
        tensors, step = read_checkpoint(self.output / CHECKPOINT, [self.optimiser], self.described)
        if tensors:
            for i, weight in enumerate(self.weights):
                weight.copy_(tensors[f"weight/{i}"])
            for i, mean in enumerate(self.average):
                mean.copy_(tensors[f"average/{i}"])
            for name, value in under("buffer/", tensors).items():
                self._buffers[name].copy_(value)
        return step

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for weight, value in zip(self.weights, values, strict=bool(self.ema)):
            weight.copy_(value)
