"""How near a computation comes to the bound: its model's multiply-adds at the speed of a large matrix product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from tracedge.evaluation.timing import Timing, timed

_SIDE = {"cpu": 2048}  # of the product's matrices
_SIDE_ELSEWHERE = 8192


def forward_flops(compute: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attention in `compute`, two a multiply-add.

    Counted by `torch.utils.flop_counter`, and with it the attention kernel of the CPU, which that one leaves out.

    >>> forward_flops(lambda: torch.zeros(2, 3) @ torch.zeros(3, 5))
    60
    """
    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    counter = FlopCounterMode(display=False, custom_mapping=on_cpu)
    with torch.no_grad(), counter:
        compute()
    return int(counter.get_total_flops())


def time_matmul(device: torch.device, dtype: torch.dtype, repeats: int) -> tuple[Timing, float]:
    """A product of two large square matrices, and the GFLOP/s of its fastest run: the peak that is measured here."""
    side = _SIDE.get(device.type, _SIDE_ELSEWHERE)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    timing = timed(lambda: matrix @ matrix, device, repeats)
    return timing, 2 * side**3 / timing.fastest / 1e6


def bound_figures(flops: Mapping[str, int], timings: Mapping[str, Timing], gflops: float) -> dict[str, Any]:
    """For JSON: for each name the GFLOP, ``flops / (peak * time)`` of the median, and the same of slowest and fastest run.

    A share of 1 is the bound of computing. That of memory is not looked at; where it is the lower one, 1 is out of reach.

    Args:
        flops: of the model alone, by name; each that was timed must be there.
        timings: by name. gflops: the peak, in 10^9 operations a second.
    """
    figures: dict[str, Any] = {"matmul_gflops": round(gflops, 1)}
    for name, timing in timings.items():
        shares = [
            round(flops[name] / (gflops * 1e6 * milliseconds), 4)
            for milliseconds in (timing.milliseconds, timing.slowest, timing.fastest)
        ]
        figures[f"{name}_gflop"] = round(flops[name] / 1e9, 2)
        figures[f"{name}_share_of_bound"] = shares[0]
        figures[f"{name}_share_of_bound_spread"] = shares[1:]
    return figures


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))
