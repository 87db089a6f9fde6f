"""`tracedge detect relabel`: a round of self-training, from a detector and the masks that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.detect_predict import DetectorName, Visible
from tracedge.cli.instances_folder import InstanceFiles
from tracedge.cli.panoptic_folder import panoptic_folder
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

    from tracedge.instances import Instances
    from tracedge.panoptic_map import PanopticMap


class _Photo(NamedTuple):
    image: np.ndarray
    pseudo: Any  # Instances or PanopticMap


def relabel(
    pseudo: Annotated[Path, typer.Argument(help="What the detector was trained on.")],
    images: Annotated[list[str], typer.Option(help="The photos that they are of: folders or files; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the new masks, as PSEUDO has them.")],
    detector: DetectorName,
    min_score: Annotated[float, typer.Option(help="What the detector is as sure of as this becomes a label.")] = 0.7,
    visible: Visible = 0.8,
    alike: Annotated[
        float, typer.Option(help="Pseudo masks with a larger IoU with a new one give way to it (not panoptic ones).")
    ] = 0.5,
    overlay: option.Overlay = False,
    batch_size: option.BatchSize = 1,
    force: option.Force = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Masks to train on once more: what a detector is sure of, and the pseudo masks that it did not find.

    Then: tracedge detect train OUTPUT --images PHOTOS --start DETECTOR -o second. A rerun skips what is done. Exit codes: 0 all
    done, 1 some photos failed, 2 wrong use.
    """
    # 1. Check everything that can be checked before a model is loaded.
    from tracedge.detector.detector import Detector
    from tracedge.detector.files import read_card, refuse_other_classes
    from tracedge.detector.inference import DetectSettings
    from tracedge.detector.labels import find_labels
    from tracedge.detector.relabelling import relabelled, relabelled_panoptic
    from tracedge.errors import SettingsError
    from tracedge.images import load_image

    if not 0 <= alike <= 1:
        raise SettingsError(f"alike lies in [0, 1], got {alike:g}")
    settings = DetectSettings(min_score=min_score, visible=visible)
    labels = find_labels(pseudo, images, max_pixels=max_pixels)
    written = InstanceFiles(output, ["overlay"] * overlay, overlapping=True)
    jobs = {job.source: job for job in labels.photos}

    refuse_other_classes(read_card(detector, local_files_only=local_files_only), labels)

    # 2. The model; what the new masks depend on is what the run depends on.
    model = Detector.from_pretrained(detector, settings=settings, device=device, local_files_only=local_files_only)
    provenance = model.provenance | {"pseudo": labels.provenance, "alike": alike}

    # 3. Run, and say what became of it.
    def load(path: Path) -> _Photo:
        image = load_image(path, max_pixels=max_pixels)
        return _Photo(image, labels.read(jobs[path], (image.shape[0], image.shape[1])))

    def panoptic(photos: list[_Photo]) -> list[tuple[np.ndarray, PanopticMap]]:
        found = model.panoptic([photo.image for photo in photos])
        return [(photo.image, relabelled_panoptic(one, photo.pseudo)) for one, photo in zip(found, photos, strict=True)]

    def instances(photos: list[_Photo]) -> list[tuple[np.ndarray, Instances]]:
        found = model([photo.image for photo in photos])
        return [
            (photo.image, relabelled(one, photo.pseudo, alike=alike)) for one, photo in zip(found, photos, strict=True)
        ]

    if labels.panoptic:
        panoptic_folder(
            labels.photos,
            output,
            labels.categories,
            provenance,
            load,
            panoptic,
            overlay=overlay,
            batch_size=batch_size,
            force=force,
            retry_failed=retry_failed,
        )
    written.run(
        labels.photos, provenance, load, instances, batch_size=batch_size, force=force, retry_failed=retry_failed
    )
