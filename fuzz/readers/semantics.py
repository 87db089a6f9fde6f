"""What says of what class things are: tags, lists of names, mappings, records of classes."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from fuzz.contract import Reader
from fuzz.json_trees import damaged_json
from fuzz.mutations import damaged
from fuzz.readers.coco import instances_files
from tracedge.categories import COCO_PANOPTIC
from tracedge.datasets.labelled import open_labelled
from tracedge.semantics.classes import classes_of, read_categories, read_class_names, read_mapping
from tracedge.semantics.tags import read_tags

_IDS = {one.id for one in COCO_PANOPTIC}


def _tags_files() -> list[bytes]:
    coco = instances_files()[0].replace(b'"object"', b'"person"')
    panoptic = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "segments_info": [{"category_id": 3}]}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    return [b'{"a.jpg": ["cat", "dog"], "sub/b": ["background"], "c": []}', coco, json.dumps(panoptic).encode()]


def _xml_files() -> list[bytes]:
    text = "<annotation><object><name>cat</name></object><object><name> dog </name></object></annotation>"
    return [text.encode(), f'<?xml version="1.0" encoding="UTF-16"?>{text}'.encode("utf-16")]


def _damaged_xml(content: bytes, chance: Random) -> bytes:
    kind = chance.randrange(6)
    if kind == 0:
        return (
            b'<?xml version="1.0" encoding="'
            + chance.choice((b"latin-1", b"no such", b"utf-7", b"idna", b""))
            + b'"?>'
            + content
        )
    if kind == 1:
        bomb = '<!DOCTYPE a [<!ENTITY x "cat"><!ENTITY y "&x;&x;">]>' + content.decode("utf-8", "replace").replace(
            "cat", "&y;"
        )
        return bomb.encode(chance.choice(("utf-8", "utf-16", "utf-16-le", "cp1252")), "replace")
    if kind == 2 and len(content) < 10_000:
        return content.replace(b"<object>", b"<object>" * chance.choice((2, 100, 20_000)))
    return damaged(content, chance)


def _tags(path: Path) -> None:
    found = read_tags(str(path), COCO_PANOPTIC)
    assert all(set(ids) <= _IDS and list(ids) == sorted(set(ids)) for ids in found.of_image.values())
    assert len(found.provenance) == 16


def _tags_of_voc(path: Path) -> None:
    found = read_tags(str(path.parent), COCO_PANOPTIC)
    assert set(found.of("a")) <= _IDS


def _names(path: Path) -> None:
    names = read_class_names(path)
    assert names and all(type(value) is int and value >= 0 and isinstance(name, str) for value, name in names.items())
    assert all(0 <= one.id < 255 for one in read_categories(str(path)))


def _mapping(path: Path) -> None:
    found = classes_of({0: "cat", 1: "heaven"}, COCO_PANOPTIC, read_mapping(path), where=str(path))
    assert set(found.of_value.values()) <= _IDS | {-1}


def _photo_and_masks(folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(folder / "images" / "a.png")
    labels = np.zeros((6, 8), np.uint8)
    labels[1:3, 1:3], labels[4:, 4:] = 1, 2
    Image.fromarray(labels).save(folder / "masks" / "a.png")


def _records() -> list[bytes]:
    both = [{"label": 1, "category": "cat"}, {"label": 2, "category": 5}]
    return [json.dumps([{"file": "a.png", "instances": both}, {"file": "b.png", "instances": []}]).encode()]


def _classes(path: Path) -> None:
    for sample in open_labelled(path.parent).instances():
        assert sample.truth.classes is None or len(sample.truth.classes) == len(sample.truth.objects)


READERS = [
    Reader("classes of a labelled folder", "instances.json", _records, damaged_json, _classes, _photo_and_masks),
    Reader("tags.json", "tags.json", _tags_files, damaged_json, _tags),
    Reader("VOC tags XML", "a.xml", _xml_files, _damaged_xml, _tags_of_voc),
    Reader(
        "names of classes",
        "names.json",
        lambda: [b'["background", "cat", "sky"]', b'{"names": ["a"]}', b'{"0": "cat", "7": "dog"}'],
        damaged_json,
        _names,
    ),
    Reader(
        "mapping of classes",
        "mapping.json",
        lambda: [b'{"heaven": "sky-other-merged", "cat": 17}', b'{"heaven": null}'],
        damaged_json,
        _mapping,
    ),
]
