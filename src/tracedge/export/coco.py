"""Instances of many images as COCO JSON: a data set (`write_coco`) or predictions (`write_coco_results`). One category: object.

Width stands before height in these files, and in them alone; boxes are x, y, width, height. `coco_reader.py` is the way back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.export.geojson import enclosed_area, outlines
from tracedge.export.rle import encode
from tracedge.instances import Instances

CATEGORY = {"id": 1, "name": "object"}


def write_coco(
    path: str | os.PathLike[str],
    images: Iterable[tuple[int, str, Instances]],
    settings: Mapping[str, object] | None = None,
    *,
    polygons: bool = False,
) -> None:
    """Write an instances file, whole or not at all; equal input gives equal bytes. Images are taken one at a time.

    Args:
        path: where; a folder that is not there is made.
        images: (image id, file name relative to the folder of images, its instances), in the order of the file.
        settings: what the masks depend on, kept in `info`.
        polygons: masks as their outlines instead of run lengths, for tools that read no others; holes are lost.

    Raises:
        DataError: an image id or a file name that comes twice, or a name that is not relative.
    """
    records: list[dict[str, Any]] = []

    def annotations() -> Iterator[dict[str, Any]]:
        seen: set[object] = set()
        number = 1
        for image_id, file_name, instances in images:
            image, found = coco_records(instances, image_id, file_name, number, polygons=polygons)
            for key in (image["id"], image["file_name"]):
                if key in seen:
                    raise DataError(f"the image {key!r} comes twice, expected each id and each file name once.")
                seen.add(key)
            records.append(image)
            number += len(found)
            yield from found

    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as stream:
        stream.write('{"annotations":')
        _write_list(stream, annotations())  # "annotations" is first in the alphabet, so nothing is kept but the images
        stream.write(f',\n"categories":{_text([CATEGORY])},\n"images":')
        _write_list(stream, records)
        info = {"description": "Instances found by tracedge, without labels.", "settings": dict(settings or {})}
        stream.write(f',\n"info":{_text(info)}}}\n')


def write_coco_results(path: str | os.PathLike[str], images: Iterable[tuple[int, Instances]]) -> None:
    """Write a results file, as COCO's evaluation reads it, whole or not at all; equal input gives equal bytes.

    Args:
        path: where; a folder that is not there is made.
        images: (image id of the ground truth, the instances of that image), in the order of the file.

    Raises:
        DataError: an image id that comes twice, or one that is no whole number.
    """

    def results() -> Iterator[dict[str, Any]]:
        seen: set[int] = set()
        for image_id, instances in images:
            if image_id in seen:
                raise DataError(f"the image {image_id!r} comes twice, expected each id once.")
            seen.add(image_id)
            yield from map(coco_result, coco_records(instances, image_id, "image")[1])

    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as stream:
        _write_list(stream, results())
        stream.write("\n")


def coco_records(
    instances: Instances, image_id: int, file_name: str, first_annotation_id: int = 1, *, polygons: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One image's record and those of its K annotations, numbered from `first_annotation_id` on, in the instances' order.

    With `polygons` a segmentation is a list of outlines [x1, y1, x2, y2, ...], one for each piece that is connected by sides of
    pixels, along the corners of pixels; then `area` is what they enclose. Empty masks, which have none, are left out.

    Raises:
        DataError: an id that is no whole number from 0 (of annotations: from 1), or a file name that is not relative.

    >>> image, found = coco_records(Instances(np.array([[[False, True, True]]])), 7, "sub/a.jpg")
    >>> image
    {'id': 7, 'file_name': 'sub/a.jpg', 'width': 3, 'height': 1}
    >>> found[0]["bbox"], found[0]["area"], found[0]["segmentation"]
    ([1, 0, 2, 1], 2, {'size': [1, 3], 'counts': '12'})
    """
    _check_id(image_id, "an image", 0)
    _check_id(first_annotation_id, "an annotation", 1)  # evaluators read 0 as "matched to nothing"
    height, width = instances.shape
    image = {"id": int(image_id), "file_name": checked_file_name(file_name), "width": width, "height": height}
    drawn = instances.seen() if polygons else instances
    rows = zip(drawn.masks, drawn.scores, drawn.areas.tolist(), drawn.boxes.tolist(), strict=True)
    annotations = [
        {
            "id": number,
            "image_id": int(image_id),
            "category_id": CATEGORY["id"],
            **(_outlined(mask) if polygons else {"segmentation": encode(mask), "area": area}),
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
            "score": float(score),
        }
        for number, (mask, score, area, (top, left, bottom, right)) in enumerate(rows, start=int(first_annotation_id))
    ]
    return image, annotations


def _outlined(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask that is not empty as polygons, and the area that they enclose."""
    rings = [piece[0] for piece in outlines(mask)]  # the others are holes
    area = sum(abs(enclosed_area(ring)) for ring in rings)
    return {"segmentation": [[number for point in ring[:-1] for number in point] for ring in rings], "area": area}


def coco_result(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """Of an annotation, what a result holds. No box: given one, the evaluation takes a mask's area from the box."""
    return {name: annotation[name] for name in ("category_id", "image_id", "score", "segmentation")}


def checked_file_name(name: object) -> str:
    """A file name of an image as it may stand in such a file: relative, below its folder, with "/" between its parts.

    Raises:
        DataError: no text, an absolute name, one with a drive or "..", one that no file can have, or that names none.
    """
    if not isinstance(name, str):
        raise DataError(f"the file name of an image is text, got {type(name).__name__}.")
    posix = name.replace("\\", "/")
    parts = posix.split("/")
    if posix.startswith("/") or ":" in parts[0] or ".." in parts or "\0" in name or parts[-1] in ("", "."):
        raise DataError(f"the file name of an image is relative and without '..', got {name!r:.120}.")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise DataError(f"the file name of an image is Unicode, got {name!r:.120}.") from error
    return posix


def _check_id(number: object, what: str, least: int) -> None:
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < least:
        raise DataError(f"the id of {what} is a whole number from {least}, got {number!r}.")


def _write_list(stream: IO[str], records: Iterable[dict[str, Any]]) -> None:
    between = "[\n"
    for record in records:
        stream.write(between + _text(record))
        between = ",\n"
    stream.write("[]" if between == "[\n" else "\n]")


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
