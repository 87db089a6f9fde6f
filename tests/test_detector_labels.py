"""Photos and their pseudo masks: found by name, of instances or panoptic; what does not fit is a sentence."""

import json
import shutil

import numpy as np
import pytest

from tiny_detection import KINDS, labelled, panoptic_labelled, squares
from tracedge.detector.labels import OBJECT, find_labels
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco import write_coco
from tracedge.instances import Instances


def test_what_segment_wrote_is_read_with_its_scores(tmp_path):
    truth = squares(labelled(tmp_path))
    labels = find_labels(tmp_path, [tmp_path / "images"])
    assert len(labels) == 4 and labels.categories == OBJECT and not labels.panoptic
    photo = labels[2]
    np.testing.assert_array_equal(photo.masks, truth[2].masks)
    assert photo.classes.tolist() == [0, 0] and photo.image.shape == (64, 64, 3)
    sure = find_labels(tmp_path / "instances.json", [tmp_path / "images"], min_score=0.5)
    np.testing.assert_array_equal(sure[2].masks, truth[2].masks[:1])
    assert sure.provenance != labels.provenance


def test_what_panoptic_wrote_is_read_with_its_classes(tmp_path):
    truth = squares(panoptic_labelled(tmp_path))
    for path in (tmp_path, tmp_path / "panoptic.json"):
        labels = find_labels(path, [tmp_path / "images"])
        assert labels.panoptic and labels.categories == KINDS
        photo = labels[1]
        assert photo.classes.tolist() == [0, 0, 1]
        np.testing.assert_array_equal(photo.masks[:2], truth[1].masks)
        np.testing.assert_array_equal(photo.masks[2], ~truth[1].masks.any(axis=0))


def test_crowds_are_no_labels(tmp_path):
    panoptic_labelled(tmp_path)
    file = tmp_path / "panoptic.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segments_info"][0]["iscrowd"] = 1
    file.write_text(json.dumps(content))
    assert find_labels(file, [tmp_path / "images"])[0].classes.tolist() == [0, 1]


def test_photos_without_masks_are_counted_and_left_out(tmp_path):
    labelled(tmp_path)
    shutil.copy(tmp_path / "images" / "0.png", tmp_path / "images" / "stranger.png")
    labels = find_labels(tmp_path, [tmp_path / "images"])
    assert len(labels) == 4 and labels.without == 1


def test_masks_of_none_of_the_photos_are_refused(tmp_path):
    labelled(tmp_path / "a")
    squares(tmp_path / "b")
    for path in (tmp_path / "b" / "images").iterdir():
        path.rename(path.with_name(f"other{path.name}"))
    with pytest.raises(DataError, match=r"none of the 4 photos, such as other0\.png"):
        find_labels(tmp_path / "a", [tmp_path / "b" / "images"])


def test_wrong_scores_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="lies in"):
        find_labels(labelled(tmp_path), [tmp_path / "images"], min_score=2)
    with pytest.raises(SettingsError, match="taken whole"):
        find_labels(panoptic_labelled(tmp_path / "p"), [tmp_path / "p" / "images"], min_score=0.5)


def test_a_photo_of_another_size_than_its_masks_is_a_sentence(tmp_path):
    labelled(tmp_path)
    squares(tmp_path / "large", side=96)
    with pytest.raises(DataError, match=r"64 x 64.*96 x 96"):
        _ = find_labels(tmp_path, [tmp_path / "large" / "images"])[0]


def test_labels_know_which_photos_they_are_of(tmp_path):
    labelled(tmp_path)
    before = find_labels(tmp_path, [tmp_path / "images"]).provenance
    assert find_labels(tmp_path, [tmp_path / "images"]).provenance == before
    (tmp_path / "images" / "0.png").write_bytes((tmp_path / "images" / "0.png").read_bytes() + b" ")
    assert find_labels(tmp_path, [tmp_path / "images"]).provenance != before
    (tmp_path / "images" / "1.png").unlink()
    assert find_labels(tmp_path, [tmp_path / "images"]).provenance["photos"].startswith("3, ")


def test_labels_without_a_mask_are_refused(tmp_path):
    squares(tmp_path)
    empty = [(number, f"{number}.png", Instances.empty((64, 64))) for number in range(4)]
    write_coco(tmp_path / "instances.json", empty[1:])
    with pytest.raises(DataError, match="none of the 3 photos has a mask"):
        find_labels(tmp_path, [tmp_path / "images"]).require_masks()
