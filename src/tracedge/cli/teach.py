"""`tracedge teach`: photos in, pseudo labels of the teacher out, for `tracedge distill`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import engine_options as scale
from tracedge.cli import predictor_options as option
from tracedge.cli.folder_run import run_folder
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

    from tracedge.maps import EdgeMap
    from tracedge.work import Steps


OVERLAY = ".overlay.png"


def teach(
    images: scale.Inputs,
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
    overlay: option.Overlay = False,
    batch_size: option.BatchSize = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Replace labels of other settings in the output folder.")
    ] = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
    engine: scale.Engine = "local",
    workers: scale.Workers = None,
    threads: scale.Threads = None,
    gpus_per_worker: scale.GpusPerWorker = None,
    ray_address: scale.RayAddress = None,
    image_column: scale.ImageColumn = None,
    name_column: scale.NameColumn = None,
) -> None:
    """Pseudo labels: <stem>.image.png and <stem>.edges.png of every photo. A rerun skips what is done.

    The classes edge, interior and uncertain are cut from the soft edges by `tracedge distill`, so that another rule
    needs no second pass. Exit codes: 0 all done, 1 some photos failed, 2 wrong use.
    """
    from tracedge.student.pseudo_labels import EDGES, IMAGE

    by = scale.EngineOptions(
        engine=engine,
        workers=workers,
        threads=threads,
        gpus_per_worker=gpus_per_worker,
        ray_address=ray_address,
        image_column=image_column,
        name_column=name_column,
    )
    parts = by.parts(images, output, batch_size)
    options = option.PredictorOptions(
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
    )
    run_folder(
        _TeachWork(options, px, max_pixels),
        parts,
        output,
        (IMAGE, EDGES, *[OVERLAY] * overlay),
        by,
        batch_size=batch_size,
        force=force,
        retry_failed=retry_failed,
        done="taught",
    )


@dataclass(frozen=True)
class _TeachWork:
    options: option.PredictorOptions
    px: int | None
    max_pixels: int

    def open(self) -> Steps:
        """Load the teacher."""
        from tracedge.student.pseudo_labels import load_at
        from tracedge.work import Steps

        teacher = self.options.build()
        px = self.px or 2 * teacher.size
        return Steps(
            lambda task: load_at(task.source, px=px, max_pixels=self.max_pixels),
            lambda photos: [(photo, found) for photo, found in zip(photos, teacher(photos), strict=True)],
            _write,
            teacher.provenance | {"taught_px": px},
        )


def _write(result: tuple[np.ndarray, EdgeMap], paths: Mapping[str, Path]) -> dict[str, object]:
    from tracedge.export.png import write_png8, write_png16
    from tracedge.student.pseudo_labels import EDGES, IMAGE
    from tracedge.visualize import overlay

    image, found = result
    write_png8(paths[IMAGE], image)
    write_png16(paths[EDGES], found.edges)
    if OVERLAY in paths:
        write_png8(paths[OVERLAY], overlay(image, found.edges))
    return {"timestep": found.timestep, "margin": found.margin}
