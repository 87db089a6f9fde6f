"""Instances and supervision's Detections are the same masks, boxes and scores, there and back."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from instance_masks import blobs
from integration_modules import load
from tracedge.errors import DataError
from tracedge.instances import Instances

sv = pytest.importorskip("supervision")
bridge = load("supervision/detections.py", "tracedge_detections")

HW = (61, 90)


@pytest.fixture
def found():
    masks = blobs(3).masks
    return Instances(masks, np.linspace(0.3, 0.9, len(masks)))


def test_masks_boxes_and_scores_are_equal(found):
    made = bridge.to_detections(found)
    assert isinstance(made, sv.Detections) and len(made) == len(found)
    assert np.array_equal(made.mask, found.masks)
    assert np.allclose(made.confidence, found.scores) and (made.class_id == 0).all()
    for (left, top, right, bottom), mask in zip(made.xyxy.astype(int), found.masks, strict=True):
        inside = np.zeros(mask.shape, bool)
        inside[top:bottom, left:right] = True
        assert mask[inside].sum() == mask.sum()
        assert mask[top].any() and mask[bottom - 1].any() and mask[:, left].any() and mask[:, right - 1].any()
    assert np.array_equal(made.area, found.areas)
    surer = made[made.confidence > 0.5]
    assert len(surer) == (found.scores > 0.5).sum()


def test_there_and_back_nothing_is_lost(found):
    again = bridge.from_detections(bridge.to_detections(found), found.shape)
    assert np.array_equal(again.masks, found.masks) and np.allclose(again.scores, found.scores)


def test_none_stays_none_and_is_still_of_its_size():
    made = bridge.to_detections(Instances.empty(HW))
    assert len(made) == 0 and made.xyxy.shape == (0, 4) and made.mask.shape == (0, *HW)
    assert len(sv.Detections.merge([made, bridge.to_detections(Instances.empty(HW))])) == 0
    again = bridge.from_detections(sv.Detections.empty(), HW)
    assert len(again) == 0 and again.shape == HW
    photo = np.full((*HW, 3), 90, np.uint8)
    assert np.array_equal(bridge.annotated(photo, Instances.empty(HW)), photo)


def test_boxes_without_masks_and_other_sizes_are_refused(found):
    boxes = sv.Detections(xyxy=np.array([[0, 0, 5, 5]], float))
    with pytest.raises(DataError, match="boxes without masks"):
        bridge.from_detections(boxes, HW)
    with pytest.raises(DataError, match="rows, columns"):
        bridge.from_detections(bridge.to_detections(found), (9, 9))


def test_the_annotated_picture_is_coloured_in_the_masks_and_nowhere_far_from_them(found):
    photo = np.full((*found.shape, 3), (10, 120, 200), np.uint8)
    drawn = bridge.annotated(photo, found)
    changed = (drawn != photo).any(axis=2)
    assert drawn.shape == photo.shape and changed[found.masks.any(axis=0)].mean() > 0.9
    assert (~changed).mean() > 0.3  # red and blue are in their places


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools under NumPy 2
def test_a_data_set_is_written_as_coco_and_read_by_cocos_own_tools(found, tmp_path):
    found = Instances(found.masks.repeat(4, axis=1).repeat(4, axis=2), found.scores)
    for name in ("a", "b"):
        Image.fromarray(np.full((*found.shape, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    dataset = bridge.to_dataset(photos, [found, Instances.empty(found.shape)])
    dataset.as_coco(annotations_path=str(tmp_path / "coco.json"))
    said = json.loads((tmp_path / "coco.json").read_text())
    assert [one["name"] for one in said["categories"]] == ["object"] and len(said["images"]) == 2
    coco = COCO(str(tmp_path / "coco.json"))
    read = np.stack([coco.annToMask(one) for one in coco.loadAnns(coco.getAnnIds())]).astype(bool)
    for mask in found.masks:
        assert max((mask & other).sum() / (mask | other).sum() for other in read) > 0.93  # its polygons lose a little
    with pytest.raises(DataError, match="there are 2 photos and instances of 1"):
        bridge.to_dataset(photos, [found])
