"""`tracedge bench`: how long the teacher takes, and how much memory its tensors hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracedge.cli import predictor_options as option


def bench(
    backbone: option.Backbone = "mini",
    size: option.Size = None,
    stride: option.Stride = 100,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs after one to warm up.")] = 3,
    device: option.Device = None,
    dtype: option.Dtype = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time the teacher on one drawn scene, and count the memory of its tensors in N x N maps."""
    import json
    import statistics
    import time

    from tracedge.atomic import atomic_path
    from tracedge.datasets.scenes import UNSEEN_SEED, draw_scene
    from tracedge.evaluation.memory import peak_tensor_bytes

    teacher = option.PredictorOptions(backbone, size=size, stride=stride, zoom=1, device=device, dtype=dtype).build()
    image = draw_scene(UNSEEN_SEED, 512).image
    attention, grid_hw = next((maps, grid) for _, maps, grid in teacher.curve_maps(image))
    peak = peak_tensor_bytes(lambda: teacher(image))
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = teacher(image)
        times.append(1000 * (time.perf_counter() - started))
    map_bytes = attention.numel() * 4
    figures = {
        "backbone": backbone,
        "grid": list(grid_hw),
        "timestep": found.timestep,
        "forwards": len(found.timesteps),
        "teacher_ms": round(statistics.median(times), 1),
        "teacher_ms_spread": [round(min(times), 1), round(max(times), 1)],
        "map_mib": round(map_bytes / 2**20, 2),
        "peak_mib": round(peak / 2**20, 2),
        "peak_in_maps": round(peak / map_bytes, 2),
    }
    for name, value in figures.items():
        typer.echo(f"{name:18} {value}")
    if json_file is not None:
        with atomic_path(json_file) as path:
            path.write_text(json.dumps(figures, indent=2) + "\n")
