"""COCO roots: where things are looked for, the truth of 2014 in the files of 2017, void and crowds, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from dataset_roots import (
    HW,
    add_panoptic,
    add_split,
    coco_2014,
    coco_2017,
    image,
    save,
    save_json,
    save_photo,
    segments,
)
from tracedge.categories import Category
from tracedge.datasets.coco import open_coco
from tracedge.datasets.layouts import open_dataset
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError, SettingsError
from tracedge.evaluation.edges import true_boundaries


def chosen(tmp_path, *lines):
    (tmp_path / "ids.txt").write_text("\n".join(lines))
    return Selection(ids=tmp_path / "ids.txt")


@pytest.mark.parametrize("photos", ["", "images"])
@pytest.mark.parametrize("pngs", ["annotations", ""])
def test_a_root_is_opened_however_it_was_unpacked(tmp_path, photos, pngs):
    dataset = open_dataset(coco_2017(tmp_path, [285, 139], photos, pngs))
    assert (dataset.layout, dataset.split) == ("COCO", "val2017")
    assert dataset.names == ("000000000139.jpg", "000000000285.jpg")
    assert [sample.stem for sample in dataset.edges()] == ["000000000139", "000000000285"]
    assert len(list(dataset.instances())) == len(list(dataset.panoptic())) == 2


def test_edges_are_between_distinct_segments_and_neither_void_nor_crowds_count(tmp_path):
    dataset = open_coco(coco_2017(tmp_path, [139]))
    (sample,) = dataset.edges()
    np.testing.assert_array_equal(sample.labels, segments())
    columns = {flags: true_boundaries_of(dataset, *flags) for flags in [(0, 0), (1, 0), (0, 1), (1, 1)]}
    assert columns == {(0, 0): [3], (1, 0): [0, 3], (0, 1): [3, 6], (1, 1): [0, 3, 6]}
    assert np.flatnonzero(sample.ignore.all(axis=0)).tolist() == [0, 7]
    (sample,) = dataset.edges(void_edges=True, crowd_edges=True)
    assert not sample.ignore.any()


def true_boundaries_of(dataset, void_edges, crowd_edges):
    """The columns of the edges."""
    (sample,) = dataset.edges(void_edges=bool(void_edges), crowd_edges=bool(crowd_edges))
    edges = true_boundaries(sample)
    assert (edges == edges[:1]).all()
    return np.flatnonzero(edges[0]).tolist()


def test_instances_have_their_categories_and_crowds_are_apart(tmp_path):
    (sample,) = open_coco(coco_2017(tmp_path, [139])).instances()
    truth = sample.truth
    np.testing.assert_array_equal(truth.objects.masks, [segments() == 2, segments() == 70_000])
    assert truth.classes == (18, 3)
    np.testing.assert_array_equal(truth.crowds, [segments() == 5])


def test_panoptic_segments_say_what_they_are(tmp_path):
    (sample,) = open_coco(coco_2017(tmp_path, [139])).panoptic()
    truth = sample.truth
    np.testing.assert_array_equal(truth.map.ids, segments())
    assert truth.map.ids.dtype == np.int32
    said = [(segment.id, segment.category_id, segment.isthing, segment.iscrowd) for segment in truth.map.segments]
    assert said == [(2, 1, True, False), (70_000, 200, False, False), (5, 1, True, True)]
    assert truth.categories == {1: Category(1, "person", True), 200: Category(200, "rug-merged", False)}


def test_the_truth_of_2014_is_looked_up_in_both_files_of_2017(tmp_path):
    dataset = open_dataset(coco_2014(tmp_path), "val2014")
    assert dataset.names[0] == "COCO_val2014_000000000009.jpg"
    assert [sample.labels.max() for sample in dataset.edges()] == [70_000] * 3
    assert [sample.stem[-3:] for sample in dataset.panoptic()] == ["009", "042", "139"]


def test_ids_of_2014_without_panoptic_truth_are_counted(tmp_path):
    root = coco_2014(tmp_path)
    add_panoptic(root, "train2017", [7])
    with pytest.raises(
        DataError, match=r"2 of 3 images have no panoptic truth: COCO_val2014_000000000009.jpg"
    ) as caught:
        open_dataset(root, "val2014").edges()
    assert "panoptic_train2017.json and" in str(caught.value) and "panoptic_val2017.json." in str(caught.value)
    assert open_dataset(root, "val2014", chosen(tmp_path, "139")).edges().names == ("COCO_val2014_000000000139.jpg",)


@pytest.mark.parametrize(
    "line",
    ["42", "000000000042", "000000000042.jpg", "COCO_val2014_000000000042", "val2014/COCO_val2014_000000000042.jpg"],
)
def test_an_image_is_named_by_its_id_or_its_file(tmp_path, line):
    dataset = open_dataset(coco_2014(tmp_path), "val2014", chosen(tmp_path, "# a comment", "", line, line))
    assert dataset.names == ("COCO_val2014_000000000042.jpg",)


def test_a_coco_file_names_its_images_as_a_subset(tmp_path):
    save_json(
        tmp_path / "subset.json", {"images": [image(139, "COCO_val2014_000000000139.jpg"), image(42, "other.jpg")]}
    )
    dataset = open_dataset(coco_2014(tmp_path), "val2014", Selection(ids=tmp_path / "subset.json"))
    assert [name[-7:] for name in dataset.names] == ["042.jpg", "139.jpg"]


def test_coco_s_own_name_says_which_image_whatever_number_stands_beside_it(tmp_path):
    save_json(tmp_path / "subset.json", {"images": [image(139, "COCO_train2014_000000000042.jpg")]})
    dataset = open_dataset(coco_2014(tmp_path), "val2014", Selection(ids=tmp_path / "subset.json"))
    assert dataset.names == ("COCO_val2014_000000000042.jpg",)


def test_what_is_found_in_one_file_of_2017_is_not_looked_for_in_the_other(tmp_path):
    root = coco_2014(tmp_path)
    (root / "annotations" / "panoptic_val2017.json").write_text("damaged")
    assert len(open_dataset(root, "val2014", chosen(tmp_path, "9", "42")).edges()) == 2
    with pytest.raises(DataError, match=r"val2017\.json is no panoptic file: it cannot be read as JSON"):
        open_dataset(root, "val2014").edges()


def test_a_split_of_2017_takes_its_truth_from_its_own_file_only(tmp_path):
    root = coco_2017(tmp_path, [1, 2])
    add_panoptic(root, "val2017", [1])
    add_panoptic(root, "train2017", [2])
    with pytest.raises(DataError, match=r"1 of 2 images have no panoptic truth: 000000000002\.jpg"):
        open_coco(root, "val2017").edges()


def test_images_without_a_name_of_their_own_and_no_images_at_all_are_refused(tmp_path):
    root = coco_2017(tmp_path, [1])
    path = root / "annotations" / "instances_val2017.json"
    save_json(path, {"images": [image(1, "a.jpg"), image(2, "a.png")], "annotations": []})
    with pytest.raises(DataError, match=r"1 images of val2017 .* have the name of another one"):
        open_coco(root)
    with pytest.raises(DataError, match=r"instances_val2017.*6 x 8|instances_val2017.*8 x 6"):
        open_coco(root, max_pixels=47)  # before anything is decoded
    save_json(path, {"images": [], "annotations": []})
    with pytest.raises(DataError, match="no images in val2017"):
        open_coco(root)


def test_ids_of_another_split_are_counted(tmp_path):
    with pytest.raises(DataError, match=r"names 2 images that are not among the 3 of val2014 .*: 7, COCO_train2014_"):
        open_dataset(coco_2014(tmp_path), "val2014", chosen(tmp_path, "42", "7", "COCO_train2014_000000000008.jpg"))


def test_masks_and_photos_of_images_that_are_not_chosen_are_never_looked_at(tmp_path):
    root = coco_2017(tmp_path, [1, 2])
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    for record in content["annotations"]:
        if record["image_id"] == 2:
            record["segmentation"], record["iscrowd"] = "damaged", 7
    save_json(path, content)
    (root / "val2017" / "000000000002.jpg").unlink()
    segments_path = root / "annotations" / "panoptic_val2017.json"
    panoptic = json.loads(segments_path.read_text())
    panoptic["annotations"][1]["segments_info"] = "damaged"
    save_json(segments_path, panoptic)
    assert len(open_dataset(root, selection=Selection(limit=1)).edges()) == 1
    (sample,) = open_dataset(root, selection=Selection(limit=1)).instances()
    assert len(sample.truth.objects) == 2
    with pytest.raises(DataError, match=r"1 of 2 images have no photo: 000000000002.jpg"):
        open_dataset(root)


def test_several_splits_without_val2017_need_a_choice(tmp_path):
    add_split(tmp_path, "val2014", [9])
    assert open_coco(tmp_path).split == "val2014"
    add_split(tmp_path, "train2014", [8])
    with pytest.raises(SettingsError, match=r"it has val2014, train2014\): give --split"):
        open_coco(tmp_path)
    with pytest.raises(SettingsError, match=r"COCO has the splits .* got 'val'"):
        open_coco(tmp_path, "val")
    with pytest.raises(DataError, match=r"photos of val2017 are missing: looked for the folders .*images"):
        open_coco(tmp_path, "val2017")


def test_parts_that_are_missing_are_named(tmp_path):
    root = coco_2017(tmp_path, [1])
    (root / "annotations" / "instances_val2017.json").unlink()
    dataset = open_coco(root)
    assert len(dataset.edges()) == 1
    with pytest.raises(DataError, match=r"instances_val2017.json is missing"):
        dataset.instances()
    (root / "annotations" / "panoptic_val2017" / "000000000001.png").unlink()
    with pytest.raises(DataError, match=r"1 of 1 images have no PNG of panoptic ids: 000000000001.png"):
        dataset.edges()
    shutil.rmtree(root / "annotations" / "panoptic_val2017")
    with pytest.raises(
        DataError,
        match=r"panoptic PNGs of val2017 are missing: looked for the folders .*annotations/panoptic_val2017 and ",
    ):
        dataset.edges()


def test_a_map_that_is_not_what_its_records_say_is_refused(tmp_path):
    root = coco_2017(tmp_path, [1])
    png = root / "annotations" / "panoptic_val2017" / "000000000001.png"
    (sample,) = open_coco(root).edges()
    save(png, np.full((*HW, 3), (9, 0, 0), np.uint8))
    with pytest.raises(DataError, match=r"000000000001.png and panoptic_val2017.json disagree: .* 9 in the map only"):
        _ = sample.labels
    save(png, np.full((*HW, 3), (2, 0, 0), np.uint8))
    with pytest.raises(DataError, match=r"70000, 5 among the segments only"):
        _ = sample.labels
    save(png, np.full(HW, 2, np.uint8))
    with pytest.raises(DataError, match="mode L, expected 8-bit RGB"):
        _ = sample.labels
    save_photo(root / "val2017" / "000000000001.jpg", (8, 6))
    (sample,) = open_coco(root).instances()
    with pytest.raises(DataError, match=r"is 6 x 8 \(rows x columns\), but .* is 8 x 6"):
        _ = sample.truth


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.pop("categories"), "expected an object with a list of categories"),
        (lambda content: content.pop("annotations"), "expected an object with a list of annotations"),
        (lambda content: content["categories"].append({"id": 1}), "category 3 of the list has no name"),
        (
            lambda content: content["annotations"][0].pop("segments_info"),
            "annotation 1 of the list has no segments_info",
        ),
        (lambda content: content["annotations"][0].update(file_name="../x.png"), "relative and without"),
        (lambda content: content["annotations"].append(content["annotations"][0]), "image 1 has two annotations"),
        (lambda content: content["annotations"].append({}), "annotation 2 of the list has no image_id"),
        (
            lambda content: content["annotations"][0]["segments_info"][0].update(category_id=77),
            "segment 2 of image 1 has the unknown category 77",
        ),
        (
            lambda content: content["annotations"][0]["segments_info"][0].update(id=0),
            "of image 1: a segment needs a whole number from 1 as id",
        ),
    ],
)
def test_a_damaged_panoptic_file_is_refused_before_anything_is_read(tmp_path, change, sentence):
    path = coco_2017(tmp_path, [1]) / "annotations" / "panoptic_val2017.json"
    content = json.loads(path.read_text())
    change(content)
    save_json(path, content)
    for read in (open_coco(tmp_path).edges, open_coco(tmp_path).panoptic):
        with pytest.raises(DataError, match=rf"panoptic_val2017\.json is no panoptic file: .*{sentence}"):
            read()


def test_a_photo_of_2014_names_the_same_one_in_2017(tmp_path):
    dataset = open_dataset(coco_2017(tmp_path, [42]), selection=chosen(tmp_path, "COCO_val2014_000000000042.jpg"))
    assert dataset.names == ("000000000042.jpg",)
