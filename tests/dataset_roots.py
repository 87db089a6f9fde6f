"""Tiny data sets in the folders that the official archives unpack to."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from tracedge.export.rle import encode

HW = (6, 8)
THING, STUFF = {"id": 1, "name": "person", "isthing": 1}, {"id": 200, "name": "rug-merged", "isthing": 0}


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def save_photo(path: Path, hw: tuple[int, int] = HW) -> None:
    save(path, np.full((*hw, 3), 90, np.uint8))


def save_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def save_palette(path: Path, indices: np.ndarray) -> None:
    """Colours that say nothing: 0 and 255 are both black, all others white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(indices.astype(np.uint8))
    picture.putpalette([0, 0, 0] + [255, 255, 255] * 254 + [0, 0, 0])
    picture.save(path)


def segments() -> np.ndarray:
    """(6, 8): void in the first column, then 2 | 70000 side by side; the last column is 5, a crowd."""
    ids = np.zeros(HW, np.int32)
    ids[:, 1:4], ids[:, 4:7], ids[:, 7] = 2, 70_000, 5
    return ids


def image(number: int, name: str) -> dict:
    return {"id": number, "file_name": name, "height": HW[0], "width": HW[1]}


def add_panoptic(root: Path, split: str, numbers: list[int], pngs: str = "annotations") -> None:
    for number in numbers:
        ids = segments()
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        save(root / pngs / f"panoptic_{split}" / f"{number:012d}.png", colours)
    infos = [
        {"id": 2, "category_id": 1, "iscrowd": 0},
        {"id": 70_000, "category_id": 200, "iscrowd": 0},
        {"id": 5, "category_id": 1, "iscrowd": 1},
    ]
    annotations = [{"image_id": n, "file_name": f"{n:012d}.png", "segments_info": infos} for n in numbers]
    images = [image(number, f"{number:012d}.jpg") for number in numbers]
    content = {"images": images, "annotations": annotations, "categories": [THING, STUFF]}
    save_json(root / "annotations" / f"panoptic_{split}.json", content)


def add_split(root: Path, split: str, numbers: list[int], photos: str = "") -> None:
    """Photos, and two objects and a crowd on each."""
    prefix = f"COCO_{split}_" if split.endswith("2014") else ""
    names = {number: f"{prefix}{number:012d}.jpg" for number in numbers}
    annotations = []
    for number, name in names.items():
        save_photo(root / photos / split / name)
        for category, label in ((18, 2), (3, 70_000), (1, 5)):
            mask = {"segmentation": encode(segments() == label), "iscrowd": int(label == 5)}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": category, **mask})
    images = [image(number, name) for number, name in names.items()]
    content = {"images": images, "annotations": annotations, "categories": []}
    save_json(root / "annotations" / f"instances_{split}.json", content)


def coco_2017(root: Path, numbers: list[int], photos: str = "", pngs: str = "annotations") -> Path:
    add_split(root, "val2017", numbers, photos)
    add_panoptic(root, "val2017", numbers, pngs)
    return root


def coco_2014(root: Path) -> Path:
    """val2014 is 9, 42 and 139; of these val2017 has 139, and train2017 the others."""
    add_split(root, "val2014", [9, 42, 139])
    add_panoptic(root, "val2017", [139])
    add_panoptic(root, "train2017", [9, 42, 7])
    return root


def coco_in_folders(root: Path) -> Path:
    """val2017 is a/1.jpg, b/1.jpg, c/1.jpg and d/1.jpg."""
    add_split(root, "val2017", [1, 2, 3, 4])
    add_panoptic(root, "val2017", [1, 2, 3, 4])
    images = [image(number, f"{folder}/1.jpg") for number, folder in enumerate("abcd", start=1)]
    for kind in ("instances", "panoptic"):
        path = root / "annotations" / f"{kind}_val2017.json"
        save_json(path, json.loads(path.read_text()) | {"images": images})
    for record in images:
        save_photo(root / "val2017" / record["file_name"])
    return root


def voc_objects() -> np.ndarray:
    """(30, 40): object 1 with a belt of five pixels around it, object 3 at the frame, and a large void corner."""
    objects = np.zeros((30, 40), np.uint8)
    objects[5:20, 5:20], objects[10:15, 10:15] = 255, 1
    objects[25:, :10] = 3
    objects[:, 25:] = 255
    return objects


def voc(root: Path, stems: tuple[str, ...] = ("2007_000033", "2008_000002")) -> Path:
    base = root / "VOCdevkit" / "VOC2012"
    objects = voc_objects()
    classes = np.where(objects == 255, 255, np.where(objects == 1, 15, np.where(objects == 3, 9, 0)))
    for stem in stems:
        save_photo(base / "JPEGImages" / f"{stem}.jpg", objects.shape)
        save_palette(base / "SegmentationObject" / f"{stem}.png", objects)
        save_palette(base / "SegmentationClass" / f"{stem}.png", classes)
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(reversed(stems)) + "\n")
    (lists / "train.txt").write_text(stems[0] + "\n")
    return root


def drawn(annotator: int) -> np.ndarray:
    plane = np.zeros(HW, np.uint8)
    plane[:, 2 + annotator] = 1
    return plane


def save_boundaries(path: Path, planes: list[object]) -> None:
    cells = np.empty((1, len(planes)), object)
    for number, plane in enumerate(planes):
        cells[0, number] = {"Segmentation": np.ones(HW, np.uint16), "Boundaries": plane}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells}, do_compression=True)


def bsds(root: Path, stems: tuple[str, ...] = ("100039", "2018")) -> Path:
    for stem in stems:
        save_photo(root / "BSR/BSDS500/data/images/test" / f"{stem}.jpg")
        save_boundaries(root / "BSR/BSDS500/data/groundTruth/test" / f"{stem}.mat", [drawn(0), drawn(1), drawn(3)])
    return root
