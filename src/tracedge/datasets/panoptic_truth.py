"""Panoptic truth: each pixel's segment, each segment's category, and which pixels nobody labelled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.errors import DataError
from tracedge.images import MAX_PIXELS

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Category:
    """What a segment may be: a thing, of which there are several in a picture, or stuff."""

    id: int
    name: str
    isthing: bool


@dataclass(frozen=True)
class Segment:
    """One segment: its id in the map, its category, and whether it is a crowd: things nobody told apart."""

    id: int
    category_id: int
    isthing: bool
    iscrowd: bool = False


@dataclass(frozen=True, eq=False)
class PanopticTruth:
    """The segments of an image.

    Args:
        ids: int32 (H, W), the id of each pixel's segment; 0 is void.
        segments: one record for each id of the map but 0, in ascending order.
        categories: all categories of the data set, by id.

    Raises:
        DataError: an id without record, a record without pixel, or a category that is not among the data set's.
    """

    ids: Ids
    segments: tuple[Segment, ...]
    categories: Mapping[int, Category]

    def __post_init__(self) -> None:
        present, recorded = set(np.unique(self.ids).tolist()) - {0}, {segment.id for segment in self.segments}
        if len(recorded) != len(self.segments):
            raise DataError("two records of segments have one id.")
        if unrecorded := sorted(present - recorded):
            raise DataError(f"the map has the segment {unrecorded[0]}, of which there is no record.")
        if unseen := sorted(recorded - present):
            raise DataError(f"there is a record of the segment {unseen[0]}, which has no pixel in the map.")
        for segment in self.segments:
            if segment.category_id not in self.categories:
                raise DataError(f"segment {segment.id} is of the category {segment.category_id}, which is unknown.")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        height, width = self.ids.shape
        return height, width

    def mask_of(self, segments: Sequence[Segment]) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels of any of these segments."""
        return np.isin(self.ids, [segment.id for segment in segments])


def read_panoptic_ids(path: Path, *, max_pixels: int = MAX_PIXELS) -> Ids:
    """The ids of a COCO panoptic PNG, int32 (H, W): id = R + 256 G + 65536 B, 0 void.

    Raises:
        DataError: a file that cannot be read, is larger than max_pixels, or is no RGB PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height > max_pixels:
                raise DataError(f"{path} is of {picture.width} x {picture.height} pixels, more than {max_pixels}.")
            if picture.mode != "RGB":
                raise DataError(f"{path} is a PNG of mode {picture.mode}; expected RGB, id = R + 256 G + 65536 B.")
            red, green, blue = np.moveaxis(np.asarray(picture).astype(np.int32), -1, 0)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a PNG: {error}.") from error
    return red + 256 * green + 65536 * blue


def checked_categories(entries: Sequence[Any], where: Path) -> dict[int, Category]:
    """The categories of a COCO panoptic file, by id.

    Raises:
        DataError: a record without id, name and isthing, or two of one id.
    """
    found: dict[int, Category] = {}
    for entry in entries:
        valid = isinstance(entry, dict) and type(entry.get("id")) is int and entry.get("isthing") in (0, 1)
        if not valid or not isinstance(entry.get("name"), str) or entry["id"] in found:
            said = json.dumps(entry)
            raise DataError(f"{where}: a category has id, name and isthing (0 or 1), each id once; got {said:.120}.")
        found[entry["id"]] = Category(entry["id"], entry["name"], bool(entry["isthing"]))
    return found


def checked_segments(entries: object, categories: Mapping[int, Category]) -> tuple[Segment, ...]:
    """The `segments_info` of a COCO panoptic file as records, in ascending order of their ids.

    Raises:
        DataError: no list, or a record without id (from 1), category_id (a known one) and iscrowd (0, 1 or missing).
    """
    if not isinstance(entries, list):
        raise DataError(f"segments_info is a list, got {type(entries).__name__}.")
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or not _is_segment(entry, categories):
            said = json.dumps(entry)
            raise DataError(f"a segment has id (from 1), a known category_id and iscrowd (0 or 1); got {said:.120}.")
        isthing = categories[entry["category_id"]].isthing
        found.append(Segment(entry["id"], entry["category_id"], isthing, bool(entry.get("iscrowd", 0))))
    return tuple(sorted(found, key=lambda segment: segment.id))


def _is_segment(entry: Mapping[str, Any], categories: Mapping[int, Category]) -> bool:
    number, category = entry.get("id"), entry.get("category_id")
    whole = type(number) is int and number > 0 and type(category) is int
    return whole and category in categories and entry.get("iscrowd", 0) in (0, 1)
