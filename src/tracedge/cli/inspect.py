"""`tracedge inspect`: one figure that shows how the edges of a photo came about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.images import MAX_PIXELS


def inspect(
    path: Annotated[Path, typer.Argument(help="A photo.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for <stem>.inspect.png.")],
    backbone: option.Backbone = "mini",
    rule: option.Rule = "first_peak",
    stride: option.Stride = 100,
    size: option.Size = None,
    zoom: option.Zoom = None,
    ensemble: option.Ensemble = 1,
    inversion: option.Inversion = False,
    seed: option.Seed = 0,
    columns: Annotated[int, typer.Option(min=2, max=12, help="Timesteps whose attention is shown.")] = 5,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """One figure: the photo, its edges, the KL curve with the chosen step, and attention as colours at several steps."""
    import numpy as np

    from tracedge.atomic import atomic_path
    from tracedge.images import load_image
    from tracedge.visualize import AttentionStep, attention_colours, inspect_figure

    image = load_image(path, max_pixels=max_pixels)
    output.mkdir(parents=True, exist_ok=True)  # before the work: a folder that cannot be made is said now
    predictor = option.PredictorOptions(
        backbone=backbone,
        rule=rule,
        stride=stride,
        size=size,
        zoom=zoom,
        ensemble=ensemble,
        inversion=inversion,
        seed=seed,
        device=device,
        dtype=dtype,
        local_files_only=local_files_only,
        early_stop=False,
    ).build()
    found = predictor(image)
    spread = np.linspace(0, len(found.timesteps) - 1, columns).round().astype(int)
    wanted = {found.timesteps[i] for i in spread} | {found.timestep}
    steps = [
        AttentionStep(timestep, attention_colours(attention, grid_hw, image.shape[:2]))
        for timestep, attention, grid_hw in predictor.curve_maps(image)
        if timestep in wanted
    ]
    target = output / f"{path.stem}.inspect.png"
    with atomic_path(target) as temporary:
        inspect_figure(image, found, steps).savefig(temporary, dpi=110, format="png")
    typer.echo(f"t* = {found.timestep:g} (margin {found.margin:.2f}): {target}")
