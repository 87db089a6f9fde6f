"""YOLO's labels and data.yaml: read back by supervision."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from instance_masks import blobs, supervision, two
from tracedge.errors import SettingsError
from tracedge.export.yolo import write_yolo, write_yolo_yaml, yolo_lines
from tracedge.instances import Instances, pairwise_iou

NONE = Instances.empty((5, 8))


def dataset(folder, found):
    """A YOLO data set of one image, as supervision reads it."""
    (folder / "images").mkdir()
    height, width = found.shape
    Image.new("RGB", (width, height)).save(folder / "images" / "a.png")
    write_yolo(folder / "labels" / "a.txt", found)
    write_yolo_yaml(folder / "data.yaml")
    return supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )


def test_supervision_reads_masks_without_holes_nearly_as_they_were(tmp_path):
    found = blobs(4, (33, 48))
    read = dataset(tmp_path, found)
    assert read.classes == ["object"]
    (detections,) = read.annotations.values()
    assert len(detections) == 4
    assert np.diag(pairwise_iou(found.masks, detections.mask)).min() > 0.95


def test_ragged_masks_keep_their_iou_too(tmp_path):
    noise = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((41, 64)), 2)
    mask = ndimage.binary_fill_holes(noise > 0)
    read = dataset(tmp_path, Instances(mask[None]))
    (detections,) = read.annotations.values()
    assert pairwise_iou(mask[None], detections.mask.any(axis=0)[None])[0, 0] > 0.95


def test_no_instance_is_an_empty_file(tmp_path):
    (detections,) = dataset(tmp_path, NONE).annotations.values()
    assert len(detections) == 0
    assert (tmp_path / "labels" / "a.txt").read_bytes() == b""


def test_every_line_is_a_polygon_within_the_image():
    for found in (two(), blobs(6), Instances(np.ones((1, 1, 1), bool)), Instances(np.ones((1, 2, 1), bool))):
        for line in yolo_lines(found):
            first, *numbers = line.split()
            assert first == "0"
            assert len(numbers) >= 6
            assert len(numbers) % 2 == 0
            assert all(0 <= float(number) <= 1 and len(number) == 8 for number in numbers)


def test_a_mask_at_the_border_of_the_image_is_closed():
    (line,) = yolo_lines(Instances(np.ones((1, 4, 5), bool)))
    corners = np.array(line.split()[1:], float).reshape(-1, 2) * (5, 4)
    assert sorted(map(tuple, corners.tolist())) == [(0, 0), (0, 3), (4, 0), (4, 3)]


def test_pieces_are_lines_of_their_own_and_crumbs_are_left_out_unless_there_is_nothing_else():
    mask = np.zeros((1, 9, 12), bool)
    mask[0, :3, :3] = mask[0, 5:8, 5:9] = mask[0, 0, 11] = True
    assert len(yolo_lines(Instances(mask))) == 2
    assert len(yolo_lines(Instances(mask), min_area=1)) == 3
    crumb = np.zeros((1, 9, 12), bool)
    crumb[0, 4, 4] = crumb[0, 8, 8] = True
    assert len(yolo_lines(Instances(crumb))) == 1


def test_holes_are_lost_and_a_piece_in_a_hole_is_no_piece():
    mask = np.ones((1, 9, 9), bool)
    mask[0, 2:7, 2:7] = False
    mask[0, 4, 4] = True
    (line,) = yolo_lines(Instances(mask), min_area=1)
    assert len(line.split()) == 9


def test_tolerance_takes_corners_away():
    lengths = [len(yolo_lines(blobs(1), tolerance=tolerance)[0]) for tolerance in (0, 0.25, 2)]
    assert lengths[0] > lengths[1] > lengths[2]
    for wrong in (-1, np.nan):
        with pytest.raises(SettingsError, match="at least 0"):
            yolo_lines(two(), tolerance=wrong)
    with pytest.raises(SettingsError, match="at least 0"):
        yolo_lines(two(), min_area=-1)


def test_the_yaml_quotes_what_needs_quotes(tmp_path):
    write_yolo_yaml(tmp_path / "data.yaml", train="my: images", val="no", names=("größe", "yes"))
    lines = (tmp_path / "data.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# labels/a.txt is of images/a.jpg")
    assert lines[1:] == ['train: "my: images"', 'val: "no"', "names:", '  0: "größe"', '  1: "yes"']
