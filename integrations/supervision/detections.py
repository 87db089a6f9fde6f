"""tracedge's instances as `supervision.Detections`: to annotate, filter, track, and write as a data set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.instances import Instances

OBJECT = "object"  # the one class: nothing was named


def to_detections(instances: Instances) -> sv.Detections:
    """Masks (K, H, W), boxes x, y, x, y in pixels (right and bottom exclusive), scores as confidence; class 0 each."""
    found = instances.seen()
    rows = found.boxes.astype(np.float32)
    return sv.Detections(
        xyxy=rows[:, [1, 0, 3, 2]].reshape(-1, 4),
        mask=np.array(found.masks),
        confidence=found.scores.astype(np.float32),
        class_id=np.zeros(len(found), int),
        data={"class_name": np.full(len(found), OBJECT)},
    )


def from_detections(detections: sv.Detections, image_hw: tuple[int, int]) -> Instances:
    """Back again, also what another tool found: to be refined by edges, or written in tracedge's formats.

    Raises:
        DataError: detections without masks, or of another size than the image's.
    """
    if len(detections) == 0:
        return Instances.empty(image_hw)
    if detections.mask is None:
        raise DataError("these detections are boxes without masks: tracedge works on masks.")
    masks = np.asarray(detections.mask, bool)
    if masks.shape[1:] != tuple(image_hw):
        raise DataError(f"the masks are {masks.shape[1:]}, the image {tuple(image_hw)} (rows, columns).")
    return Instances(masks, detections.confidence)


def annotated(image: NDArray[np.uint8], instances: Instances) -> NDArray[np.uint8]:
    """The image, uint8 (H, W, 3) in RGB, with masks and their scores drawn by supervision's own annotators."""
    found = to_detections(instances)
    picture = np.ascontiguousarray(image[..., ::-1])  # its colours are blue, green, red
    by_index = sv.ColorLookup.INDEX
    picture = sv.MaskAnnotator(color_lookup=by_index).annotate(picture, found)
    labels = [f"{score:.2f}" for score in instances.seen().scores]
    picture = sv.LabelAnnotator(color_lookup=by_index, text_scale=0.4, text_padding=3).annotate(picture, found, labels)
    return np.ascontiguousarray(picture[..., ::-1])


def to_dataset(photos: Iterable[str | Path], found: Iterable[Instances]) -> sv.DetectionDataset:
    """A data set of photos and their instances, with `as_coco`, `as_yolo`, `as_pascal_voc`, `split` and `merge`.

    Raises:
        DataError: another number of photos than of instances.
    """
    names, instances = [str(photo) for photo in photos], list(found)
    if len(names) != len(instances):
        raise DataError(f"there are {len(names)} photos and instances of {len(instances)}.")
    annotations = {name: to_detections(one) for name, one in zip(names, instances, strict=True)}
    return sv.DetectionDataset(classes=[OBJECT], images=names, annotations=annotations)
