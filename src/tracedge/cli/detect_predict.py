"""`tracedge detect predict`: photos in, a detector's instances or panoptic maps out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.instances_folder import Formats, InstanceFiles, Overlapping
from tracedge.cli.panoptic_folder import panoptic_folder
from tracedge.images import MAX_PIXELS

DetectorName = Annotated[
    str,
    typer.Option(
        help="A folder that `tracedge detect train` wrote, or a folder or hub id of a Mask2Former of COCO's classes."
    ),
]
MinScore = Annotated[float, typer.Option(help="Leave out what the detector is less sure of, 0 to 1.")]
Visible = Annotated[float, typer.Option(help="Drop masks of which a smaller share is left beside surer ones, 0 to 1.")]


def predict(
    paths: Annotated[list[str], typer.Argument(help="Photos, folders (walked through) or quoted globs.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for what `segment` writes, or with --panoptic `panoptic`.")
    ],
    detector: DetectorName,
    panoptic: Annotated[
        bool, typer.Option("--panoptic", help="Things and stuff, by a detector trained on panoptic maps.")
    ] = False,
    min_score: MinScore = 0.8,
    visible: Visible = 0.8,
    overlapping: Overlapping = False,
    formats: Formats = None,
    overlay: option.Overlay = False,
    batch_size: option.BatchSize = 1,
    force: option.Force = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Instances of photos by a detector, in the files that `tracedge segment` writes; or panoptic maps.

    To be scored by AP and AR: --overlapping --min-score 0. A rerun skips what is done. Exit codes: 0 all done, 1 some photos
    failed, 2 wrong use.
    """
    # 1. Check everything that can be checked before a model is loaded.
    from tracedge.detector.detector import Detector
    from tracedge.detector.inference import DetectSettings
    from tracedge.errors import SettingsError
    from tracedge.images import load_image
    from tracedge.runs import find_images

    settings = DetectSettings(min_score=min_score, visible=visible, overlapping=overlapping)
    if panoptic and (overlapping or formats):
        raise SettingsError(
            "panoptic maps do not overlap, and are PNGs and a JSON: leave --overlapping and --format out."
        )
    written = InstanceFiles(output, (formats or []) + ["overlay"] * overlay, overlapping)
    jobs = find_images(paths, output=output)

    # 2. The model; what its masks depend on is what the run depends on.
    model = Detector.from_pretrained(detector, settings=settings, device=device, local_files_only=local_files_only)
    if panoptic:
        model.refuse_without_stuff()
    provenance = model.provenance | {"panoptic": panoptic}

    # 3. Run, and say what became of it.
    def load(path: Path) -> object:
        return load_image(path, max_pixels=max_pixels)

    if panoptic:
        panoptic_folder(
            jobs,
            output,
            model.card.categories,
            provenance,
            load,
            lambda images: list(zip(images, model.panoptic(images), strict=True)),
            overlay=overlay,
            batch_size=batch_size,
            force=force,
            retry_failed=retry_failed,
        )
    written.run(
        jobs,
        provenance,
        load,
        lambda images: list(zip(images, model(images), strict=True)),
        batch_size=batch_size,
        force=force,
        retry_failed=retry_failed,
    )
