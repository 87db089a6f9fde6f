"""How long edges take: the student, the teacher, and the plain teacher that the paper's ratio is counted against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tracedge.attention import BlockCall, add_upsampled, record_attention
from tracedge.backbones.protocol import Backbone
from tracedge.criteria import criterion, mean_over_rows
from tracedge.divergence import attention_boundary_divergence


@dataclass(frozen=True)
class Timing:
    """Milliseconds of `repeats` runs: median, fastest, slowest. peak_mib: of the accelerator's memory; None on a CPU."""

    milliseconds: float
    fastest: float
    slowest: float
    peak_mib: float | None


def timed(compute: Callable[[], object], device: torch.device, repeats: int = 5) -> Timing:
    """Time a computation after one run to warm up, the device's queue emptied before and after each run."""
    has_queue, counts_memory = device.type != "cpu", device.type == "cuda"  # torch counts the memory of CUDA's alone
    compute()
    if has_queue:
        torch.accelerator.synchronize(device)
    if counts_memory:
        torch.cuda.reset_peak_memory_stats(device)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        compute()
        if has_queue:
            torch.accelerator.synchronize(device)
        times.append(1000 * (time.perf_counter() - started))
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if counts_memory else None
    return Timing(statistics.median(times), min(times), max(times), peak)


class PerHeadMaps:
    """A reduction that keeps every head's map of every block, as straightforward code would: (B, A, N, N) each."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Tensor, tuple[int, int]]] = []

    def add(self, call: BlockCall) -> None:
        logits = call.query[..., call.image, :].float() @ call.key.float().transpose(-1, -2) * call.scale
        if call.bias is not None:
            logits = logits + call.bias
        self.blocks.append((torch.softmax(logits, dim=-1)[..., call.image], call.grid_hw))

    def result(self) -> tuple[Tensor, tuple[int, int]]:
        """The fused map (B, N, N), the same as `FusedAttention`'s."""
        grid_hw = max((grid for _, grid in self.blocks), key=lambda hw: hw[0] * hw[1])
        total: Tensor | None = None
        for maps, grid in self.blocks:
            mean = maps.mean(dim=1)
            mean = mean / mean.sum(dim=-1, keepdim=True)
            if grid != grid_hw:
                large = torch.zeros(len(mean), grid_hw[0] * grid_hw[1], grid_hw[0] * grid_hw[1], device=mean.device)
                add_upsampled(large, grid_hw, mean, grid)
                mean = large
            total = mean if total is None else total + mean
        assert total is not None
        return total / len(self.blocks), grid_hw


@torch.no_grad()
def plain_teacher(backbone: Backbone, latents: Tensor, noise: Tensor, stride: int = 100) -> Tensor:
    """Equations 1 and 2 as they are written: a forward a timestep, all per-head maps kept, argmax, ABDiv (1, h, w).

    It is what `EdgeTeacher` is measured against, and a second opinion on its result.
    """
    compare = criterion("kl")
    best, divergence, previous = -1.0, torch.zeros(1), None
    for timestep in backbone.process.timesteps(stride).tolist():
        at = torch.tensor([timestep])
        noisy = backbone.process.add_noise(latents, at, noise)
        with record_attention(backbone, (latents.shape[-2], latents.shape[-1]), PerHeadMaps()) as taken:
            backbone.denoise(noisy, at)
        attention, grid_hw = taken.result()
        if previous is not None:
            apart = float(mean_over_rows(compare, previous, attention, grid_hw))
            if apart > best:
                best, divergence = apart, attention_boundary_divergence(attention, grid_hw)
        previous = attention
    return divergence
