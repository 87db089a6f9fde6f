"""COCO's JSON of instances and of results, and the run-length encodings and polygons in them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np

from fuzz.contract import Reader
from fuzz.json_trees import damaged_json
from fuzz.mutations import damaged
from tracedge.errors import DataError
from tracedge.export.coco import coco_records, coco_result
from tracedge.export.coco_reader import read_coco, read_coco_images
from tracedge.export.rle import decode, encode, size_of
from tracedge.instances import Instances

MOST = 10_000
_IMAGES = {7: ("sub/a.jpg", (6, 8)), 9: ("b.png", None)}


def two() -> Instances:
    """Two that overlap, in pieces."""
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1:4, 2:5], masks[1, 3:, 4:], masks[1, 0, 0] = True, True, True
    return Instances(masks, [0.5, 0.9], {"px": 512})


def instances_files() -> list[bytes]:
    image, found = coco_records(two(), 7, "sub/a.jpg")
    other, crowd = coco_records(two(), 9, "b.png", 3)
    crowd[0] |= {"iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [3, 5, 40]}}
    crowd[1] |= {"segmentation": [[1, 1, 5, 1.5, 5, 4], [0, 0, 2, 2]]}
    content = {
        "info": {"settings": {"px": 512}},
        "images": [image, other],
        "annotations": found + crowd,
        "categories": [{"id": 1, "name": "object"}],
    }
    return [json.dumps(content).encode(), json.dumps(content | {"annotations": []}, indent=1).encode()]


def results_files() -> list[bytes]:
    found = [*coco_records(two(), 7, "a")[1], *coco_records(two(), 9, "b")[1]]
    return [json.dumps(list(map(coco_result, found))).encode()]


def segmentations() -> list[bytes]:
    made = encode(two().masks[1])
    polygons = [[0, 0, 5, 0.5, 5, 4], [2, 2, 9, 9, 2, 9, -1, 3]]
    return [json.dumps(each).encode() for each in (made, {"size": [6, 8], "counts": [3, 5, 40]}, polygons)]


def _instances(path: Path) -> None:
    assert len(read_coco_images(path, max_pixels=MOST)) >= 0
    file = read_coco(path, max_pixels=MOST)
    part = read_coco(path, only=list(file.images)[:1], max_pixels=MOST)
    assert set(part.images) <= set(file.images)
    for number, image in file.images.items():
        _check_name(image.file_name)
        found, classes, crowds = file.truth(number)
        assert found.shape == image.hw == crowds.shape[1:] and (classes is None or len(classes) == len(found))
        assert len(file.instances(number)) <= len(found)


def _results(path: Path) -> None:
    file = read_coco(path, _IMAGES, max_pixels=MOST)
    for number, image in file.images.items():
        found = file.instances(number, image.hw or (6, 8))
        assert found.areas.all() and found.shape == (6, 8)


def _segmentation(path: Path) -> None:
    """Alone it names no file; JSON that is damaged is no affair of the run-length encoding's."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    for image_hw in (None, (6, 8)):
        try:
            mask = decode(value, image_hw, max_pixels=MOST)
        except DataError as error:
            if image_hw is not None:
                raise
            assert str(error)
            continue
        assert mask.dtype == bool and 0 < mask.size <= MOST and (image_hw is None or mask.shape == image_hw)
        assert size_of(value) in (None, mask.shape)
        assert (decode(encode(mask)) == mask).all()


def _check_name(name: str) -> None:
    assert not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def _damaged(content: bytes, chance: Random) -> bytes:
    return damaged(content, chance) if chance.randrange(4) == 0 else damaged_json(content, chance)


READERS = [
    Reader("COCO instances", "instances.json", instances_files, _damaged, _instances),
    Reader("COCO results", "results.json", results_files, _damaged, _results),
    Reader("run-length encoding", "rle.json", segmentations, _damaged, _segmentation, named=False),
]
