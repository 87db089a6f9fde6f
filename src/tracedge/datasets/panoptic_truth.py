"""Panoptic truth: each pixel's segment, each segment's category, and which pixels nobody labelled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category
from tracedge.errors import DataError
from tracedge.export.png import read_rgb
from tracedge.images import MAX_PIXELS
from tracedge.panoptic_map import PanopticMap, Segment, ids_from_rgb

Ids = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PanopticTruth:
    """The segments of an image, and the categories of its data set, by id.

    Raises:
        DataError: a segment of a category that is not among the data set's.
    """

    map: PanopticMap
    categories: Mapping[int, Category]

    def __post_init__(self) -> None:
        for segment in self.map.segments:
            if segment.category_id not in self.categories:
                raise DataError(f"segment {segment.id} is of the category {segment.category_id}, which is unknown.")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.map.shape

    @property
    def crowds(self) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels of things nobody told apart."""
        return np.isin(self.map.ids, [segment.id for segment in self.map.segments if segment.iscrowd])


def read_panoptic_ids(path: Path, *, max_pixels: int = MAX_PIXELS) -> Ids:
    """The ids of a COCO panoptic PNG, int32 (H, W): id = R + 256 G + 65536 B, 0 void.

    Raises:
        DataError: a file that cannot be read, is larger than max_pixels, or is no RGB PNG.
    """
    return ids_from_rgb(read_rgb(path, max_pixels=max_pixels))


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
        found.append(Segment(entry["id"], entry["category_id"], isthing, iscrowd=bool(entry.get("iscrowd", 0))))
    return tuple(sorted(found, key=lambda segment: segment.id))


def _is_segment(entry: Mapping[str, Any], categories: Mapping[int, Category]) -> bool:
    number, category = entry.get("id"), entry.get("category_id")
    whole = type(number) is int and number > 0 and type(category) is int
    return whole and category in categories and entry.get("iscrowd", 0) in (0, 1)
