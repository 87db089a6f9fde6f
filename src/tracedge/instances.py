"""Instances of one image: masks with scores, in a fixed order, checked when made."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from tracedge.errors import DataError
from tracedge.maps import canonical_json

Masks = NDArray[np.bool_]

MAX_LABELS = 65_535
"""More instances than this do not fit a uint16 label map."""

MAX_MASK_BYTES = 1 << 34
"""That the masks of one image may take, a byte a pixel: a small file can name any number of large ones."""


@dataclass(frozen=True, eq=False)
class Instances:
    """K instances of one image. They may overlap, and a mask may be of several pieces.

    Args:
        masks: bool (K, H, W), none of them empty unless `blanks`. Kept as a read-only array of its own.
        scores: K numbers in [0, 1], larger meaning surer; None: all 1. Kept as float64, in which no two of a file become equal;
            those of float32 as the shortest decimals that name them, 0.7 and not 0.699999988, which keeps their order.
        settings: what the masks depend on (model, parameters, ...), of JSON's types.
        blanks: whether masks without a pixel may be among them, for a score: there they are false alarms, or objects missed.

    Raises:
        DataError: a value outside of the above.

    >>> two = Instances(np.eye(2, 6, dtype=bool).reshape(2, 2, 3), [0.5, 0.9])
    >>> len(two), two.shape, two.areas.tolist(), two.boxes.tolist()
    (2, (2, 3), [1, 1], [[0, 0, 1, 1], [0, 1, 1, 2]])
    >>> two[two.scores > 0.6].to_labels()
    array([[0, 1, 0],
           [0, 0, 0]], dtype=uint16)
    """

    masks: Masks
    scores: NDArray[np.float64] = None  # type: ignore[assignment]  # never None once made
    settings: Mapping[str, object] = field(default_factory=dict)
    blanks: bool = False

    def __post_init__(self) -> None:
        masks = _checked_masks(self.masks, self.blanks)
        object.__setattr__(self, "masks", _read_only(masks))
        object.__setattr__(self, "scores", _read_only(_checked_scores(self.scores, len(masks))))
        object.__setattr__(self, "settings", MappingProxyType(json.loads(canonical_json(self.settings))))

    def __reduce__(self) -> tuple[object, ...]:
        return Instances, (self.masks, self.scores, dict(self.settings), self.blanks)  # a mapping proxy cannot be sent

    @classmethod
    def empty(cls, image_hw: tuple[int, int], settings: Mapping[str, object] | None = None) -> Instances:
        """No instance in an image of (H, W)."""
        return cls(np.zeros((0, *image_hw), bool), np.zeros(0), settings or {})

    @classmethod
    def from_labels(cls, labels: NDArray[np.integer[Any]], scores: ArrayLike | None = None) -> Instances:
        """One instance for each label but 0, in ascending order, from an integer map (H, W).

        Raises:
            DataError: no integer map, a negative label, or another number of scores than of labels.
        """
        if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "iu" or labels.size == 0:
            raise DataError(f"a label map is an integer array (H, W) with at least one pixel, got {_kind_of(labels)}.")
        if labels.dtype.kind == "i" and int(labels.min()) < 0:
            raise DataError(f"a label map has labels from 0, got {int(labels.min())}.")
        present = np.unique(labels)
        present = present[present > 0]
        refuse_too_many(len(present), labels.shape)
        return cls(labels[None] == present[:, None, None], scores)  # type: ignore[arg-type]

    @staticmethod
    def merge(parts: Sequence[Instances]) -> Instances:
        """All instances of several results of one image, one after the other; the settings are the first's.

        Raises:
            DataError: none given, or images of different sizes.
        """
        if not parts:
            raise DataError("nothing to merge: give at least one Instances (Instances.empty will do).")
        sizes = sorted({part.shape for part in parts})
        if len(sizes) > 1:
            raise DataError(f"instances of images of different sizes cannot be merged: {sizes}.")
        masks, scores = np.concatenate([part.masks for part in parts]), np.concatenate([part.scores for part in parts])
        return Instances(masks, scores, parts[0].settings, any(part.blanks for part in parts))

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: Any) -> Instances:
        """A part of them: one number, a slice, a list of numbers or a boolean array (K,)."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        return Instances(self.masks[rows], self.scores[rows], self.settings, self.blanks)

    def __iter__(self) -> Iterator[Instances]:
        return (self[number] for number in range(len(self)))

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W), the size of the image."""
        height, width = self.masks.shape[1:]
        return height, width

    @property
    def areas(self) -> NDArray[np.int64]:
        """(K,) pixels of each mask."""
        return self.masks.sum(axis=(1, 2))

    @property
    def boxes(self) -> NDArray[np.int64]:
        """(K, 4): first row, first column, last row + 1, last column + 1 of each mask; zeros where it has no pixel."""
        rows, columns = self.masks.any(axis=2), self.masks.any(axis=1)  # (K, H), (K, W)
        height, width = self.shape
        corners = (
            rows.argmax(axis=1),
            columns.argmax(axis=1),
            height - np.flip(rows, axis=1).argmax(axis=1),
            width - np.flip(columns, axis=1).argmax(axis=1),
        )
        return np.stack(corners, axis=1).astype(np.int64) * np.any(rows, axis=1)[:, None]

    @property
    def inner_points(self) -> NDArray[np.int64]:
        """(K, 2): row and column of the pixel of each mask that is farthest from its border; of several, the middle one."""
        points = np.zeros((len(self), 2), np.int64)
        for number in np.flatnonzero(self.areas):  # a mask without a pixel keeps (0, 0)
            points[number] = inner_point(self.masks[number])
        return points

    def seen(self) -> Instances:
        """Those that have a pixel: all of them, unless there may be `blanks`."""
        if not self.blanks:
            return self
        kept = self.areas > 0
        return Instances(self.masks[kept], self.scores[kept], self.settings)

    def sorted(self) -> Instances:
        """Highest score first; among equals the larger, then the earlier."""
        return self[np.lexsort((np.arange(len(self)), -self.areas, -self.scores))]

    def non_overlapping(self, min_area: int = 1) -> Instances:
        """Each pixel goes to the mask of the highest score that has it (among equals the smaller, then the earlier).

        What is left of a mask is dropped under `min_area` pixels. The order stays.
        """
        order = np.lexsort((np.arange(len(self)), self.areas, -self.scores))
        free, masks = np.ones(self.shape, bool), self.masks.copy()
        for number in order:
            masks[number] &= free
            free &= ~masks[number]
        kept = masks.sum(axis=(1, 2)) >= max(min_area, 1)
        return Instances(masks[kept], self.scores[kept], self.settings)

    def to_labels(self) -> NDArray[np.uint16]:
        """uint16 (H, W): 0 background, i + 1 where instance i is; where two overlap, the higher score is seen.

        Raises:
            DataError: more than 65,535 instances.
        """
        if len(self) > MAX_LABELS:
            raise DataError(f"{len(self)} instances do not fit a uint16 label map: {MAX_LABELS} do.")
        labels = np.zeros(self.shape, np.uint16)
        for number in np.lexsort((-np.arange(len(self)), -self.areas, self.scores)):  # the best is painted last
            labels[self.masks[number]] = number + 1
        return labels

    def to_sam(self) -> list[dict[str, Any]]:
        """As Segment Anything's mask generator returns them, largest first; `supervision.Detections.from_sam` reads it.

        Each is a dict of `segmentation` bool (H, W), `area`, `bbox` [x, y, width, height], `predicted_iou` and
        `stability_score` (both our score), `point_coords` [[x, y]] (its inner point) and `crop_box`.
        """
        if self.blanks:
            return self.seen().to_sam()
        height, width = self.shape
        boxes, points, scores = self.boxes.tolist(), self.inner_points.tolist(), self.scores.tolist()
        records = []
        for number in np.argsort(-self.areas, kind="stable").tolist():
            top, left, bottom, right = boxes[number]
            row, column = points[number]
            records.append(
                {
                    "segmentation": self.masks[number],
                    "area": int(self.masks[number].sum()),
                    "bbox": [left, top, right - left, bottom - top],
                    "predicted_iou": scores[number],
                    "stability_score": scores[number],
                    "point_coords": [[column, row]],
                    "crop_box": [0, 0, width, height],
                }
            )
        return records


def refuse_too_many(count: int, image_hw: tuple[int, ...]) -> None:
    """Say it before the memory is asked for.

    Raises:
        DataError: so many masks of an image (H, W) would take more than `MAX_MASK_BYTES`.
    """
    if count * math.prod(image_hw) > MAX_MASK_BYTES:
        size = " x ".join(map(str, image_hw))
        raise DataError(f"{count} masks of {size} (rows x columns) would take more than {MAX_MASK_BYTES >> 30} GiB.")


def inner_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the pixel of a mask (H, W) that is farthest from its border; of several, the middle one.

    >>> inner_point(np.ones((3, 5), bool))
    (1, 2)
    """
    from scipy.ndimage import distance_transform_edt

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    inside = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)  # the image ends where the mask does
    distance = distance_transform_edt(inside)
    farthest = np.argwhere(distance == distance.max())
    middle = np.square(farthest - farthest.mean(axis=0)).sum(axis=1).argmin()
    row, column = farthest[middle] + (rows[0] - 1, columns[0] - 1)
    return int(row), int(column)


