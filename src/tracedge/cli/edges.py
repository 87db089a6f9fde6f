"""`tracedge edges`: photos in, instance edges out."""

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

SOFT = ".edges.png"


def edges(
    paths: scale.Inputs,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for <stem>.edges.png and manifest.jsonl.")],
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    timestep: option.Timestep = None,
    rule: option.Rule = "first_peak",
    stride: option.Stride = 100,
    size: option.Size = None,
    zoom: option.Zoom = None,
    ensemble: option.Ensemble = 1,
    inversion: option.Inversion = False,
    blocks: option.Blocks = None,
    seed: option.Seed = 0,
    batch_size: option.BatchSize = 1,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Also write <stem>.edges.<kind>.png: nms (ridges alone), thin (lines a pixel wide), binary (black and white). "
            "May be repeated."
        ),
    ] = None,
    overlay: option.Overlay = False,
    npz: Annotated[
        bool, typer.Option("--npz", help="Also write <stem>.edges.npz: edges, timestep, its curve, settings.")
    ] = False,
    force: option.Force = False,
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
    """Instance edges of photos, as 16-bit grey PNGs of each photo's exact size.

    A rerun skips what is done. Exit codes: 0 all done, 1 some photos failed, 2 wrong use.
    """
    # 1. Check everything that can be checked before a model is loaded.
    from tracedge.edges import KINDS
    from tracedge.settings import choose

    kinds = dict.fromkeys(kind or [])
    for name in kinds:
        choose("kind of edges", name, KINDS)
    suffixes = [SOFT, *(f".edges.{name}.png" for name in kinds if name != "soft")]
    suffixes += [".overlay.png"] * overlay + [".edges.npz"] * npz
    by = scale.EngineOptions(
        engine=engine,
        workers=workers,
        threads=threads,
        gpus_per_worker=gpus_per_worker,
        ray_address=ray_address,
        image_column=image_column,
        name_column=name_column,
    )
    parts = by.parts(paths, output, batch_size)

    # 2. What is to be done.
    options = option.PredictorOptions(
        backbone=backbone,
        timestep=timestep,
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
        blocks=tuple(blocks) if blocks else None,
    )
    work = _EdgesWork(options, student, teacher, max_pixels)

    # 3. Run, and say what became of it.
    run_folder(work, parts, output, suffixes, by, batch_size=batch_size, force=force, retry_failed=retry_failed)


@dataclass(frozen=True)
class _EdgesWork:
    options: option.PredictorOptions
    student: str | None
    teacher: bool
    max_pixels: int

    def open(self) -> Steps:
        """Load the predictor; what its edges depend on is what the run depends on."""
        from tracedge.images import load_image
        from tracedge.work import Steps

        predictor = option.predictor(self.options, student=self.student, teacher=self.teacher)
        return Steps(
            lambda task: load_image(task.source, max_pixels=self.max_pixels),
            lambda images: [(image, found) for image, found in zip(images, predictor(images), strict=True)],
            _write,
            predictor.provenance,
        )


def _write(result: tuple[np.ndarray, EdgeMap], paths: Mapping[str, Path]) -> dict[str, object]:
    from tracedge.edges import as_kind
    from tracedge.export.npz import write_npz
    from tracedge.export.png import write_png8, write_png16
    from tracedge.visualize import overlay

    image, found = result
    for suffix, path in paths.items():
        if suffix == ".edges.npz":
            write_npz(path, found)
        elif suffix == ".overlay.png":
            write_png8(path, overlay(image, found.edges))
        else:
            kind = "soft" if suffix == SOFT else suffix.split(".")[2]
            write_png16(path, as_kind(found.edges, kind))
    return {"timestep": found.timestep, "margin": found.margin}
