"""`tracedge refine`: any tool's masks in, masks that end where the edges are out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.edge_source import EdgeOptions, Edges
from tracedge.cli.engine_options import EngineOptions
from tracedge.cli.instances_folder import Formats, Output, Overlapping
from tracedge.cli.proposal_options import ImageIds, Walk, masks_from
from tracedge.cli.segment_folder import segment_folder
from tracedge.images import MAX_PIXELS


def refine(
    masks: Annotated[
        Path,
        typer.Argument(help="Masks of any tool: COCO json, label PNGs, npz files, or folders of binary PNGs."),
    ],
    images: Annotated[Path, typer.Option(help="The photos that the masks are of: a folder, or one photo.")],
    output: Output,
    image_ids: ImageIds = None,
    edges: Edges = None,
    walk: Walk = "cells",
    formats: Formats = None,
    overlay: option.Overlay = False,
    overlapping: Overlapping = False,
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    size: option.Size = None,
    zoom: option.Zoom = None,
    batch_size: option.BatchSize = 1,
    force: option.Force = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Cut, grow and merge masks by instance edges (boundary-guided propagation). Writes what `tracedge segment` writes.

    A photo that the masks do not know is a failure of that photo. Exit codes: 0 all done, 1 some photos failed, 2 wrong use.
    """
    from tracedge.errors import SettingsError
    from tracedge.propagation import PropagationSettings
    from tracedge.segmentation import SegmentSettings

    if not masks.exists():
        raise SettingsError(f"{masks} does not exist: give a file or folder of masks")
    options = option.PredictorOptions(
        backbone=backbone, size=size, zoom=zoom, device=device, dtype=dtype, local_files_only=local_files_only
    )
    segment_folder(
        [str(images)],
        output,
        partial(masks_from, masks, image_ids, max_pixels),
        EdgeOptions(folder=edges, options=options, student=student, teacher=teacher),
        SegmentSettings(overlapping=overlapping, propagation=PropagationSettings(walk=walk)),
        engine=EngineOptions(),
        formats=(formats or []) + ["overlay"] * overlay,
        batch_size=batch_size,
        force=force,
        retry_failed=retry_failed,
        max_pixels=max_pixels,
    )
