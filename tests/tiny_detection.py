"""A few photos of squares with their masks, and the smallest Mask2Former that learns them."""

from pathlib import Path

import numpy as np

from tracedge.categories import Category
from tracedge.detector.config import DetectorConfig
from tracedge.export.coco import write_coco
from tracedge.export.panoptic import write_panoptic
from tracedge.export.png import write_png8
from tracedge.instances import Instances
from tracedge.panoptic_map import PanopticMap, Segment

TINY = DetectorConfig(
    width=32,
    queries=8,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
    px=64,
    steps=4,
    batch=2,
    scale_low=0.9,
    scale_high=1.2,
    learning_rate=1e-3,
    backbone_rate=1.0,
    clip=1.0,
    ema=0.5,
    points=64,
)
KINDS = (Category(3, "box", True), Category(7, "ground", False))


def squares(folder: Path, count: int = 4, side: int = 64) -> list[Instances]:
    """Photos folder/images/<i>.png of two bright squares on a dark ground each; their instances."""
    found = []
    for number in range(count):
        rng = np.random.default_rng(number)
        masks = np.zeros((2, side, side), bool)
        for mask, left in zip(masks, (4, side // 2 + 2), strict=True):
            top = int(rng.integers(4, side // 2))
            mask[top : top + side // 3, left : left + side // 3] = True
        image = rng.integers(0, 40, (side, side, 3)).astype(np.uint8)
        image[masks.any(axis=0)] = (220, 200, 40)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        write_png8(folder / "images" / f"{number}.png", image)
        found.append(Instances(masks, np.array([0.9, 0.4])))
    return found


def labelled(folder: Path, count: int = 4) -> Path:
    """folder/images and folder/instances.json, as `tracedge segment` writes it."""
    write_coco(
        folder / "instances.json",
        ((number + 1, f"{number}.png", one) for number, one in enumerate(squares(folder, count))),
    )
    return folder


def panoptic_labelled(folder: Path, count: int = 4, categories: tuple[Category, ...] = KINDS) -> Path:
    """folder/images, folder/panoptic.json and folder/panoptic, as `tracedge panoptic` writes them."""
    maps = []
    for number, one in enumerate(squares(folder, count)):
        ids = np.full(one.shape, 3, np.int32)
        ids[one.masks[0]], ids[one.masks[1]] = 1, 2
        thing, stuff = (category.id for category in categories)
        segments = (Segment(1, thing, True), Segment(2, thing, True), Segment(3, stuff, False))
        maps.append((number + 1, f"{number}.png", PanopticMap(ids, segments)))
    write_panoptic(folder / "panoptic.json", maps, categories, {})
    return folder