def pairwise_intersections(first: Masks, second: Masks) -> NDArray[np.float32]:
    """(K, M) pixels that each of K masks (K, H, W) shares with each of M masks (M, H, W), exact up to 2^24 pixels.

    Raises:
        DataError: masks of different sizes.
    """
    if first.shape[1:] != second.shape[1:]:
        raise DataError(f"masks of one size are expected, got {first.shape[1:]} and {second.shape[1:]}.")
    return _rows(first).astype(np.float32) @ _rows(second).astype(np.float32).T


def pairwise_iou(first: Masks, second: Masks) -> NDArray[np.float32]:
    """(K, M) intersection over union of each of K masks with each of M masks; 0 where both are empty."""
    shared = pairwise_intersections(first, second)
    areas = [_rows(masks).sum(axis=1, dtype=np.float32) for masks in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1)


def resized_masks(masks: Masks, image_hw: tuple[int, ...]) -> Masks:
    """Masks (K, h, w) at another size: larger with smooth outlines (bilinear, then halved), smaller by nearest pixels.

    >>> resized_masks(np.eye(2, dtype=bool)[None], (2, 4))[0].astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 1, 1]])
    """
    height, width = image_hw
    if masks.shape[1:] == (height, width):
        return masks
    larger = height * width > math.prod(masks.shape[1:])
    resample = Image.Resampling.BILINEAR if larger else Image.Resampling.NEAREST
    resized = np.zeros((len(masks), height, width), bool)
    for number, mask in enumerate(masks):
        soft = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), resample)
        resized[number] = np.asarray(soft) >= 128
    return resized


