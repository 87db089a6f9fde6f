"""`tracedge teach`: photos in, pseudo labels of the teacher out, for `tracedge distill`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.progress import PhotoBar, finish
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

    from tracedge.maps import EdgeMap


def teach(
    images: Annotated[list[str], typer.Argument(help="Photos, folders (walked through) or quoted globs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pseudo labels.")],
    backbone: option.Backbone = "mini",
    px: Annotated[
        int | None,
        typer.Option(min=16, help="Long side that every photo is brought to first; default: twice the model's size."),
    ] = None,
    snap: Annotated[
        bool, typer.Option(help="Edges on the photo's own contours; --no-snap keeps the smooth map, as the paper does.")
    ] = True,
    timestep: option.Timestep = None,
    rule: option.Rule = "first_peak",
    stride: option.Stride = 100,
    size: option.Size = None,
    zoom: option.Zoom = None,
    ensemble: option.Ensemble = 1,
    seed: option.Seed = 0,
    batch_size: option.BatchSize = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Replace labels of other settings in the output folder.")
    ] = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Pseudo labels: <stem>.image.png and <stem>.edges.png of every photo. A rerun skips what is done.

    The classes edge, interior and uncertain are cut from the soft edges by `tracedge distill`, so that another rule
    needs no second pass. Exit codes: 0 all done, 1 some photos failed, 2 wrong use.
    """
    from tracedge.runs import FolderRun, find_images
    from tracedge.student.pseudo_labels import EDGES, IMAGE, load_at

    jobs = find_images(images, output=output)
    teacher = option.PredictorOptions(
        backbone=backbone,
        timestep=timestep,
        rule=rule,
        stride=stride,
        size=size,
        zoom=zoom,
        ensemble=ensemble,
        seed=seed,
        device=device,
        dtype=dtype,
        local_files_only=local_files_only,
        snap=snap,
    ).build()
    px = px or 2 * teacher.size
    settings = teacher.provenance | {"taught_px": px}
    with (
        FolderRun(output, settings, (IMAGE, EDGES), force=force, retry_failed=retry_failed) as run,
        PhotoBar(len(jobs)) as bar,
    ):
        summary = run.process(
            jobs,
            partial(load_at, px=px, max_pixels=max_pixels),
            lambda photos: [(photo, found) for photo, found in zip(photos, teacher(photos), strict=True)],
            _write,
            batch_size=batch_size,
            on_progress=bar.step,
        )
    finish(summary, output, done="taught")


def _write(result: tuple[np.ndarray, EdgeMap], paths: Mapping[str, Path]) -> dict[str, object]:
    from tracedge.export.png import write_png8, write_png16
    from tracedge.student.pseudo_labels import EDGES, IMAGE

    image, found = result
    write_png8(paths[IMAGE], image)
    write_png16(paths[EDGES], found.edges)
    return {"timestep": found.timestep, "margin": found.margin}
