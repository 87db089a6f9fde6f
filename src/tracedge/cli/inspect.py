"""`tracedge inspect`: one figure a photo that shows how its edges came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.progress import PhotoBar, finish
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

    from tracedge.instances import Instances
    from tracedge.maps import EdgeMap
    from tracedge.teacher import EdgeTeacher
    from tracedge.visualize import AttentionStep

FIGURE = ".inspect.png"


class _Seen(NamedTuple):
    image: np.ndarray
    edges: EdgeMap
    instances: Instances
    steps: list[AttentionStep]


def inspect(
    paths: Annotated[list[str], typer.Argument(help="Photos, folders (walked through) or quoted globs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for <stem>.inspect.png and manifest.jsonl.")],
    backbone: option.Backbone = "mini",
    rule: option.Rule = "first_peak",
    stride: option.Stride = 100,
    size: option.Size = None,
    zoom: option.Zoom = None,
    ensemble: option.Ensemble = 1,
    inversion: option.Inversion = False,
    seed: option.Seed = 0,
    columns: Annotated[int, typer.Option(min=2, max=12, help="Timesteps whose attention is shown.")] = 5,
    force: option.Force = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """A figure a photo: edges, instances, the KL curve with the chosen step, attention as colours at several steps.

    The edges are the training-free teacher's. A rerun skips what is done. Exit codes: 0 all done, 1 some photos failed,
    2 wrong use.
    """
    from tracedge.images import load_image
    from tracedge.runs import FolderRun, find_images
    from tracedge.visualize import require_matplotlib

    # 1. Check everything that can be checked before a model is loaded.
    require_matplotlib()
    jobs = find_images(paths, output=output)

    # 2. The model; what its figures depend on is what the run depends on.
    teacher = option.PredictorOptions(
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

    # 3. Run, and say what became of it.
    settings = teacher.provenance | {"columns": columns}
    with (
        FolderRun(output, settings, (FIGURE,), force=force, retry_failed=retry_failed) as run,
        PhotoBar(len(jobs)) as bar,
    ):
        summary = run.process(
            jobs,
            partial(load_image, max_pixels=max_pixels),
            lambda images: [_look(teacher, image, columns) for image in images],
            _write,
            on_progress=bar.step,
        )
        chosen = [(line["timestep"], line["margin"]) for line in run.finished((FIGURE,))]
    if len(jobs) == len(chosen) == 1:
        typer.echo("t* = {:g} (margin {:.2f})".format(*chosen[0]))
    finish(summary, output)


def _look(teacher: EdgeTeacher, image: np.ndarray, columns: int) -> _Seen:
    """One photo's edges and instances, and its attention at `columns` timesteps, first to last, and at the chosen one.

    The edges are those of `teacher(image)`; the model sees each timestep once, and the chosen one once more.
    """
    import numpy as np

    from tracedge.emergence import EmergenceTracker
    from tracedge.segmentation import segment
    from tracedge.teacher import EdgeTeacher
    from tracedge.visualize import attention_steps
    from tracedge.visualize.attention import attention_parts

    # 1. The walk: the choice, and the colours of every step, since any may be chosen and maps are too large to be kept.
    settings = teacher.settings
    tracker, parts, grid = EmergenceTracker(settings.rule, settings.measure), {}, (1, 1)
    for timestep, attention, grid in teacher.curve_maps(image):
        tracker.update(timestep, attention[None], grid)
        parts[timestep] = attention_parts(attention)
    (point,), _, _ = tracker.finish()

    # 2. The edges at the chosen step.
    chosen = EdgeTeacher(teacher.backbone, settings=replace(settings, timestep=point.timestep))(image)
    found = replace(
        chosen,
        margin=point.margin,
        timesteps=point.timesteps,
        divergences=point.divergences,
        settings=teacher.provenance,
    )

    # 3. What of it is shown.
    spread = np.linspace(0, len(point.timesteps) - 1, columns).round().astype(int)
    shown = sorted({point.timesteps[i] for i in spread} | {point.timestep})
    steps = attention_steps({each: parts[each] for each in shown}, point.timestep, grid, found.shape)
    return _Seen(image, found, segment(found), steps)


def _write(seen: _Seen, paths: Mapping[str, Path]) -> dict[str, object]:
    from tracedge.visualize import inspect_figure
    from tracedge.visualize.inspection import DPI

    figure = inspect_figure(seen.image, seen.edges, seen.steps, seen.instances)
    figure.savefig(paths[FIGURE], dpi=DPI, format="png")
    return {"timestep": seen.edges.timestep, "margin": seen.edges.margin, "instances": len(seen.instances)}
