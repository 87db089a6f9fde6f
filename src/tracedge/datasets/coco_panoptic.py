"""COCO's panoptic files: a JSON of segments, and a folder with a PNG of ids for each image."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracedge.categories import Category
from tracedge.datasets.panoptic_truth import (
    PanopticTruth,
    checked_categories,
    checked_segments,
    read_panoptic_ids,
)
from tracedge.datasets.samples import EdgeTruth
from tracedge.errors import DataError
from tracedge.export.coco import checked_file_name
from tracedge.export.json_lists import lists_of, read_json_text
from tracedge.images import MAX_PIXELS
from tracedge.panoptic_map import VOID, PanopticMap, Segment


@dataclass(frozen=True)
class PanopticFile:
    """The panoptic truth of one image, not yet read: its PNG, its segments, and the categories of its data set."""

    png: Path
    segments: tuple[Segment, ...]
    categories: Mapping[int, Category]
    max_pixels: int = MAX_PIXELS

    def read(self) -> PanopticTruth:
        """The segments with their pixels.

        Raises:
            DataError: a PNG that cannot be read, or whose ids are not those of the JSON.
        """
        ids = read_panoptic_ids(self.png, max_pixels=self.max_pixels)
        try:
            return PanopticTruth(PanopticMap(ids, self.segments), self.categories)
        except DataError as error:
            raise DataError(f"{self.png}: {error}") from error


def read_panoptic(
    path: Path, folder: Path, only: Collection[int], *, max_pixels: int = MAX_PIXELS
) -> dict[int, PanopticFile]:
    """Image id -> its panoptic truth, for those of the images in `only` that the file has.

    Args:
        path: a COCO panoptic JSON: `annotations` [{image_id, file_name, segments_info}], `categories` [{id, name, isthing}].
        folder: where the PNGs are.
        only: ids of the images wanted; of the others nothing is kept.
        max_pixels: the largest H * W accepted of a PNG.

    Raises:
        DataError: no such file, or one that is not as it should be.
    """
    records, categories = _lists(path, only)
    known = checked_categories(categories, path)
    found: dict[int, PanopticFile] = {}
    for number, record in records.items():
        try:
            segments, name = (
                checked_segments(record.get("segments_info"), known),
                checked_file_name(record.get("file_name")),
            )
        except DataError as error:
            raise DataError(f"{path}, image {number}: {error}") from error
        found[number] = PanopticFile(folder / name, segments, known, max_pixels)
    return found


def categories_of(files: Iterable[PanopticFile]) -> tuple[Category, ...]:
    """The categories of the data set that these are of.

    Raises:
        DataError: they are of data sets with different ones.
    """
    found: Mapping[int, Category] | None = None
    for file in files:
        if file.categories is found:
            continue
        if found is not None and file.categories != found:
            raise DataError(f"{file.png} is of other categories than the images before it: give one data set.")
        found = file.categories
    return tuple((found or {}).values())


def edges_of_panoptic(truth: PanopticTruth, *, void_edges: bool = False, crowd_edges: bool = False) -> EdgeTruth:
    """The pixels between distinct segments, things and stuff (TRACE, section 4, the instance-edge benchmark).

    Args:
        truth: the segments.
        void_edges: whether the border of a segment with pixels nobody labelled is an edge; if not, nothing is known there.
        crowd_edges: the same of its border with a crowd.
    """
    ignore = truth.map.ids == VOID
    if void_edges:
        ignore[:] = False
    if not crowd_edges:
        ignore |= truth.crowds
    return EdgeTruth(truth.map.ids, ignore, None if void_edges else VOID)


def _lists(path: Path, only: Collection[int]) -> tuple[dict[int, dict[str, Any]], list[Any]]:
    """The annotations of these images, and the categories."""
    records: dict[int, dict[str, Any]] = {}
    categories: list[Any] | None = None
    seen = False
    try:
        for key, entries in lists_of(read_json_text(path)):
            if key == "categories":
                categories = list(entries)
            elif key == "annotations":
                seen = True
                for entry in entries:
                    number = entry.get("image_id") if isinstance(entry, dict) else None
                    if type(number) is not int:
                        raise DataError(f"{path}: an annotation has an image_id, a whole number; got {entry!r:.80}.")
                    if number in records:
                        raise DataError(
                            f"{path}: image {number} has two annotations; panoptic files have one an image."
                        )
                    if number in only:
                        records[number] = entry
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from error
    if not seen or categories is None:
        raise DataError(
            f"{path} is not a COCO panoptic file: expected an object with lists of annotations and categories."
        )
    return records, categories
