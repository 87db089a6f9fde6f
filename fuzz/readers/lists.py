"""Lists of images: ids as text, COCO files as lists, and what VOC's folders name."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from fuzz.containers import damaged_text
from fuzz.contract import Reader
from fuzz.json_trees import damaged_json
from fuzz.readers.coco import instances_files
from tracedge.datasets.coco_file import open_coco_file
from tracedge.datasets.selection import Selection, read_ids
from tracedge.datasets.voc import open_voc

_PARTS = (("JPEGImages", "jpg"), ("SegmentationObject", "png"), ("SegmentationClass", "png"))


def _ids(path: Path) -> None:
    wanted = read_ids(path)
    assert wanted and len(set(wanted)) == len(wanted)
    assert all(one.number is None or one.number >= 0 for one in wanted)
    names = {"a": 1, "sub/b": 139, "c": 7}
    chosen = Selection(ids=path).choose(names, "letters", lambda one: one.number)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(names)


def _coco_images(path: Path) -> None:
    names = open_coco_file(path).names
    assert list(names) == sorted(names)


def _voc(folder: Path) -> None:
    for part, suffix in _PARTS:
        (folder / part).mkdir(exist_ok=True)
        Image.new("RGB" if suffix == "jpg" else "P", (8, 6)).save(folder / part / f"2007_1.{suffix}")


def _split(path: Path) -> None:
    found = open_voc(path.parents[2], "val")
    assert found.names == ("2007_1.jpg",)
    assert all(sample.truth.shape == (6, 8) for sample in found.instances())


READERS = [
    Reader("list of image ids", "ids.txt", lambda: [b"# mine\na\nsub/b.jpg\n\n000000000139\n7\n"], damaged_text, _ids),
    Reader("COCO file as a list", "ids.json", instances_files, damaged_json, _coco_images),
    Reader("VOC list of a split", "ImageSets/Segmentation/val.txt", lambda: [b"2007_1\n"], damaged_text, _split, _voc),
]
