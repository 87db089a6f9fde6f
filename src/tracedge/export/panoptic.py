"""Panoptic maps of many images in COCO's format: one JSON, and beside it a folder of PNGs whose colours are the ids.

`panoptic.json` stands beside `panoptic/`: the folder is named after the file. `panoptic_reader.py` is the way back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tracedge.atomic import atomic_path
from tracedge.categories import Category, by_id
from tracedge.errors import DataError
from tracedge.export.coco import checked_file_name
from tracedge.export.png import write_png8
from tracedge.panoptic_map import PanopticMap


def write_panoptic(
    path: str | os.PathLike[str],
    images: Iterable[tuple[int, str, PanopticMap]],
    categories: Sequence[Category],
    settings: Mapping[str, object] | None = None,
    *,
    pngs: bool = True,
) -> None:
    """Write panoptic maps; equal input gives equal bytes. Images are taken one at a time.

    Every file is whole or not there, and the JSON is written last. One that stands there is removed before the first PNG is
    replaced, so that no JSON ever tells of other PNGs; PNGs of other names stay.

    Args:
        path: the .json; the PNGs go to the folder beside it that is named after it, under the images' own names.
        images: (image id, file name relative to the folder of images, its map), in the order of the file.
        categories: all classes there are, those of the segments among them.
        settings: what the maps depend on, kept in `info`.
        pngs: False: they stand there already (`write_panoptic_png`), and the JSON alone is written.

    Raises:
        DataError: no .json, an image id or a file name that comes twice (without suffix), a name that is not relative, or a
            segment whose category is not known or is another kind.
    """
    path = Path(path)
    folder = png_folder(path)
    known, seen = by_id(categories), set[object]()
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    if pngs:
        path.unlink(missing_ok=True)
    for image_id, file_name, panoptic in images:
        image, annotation = panoptic_records(panoptic, image_id, file_name, known)
        for key in (image["id"], annotation["file_name"]):
            if key in seen:
                raise DataError(f"the image {key!r} comes twice, expected each id and each file name once.")
            seen.add(key)
        if pngs:
            write_panoptic_png(folder / annotation["file_name"], panoptic)
        records.append(image)
        annotations.append(annotation)
    named = [{"id": one.id, "name": one.name, "isthing": int(one.isthing)} for one in categories]
    info = {"description": "Panoptic maps of tracedge.", "settings": dict(settings or {})}
    content = {"annotations": annotations, "categories": named, "images": records, "info": info}
    with atomic_path(path) as temporary:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        temporary.write_text(text + "\n", encoding="ascii", newline="\n")


def write_panoptic_png(path: str | os.PathLike[str], panoptic: PanopticMap) -> None:
    """One map's PNG, whole or not at all: RGB, each id as a colour."""
    write_png8(path, panoptic.to_rgb())


def panoptic_records(
    panoptic: PanopticMap, image_id: int, file_name: str, categories: Mapping[int, Category]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One image's record and its annotation. Boxes are x, y, width, height; `score` is there where a segment has one.

    Raises:
        DataError: an id that is no whole number from 0, a file name that is not relative, or a category that is not known.
    """
    if not isinstance(image_id, int | np.integer) or isinstance(image_id, bool) or image_id < 0:
        raise DataError(f"the id of an image is a whole number from 0, got {image_id!r}.")
    segments = []
    for segment, (top, left, bottom, right) in zip(panoptic.segments, panoptic.boxes.tolist(), strict=True):
        category = categories.get(segment.category_id)
        if category is None or category.isthing != segment.isthing:
            kind = "thing" if segment.isthing else "stuff"
            raise DataError(
                f"the segment {segment.id} is {kind} of category {segment.category_id}; there is no such one."
            )
        entry = {
            "id": segment.id,
            "category_id": segment.category_id,
            "iscrowd": int(segment.iscrowd),
            "area": segment.area,
            "bbox": [left, top, right - left, bottom - top],
        }
        segments.append(entry | ({"score": segment.score} if segment.score is not None else {}))
    height, width = panoptic.shape
    name = checked_file_name(file_name)
    image = {"id": int(image_id), "file_name": name, "width": width, "height": height}
    png = str(PurePosixPath(name).with_suffix(".png"))
    return image, {"image_id": int(image_id), "file_name": png, "segments_info": segments}


def png_folder(path: Path) -> Path:
    """The folder of PNGs that belongs to a panoptic JSON: beside it, and named after it.

    Raises:
        DataError: a name that does not end in .json.
    """
    if path.suffix.lower() != ".json":
        raise DataError(f"panoptic maps are a .json and a folder of its name, got {path}.")
    return path.with_suffix("")