def _rows(masks: Masks) -> Masks:
    return masks.reshape(len(masks), math.prod(masks.shape[1:]))  # -1 would not do where there is no mask


def _kind_of(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _checked_masks(masks: Masks, blanks: bool) -> Masks:
    if not isinstance(masks, np.ndarray) or masks.dtype != bool or masks.ndim != 3 or 0 in masks.shape[1:]:
        raise DataError(
            f"Instances need masks as a bool array (K, H, W) with at least one pixel each, got {_kind_of(masks)}."
        )
    if not blanks and (empty := np.flatnonzero(~masks.any(axis=(1, 2))).tolist()):
        raise DataError(f"Instances need masks that are not empty, got nothing in number {empty[0]} (of {len(masks)}).")
    return masks


def _checked_scores(scores: ArrayLike | None, count: int) -> NDArray[np.float64]:
    try:
        values = np.ones(count) if scores is None else np.asarray(scores, _kept_as(scores))
    except (TypeError, ValueError) as error:
        raise DataError(f"Instances need numbers as scores: {error}.") from error
    if values.shape != (count,):
        raise DataError(f"Instances need one score for each of {count} masks, got scores of shape {values.shape}.")
    if count and not (float(values.min()) >= 0 and float(values.max()) <= 1):  # a nan fails both
        raise DataError(f"Instances need finite scores in [0, 1], got {values.min():g}..{values.max():g}.")
    return values if values.dtype == np.float64 else np.array([float(str(one)) for one in values])


def _kept_as(scores: ArrayLike) -> type[np.floating[Any]]:
    """float32 where the scores are of it, or less: it is not widened before it is a decimal."""
    return np.float32 if np.asarray(scores).dtype in (np.float16, np.float32) else np.float64


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    own = array.copy()
    own.flags.writeable = False
    return own
