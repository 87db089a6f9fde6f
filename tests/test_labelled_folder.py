"""A labelled folder's objects: each mask is decoded once, and instances.json says the class of every one of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataset_roots import coco_2017, save, save_json
from tracedge.datasets.layouts import open_dataset
from tracedge.datasets.selection import read_ids
from tracedge.errors import DataError
from tracedge.evaluation.edges import true_boundaries
from tracedge.export import coco_reader

LABELS = np.array([[0, 4, 4, 0], [0, 2, 4, 0], [9, 9, 0, 0]], np.uint8)
CLASSES = [{"file": "a.jpg", "instances": [{"label": n, "category": name} for n, name in ((9, "c"), (2, "a"), (4, 7))]}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "images" / "a.png", np.full((*LABELS.shape, 3), 90, np.uint8))
    save(tmp_path / "masks" / "a.png", LABELS)
    return tmp_path


def objects(folder: Path):
    (sample,) = open_dataset(folder).instances()
    return sample.truth


def test_each_mask_of_a_coco_file_is_decoded_once(tmp_path, monkeypatch):
    decode, decoded = coco_reader.decode, []
    monkeypatch.setattr(coco_reader, "decode", lambda *args, **more: decoded.append(args) or decode(*args, **more))
    (sample,) = open_dataset(coco_2017(tmp_path, [1])).instances()
    assert (len(sample.truth.objects), sample.truth.classes, sample.truth.crowds.sum()) == (2, (18, 3), 6)
    assert len(decoded) == 3  # two objects and a crowd


def test_classes_come_in_the_order_of_the_labels(folder):
    assert objects(folder).classes is None
    save_json(folder / "instances.json", CLASSES)
    found = objects(folder)
    assert found.classes == ("a", 7, "c")
    assert found.objects.areas.tolist() == [1, 3, 2]


def test_a_byte_order_mark_is_no_part_of_a_list(folder, tmp_path):
    (folder / "instances.json").write_text(json.dumps(CLASSES), encoding="utf-8-sig")
    assert objects(folder).classes == ("a", 7, "c")
    (tmp_path / "ids.txt").write_text("a\nb\n", encoding="utf-8-sig")
    assert [wanted.stem for wanted in read_ids(tmp_path / "ids.txt")] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a.jpg": []}, "expected a list of records"),
        ([3], "record 1 of the list is int"),
        ([{"file": "a.jpg"}], "record 1 of the list has no instances"),
        ([{"file": "../a.jpg", "instances": []}], "without '..'"),
        (CLASSES * 2, "two records of a"),
        ([{"file": "a.jpg", "instances": [{"label": "4", "category": 1}]}], "the label '4', expected a whole number"),
        ([{"file": "a.jpg", "instances": [{"label": 4, "category": None}]}], "the category None, expected text"),
    ],
)
def test_an_instances_json_of_another_form_is_refused_before_any_mask_is_read(folder, content, said):
    save_json(folder / "instances.json", content)
    with pytest.raises(DataError, match="instances.json does not say the classes of instances: .*" + said):
        open_dataset(folder).instances()


def test_an_object_whose_class_nothing_says_is_refused(folder):
    for content in ([], [{"file": "a.jpg", "instances": CLASSES[0]["instances"][:2]}]):
        save_json(folder / "instances.json", content)
        with pytest.raises(DataError, match=r"does not say the class of object (2|4) of .*a\.png"):
            objects(folder)


def test_a_truth_that_is_too_large_is_refused_before_it_is_decoded(folder):
    save(folder / "images" / "a.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"masks/a\.png .*more than the limit of 5:"):
        _ = next(iter(open_dataset(folder, max_pixels=5).edges())).labels
    save(folder / "masks" / "a.png", LABELS[:2, :2])
    save(folder / "ignore" / "a.png", np.zeros((3, 3), bool))
    with pytest.raises(DataError, match=r"ignore/a\.png .*more than the limit of 5"):
        _ = next(iter(open_dataset(folder, max_pixels=5).instances())).truth


def crowded(root: Path) -> Path:
    """A labelled folder that is the image 7 of a COCO root: void, a thing, stuff and a crowd side by side."""
    coco = coco_2017(root / "coco", [7])
    (root / "set").mkdir()
    (coco / "val2017").rename(root / "set" / "images")
    (coco / "annotations" / "panoptic_val2017").rename(root / "set" / "panoptic")
    (coco / "annotations" / "panoptic_val2017.json").rename(root / "set" / "panoptic.json")
    return root / "set"


def edges_of(root: Path):
    (sample,) = open_dataset(root).edges()
    return np.flatnonzero(true_boundaries(sample).all(axis=0)).tolist(), sample.ignore, sample.fingerprint


def test_nothing_is_known_of_edges_in_the_crowds_of_panoptic_json_as_in_coco(tmp_path):
    root = crowded(tmp_path / "one")
    columns, ignore, fingerprint = edges_of(root)
    assert columns == [3] and np.flatnonzero(ignore.all(axis=0)).tolist() == [0, 7]
    (sample,) = open_dataset(coco_2017(tmp_path / "two", [7])).edges()
    assert fingerprint == sample.fingerprint
    (root / "panoptic.json").unlink()  # nothing says any more that the last column is a crowd
    columns, ignore, _ = edges_of(root)
    assert columns == [3, 6] and np.flatnonzero(ignore.all(axis=0)).tolist() == [0]


def test_what_a_folder_ignores_is_ignored_beside_its_crowds(tmp_path):
    root, marked = crowded(tmp_path), np.zeros((6, 8), np.uint8)
    marked[:, 3] = 1
    save(root / "ignore" / "000000000007.png", marked)
    assert np.flatnonzero(edges_of(root)[1].all(axis=0)).tolist() == [0, 3, 7]


def test_a_photo_that_panoptic_json_lacks_is_named_for_edges_too(tmp_path):
    root = crowded(tmp_path)
    for folder in ("images", "panoptic"):
        (of,) = (root / folder).iterdir()
        shutil.copy(of, of.with_stem("8"))
    with pytest.raises(
        DataError, match=r"1 of 2 images have no panoptic segments: 8 is the first; looked in .*panoptic\.json"
    ):
        open_dataset(root).edges()


def test_photos_in_subfolders_are_not_walked_and_that_is_said(folder):
    (folder / "images" / "below").mkdir()
    (folder / "images" / "a.png").rename(folder / "images" / "below" / "a.png")
    with pytest.raises(
        DataError, match=r"images has photos in subfolders only \(below/ is the first\), and subfolders are not walked"
    ):
        open_dataset(folder)
    (folder / "images" / "below" / "a.png").unlink()
    with pytest.raises(DataError, match="No image in"):
        open_dataset(folder)
    save(folder / "images" / "a.png", np.full((*LABELS.shape, 3), 90, np.uint8))
    assert open_dataset(folder).names == ("a.png",)


def test_results_with_a_byte_order_mark_are_results(tmp_path):
    (tmp_path / "results.json").write_text("[]", encoding="utf-8-sig")
    assert coco_reader.is_results(tmp_path / "results.json")
