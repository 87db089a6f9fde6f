"""`tracedge segment`: photos in, instances out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from tracedge.cli import engine_options as scale
from tracedge.cli import predictor_options as option
from tracedge.cli.edge_source import EdgeOptions, Edges
from tracedge.cli.instances_folder import Formats, Output, Overlapping
from tracedge.cli.proposal_options import Crf, Features, ImageIds, Walk, proposals_from
from tracedge.cli.sam_options import Sam, SamPrompts, sam_options
from tracedge.cli.segment_folder import segment_folder
from tracedge.images import MAX_PIXELS

Proposals = Annotated[
    str,
    typer.Option(
        help="Where masks come from: edges (regions that edges close), maskcut, promerge, diffseg, diffcut, sam:NAME (other "
        "methods; sam-base is a NAME), or a file or folder of any tool's masks."
    ),
]


def segment(
    paths: scale.Inputs,
    output: Output,
    edges: Edges = None,
    proposals: Proposals = "edges",
    features: Features = None,
    crf: Crf = True,
    image_ids: ImageIds = None,
    bgp: Annotated[bool, typer.Option(help="Cut, grow and merge a method's or file's masks by the edges.")] = True,
    walk: Walk = "cells",
    min_score: Annotated[
        float | None,
        typer.Option(help="With --proposals edges: leave out masks of a lower score, 0 to 1; default: 0.14."),
    ] = None,
    sam: Sam = None,
    sam_prompts: SamPrompts = None,
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
    engine: scale.Engine = "local",
    workers: scale.Workers = None,
    threads: scale.Threads = None,
    gpus_per_worker: scale.GpusPerWorker = None,
    ray_address: scale.RayAddress = None,
    image_column: scale.ImageColumn = None,
    name_column: scale.NameColumn = None,
) -> None:
    """Instances of photos: a label map each (uint16, the photo's exact size), and all of them in one COCO file.

    A rerun skips what is done. Exit codes: 0 all done, 1 some photos failed, 2 wrong use.
    """
    from tracedge.propagation import PropagationSettings
    from tracedge.rivals import ZERO_SHOT
    from tracedge.segmentation import SegmentSettings

    options = option.PredictorOptions(
        backbone=backbone, size=size, zoom=zoom, device=device, dtype=dtype, local_files_only=local_files_only
    )
    refiner = sam_options(sam, sam_prompts, options)
    source = partial(proposals_from, proposals, features, crf, options, image_ids=image_ids, max_pixels=max_pixels)
    settings = SegmentSettings(bgp=bgp, overlapping=overlapping, propagation=PropagationSettings(walk=walk))
    segment_folder(
        paths,
        output,
        source,
        EdgeOptions(folder=edges, options=options, student=student, teacher=teacher, shared=proposals in ZERO_SHOT),
        settings if min_score is None else replace(settings, min_score=min_score),
        refiner,
        engine=scale.EngineOptions(
            engine=engine,
            workers=workers,
            threads=threads,
            gpus_per_worker=gpus_per_worker,
            ray_address=ray_address,
            image_column=image_column,
            name_column=name_column,
        ),
        formats=(formats or []) + ["overlay"] * overlay,
        batch_size=batch_size,
        force=force,
        retry_failed=retry_failed,
        max_pixels=max_pixels,
    )
