"""COCO's run-length encoding and files: read back by us and by pycocotools, to whom the format belongs."""

import contextlib
import io
import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pycocotools import mask as reference
from pycocotools.coco import COCO
from scipy.ndimage import binary_fill_holes, label

from instance_masks import a_few, any_masks, assert_equal, blobs, two
from tracedge.errors import DataError
from tracedge.export.coco import coco_records, write_coco, write_coco_results
from tracedge.export.coco_reader import read_coco
from tracedge.export.rle import decode, encode
from tracedge.instances import Instances

NONE = Instances.empty((5, 8))
numpy_of_pycocotools = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# --- run-length encoding ----------------------------------------------------------------------------------------------


@a_few
@given(any_masks())
def test_masks_come_back_and_are_those_of_pycocotools(mask):
    made = encode(mask)
    theirs = reference.encode(np.asfortranarray(mask, np.uint8))
    assert made == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert json.loads(json.dumps(made)) == made
    np.testing.assert_array_equal(decode(made), mask)
    np.testing.assert_array_equal(decode(made, mask.shape), mask)
    np.testing.assert_array_equal(decode(theirs), mask)


def test_large_masks_and_long_runs_come_back():
    mask = np.zeros((1201, 803), bool)
    mask[:, 5:700] = np.random.default_rng(0).random((1201, 695)) < 0.5
    mask[:, 300:400] = False
    np.testing.assert_array_equal(decode(encode(mask)), mask)


@a_few
@given(any_masks())
def test_counts_may_be_a_list(mask):
    flat = mask.T.ravel()
    runs = [len(list(run)) for _, run in itertools.groupby(flat)]
    counts = [0, *runs] if flat[0] else runs
    np.testing.assert_array_equal(decode({"size": list(mask.shape), "counts": counts}), mask)


@numpy_of_pycocotools
@pytest.mark.parametrize("seed", range(20))
def test_polygons_are_filled_as_pycocotools_fills_them(seed):
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(3, 40, 2))
    corners = [generator.random((int(generator.integers(3, 8)), 2)) * (width, height) for _ in range(2)]
    polygons = [points.round(seed % 3).ravel().tolist() for points in corners]
    expected = reference.decode(reference.merge(reference.frPyObjects(polygons, height, width)))
    np.testing.assert_array_equal(decode(polygons, (height, width)), expected.astype(bool))


@numpy_of_pycocotools
@pytest.mark.parametrize("seed", range(30))
def test_polygons_that_leave_the_image_are_cut_off_as_pycocotools_does(seed):
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(4, 40, 2))
    corners = (generator.random((int(generator.integers(3, 8)), 2)) * 2 - 0.5) * (width, height)
    corners[0] = width / 2, height / 2  # at least this one is inside
    polygons = [corners.ravel().tolist()]
    expected = reference.decode(reference.merge(reference.frPyObjects(polygons, height, width)))
    np.testing.assert_array_equal(decode(polygons, (height, width)), expected.astype(bool))


def filled_by_pycocotools(polygons, height, width):
    return reference.decode(reference.merge(reference.frPyObjects(polygons, height, width))).astype(bool)


@numpy_of_pycocotools
@a_few
@given(st.integers(0, 2**32), st.sampled_from([(0, 1), (0, -1), (1, 1), (1, -1)]), st.integers(0, 2))
def test_a_polygon_wholly_outside_its_image_covers_nothing_as_in_pycocotools(seed, side, digits):
    generator = np.random.default_rng(seed)
    hw = generator.integers(3, 30, 2)
    corners = ((generator.random((int(generator.integers(3, 8)), 2)) * 4 - 1.5) * hw[::-1]).round(digits)
    axis, way = side
    beyond = generator.random() * 50
    corners[:, axis] += (
        (hw[1 - axis] + 1 + beyond - corners[:, axis].min()) if way > 0 else -1 - beyond - corners[:, axis].max()
    )
    outside, inside = corners.ravel().tolist(), [0, 0, 2, 0, 2, 2]
    for polygons in ([outside], [outside, inside], [inside, outside]):
        np.testing.assert_array_equal(decode(polygons, tuple(hw.tolist())), filled_by_pycocotools(polygons, *hw))
    assert not decode([outside], tuple(hw.tolist())).any()


@numpy_of_pycocotools
@a_few
@given(st.integers(0, 2**32), st.integers(0, 2))
def test_two_corners_cover_nothing_as_in_pycocotools_and_are_no_box(seed, digits):
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(3, 30, 2))
    first, second = (
        (generator.random((count, 2)) * (width, height)).round(digits).ravel().tolist() for count in (5, 2)
    )
    expected = filled_by_pycocotools([first, second], height, width)
    np.testing.assert_array_equal(decode([first, second], (height, width)), expected)
    with pytest.raises(TypeError):  # pycocotools takes them for boxes, where they come first, and stops
        filled_by_pycocotools([second, first], height, width)
    np.testing.assert_array_equal(decode([second, first], (height, width)), expected)
    np.testing.assert_array_equal(decode([second, [1, 1], []], (height, width)), np.zeros((height, width), bool))


@pytest.mark.parametrize("mask", [np.zeros((2, 3)), np.zeros((1, 2, 3), bool), np.zeros((0, 3), bool), [[True]]])
def test_what_is_no_mask_is_not_encoded(mask):
    with pytest.raises(DataError, match=r"bool array \(H, W\)"):
        encode(mask)


# --- files ------------------------------------------------------------------------------------------------------------


def test_coco_records_put_width_and_x_first_there_and_only_there():
    image, found = coco_records(two(), 7, "sub\\a.jpg", first_annotation_id=11)
    assert image == {"id": 7, "file_name": "sub/a.jpg", "width": 10, "height": 7}
    assert [record["id"] for record in found] == [11, 12]
    assert found[1]["bbox"] == [3, 2, 5, 5]
    assert found[1]["area"] == 24
    assert found[1]["score"] == 0.9  # not 0.8999999761581421
    assert found[1]["segmentation"]["size"] == [7, 10]
    assert {(record["image_id"], record["category_id"], record["iscrowd"]) for record in found} == {(7, 1, 0)}


def images():
    return [(3, "b.jpg", two()), (1, "a/c.jpg", blobs(4)), (2, "empty.jpg", NONE)]


def test_a_coco_file_comes_back_equal_and_twice_with_equal_bytes(tmp_path):
    for name in ("one.json", "two.json"):
        write_coco(tmp_path / name, iter(images()), {"model": "mini", "größe": 512})
    assert names(tmp_path) == ["one.json", "two.json"]
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    back = read_coco(tmp_path / "one.json")
    assert [(image.id, image.file_name, image.hw) for image in back.images.values()] == [
        (3, "b.jpg", (7, 10)),
        (1, "a/c.jpg", (61, 90)),
        (2, "empty.jpg", (5, 8)),
    ]
    for image_id, _, found in images():
        assert_equal(back.instances(image_id), found, settings=False)
        assert back.instances(image_id).settings["größe"] == 512
    assert back.truth(1)[1] == (1, 1, 1, 1)


@numpy_of_pycocotools
def test_pycocotools_reads_the_files_and_takes_areas_from_the_masks(tmp_path):
    write_coco(tmp_path / "truth.json", images())
    write_coco_results(tmp_path / "results.json", [(number, found) for number, _, found in images()])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(tmp_path / "truth.json")
        results = truth.loadRes(str(tmp_path / "results.json"))
    assert truth.getCatIds() == [1]
    for image_id, _, found in images():
        for known in (truth, results):
            loaded = known.loadAnns(known.getAnnIds(imgIds=image_id))
            assert [entry["area"] for entry in loaded] == found.areas.tolist()
            for entry, mask in zip(loaded, found.masks, strict=True):
                np.testing.assert_array_equal(known.annToMask(entry).astype(bool), mask)


@numpy_of_pycocotools
@a_few
@given(any_masks())
def test_polygons_are_the_outlines_of_the_masks_and_lose_their_holes_alone(mask):
    assume(mask.any())
    image, (annotation,) = coco_records(Instances(mask[None]), 1, "a.png", polygons=True)
    theirs = reference.frPyObjects(annotation["segmentation"], image["height"], image["width"])
    filled = reference.decode(theirs).any(axis=2)
    pieces, count = label(mask)
    expected = [binary_fill_holes(pieces == number) for number in range(1, count + 1)]
    np.testing.assert_array_equal(filled, np.any(expected, axis=0))
    assert annotation["area"] == np.sum(expected)


def test_a_file_of_polygons_comes_back_where_masks_have_no_holes(tmp_path):
    disc = np.hypot(*(np.indices((20, 30)) - np.array([9, 14])[:, None, None])) < 7
    found = Instances(np.stack([disc, np.roll(disc, 9, axis=1)]), np.array([0.9, 0.4]))
    write_coco(tmp_path / "polygons.json", [(1, "a.png", found)], polygons=True)
    assert isinstance(json.loads((tmp_path / "polygons.json").read_text())["annotations"][0]["segmentation"], list)
    back = read_coco(tmp_path / "polygons.json").instances(1)
    np.testing.assert_array_equal(back.masks, found.masks)
    np.testing.assert_array_equal(back.scores, found.scores)


def test_results_hold_no_boxes(tmp_path):
    write_coco_results(tmp_path / "results.json", [(5, two())])
    content = json.loads((tmp_path / "results.json").read_text())
    assert [sorted(entry) for entry in content] == [["category_id", "image_id", "score", "segmentation"]] * 2


def test_no_image_and_no_instance_are_lists_all_the_same(tmp_path):
    write_coco(tmp_path / "a.json", [])
    write_coco_results(tmp_path / "b.json", [])
    assert json.loads((tmp_path / "a.json").read_text())["annotations"] == []
    assert json.loads((tmp_path / "b.json").read_text()) == []
    assert len(read_coco(tmp_path / "a.json")) == 0


@pytest.mark.parametrize(
    "name", ["/etc/a.jpg", "C:/a.jpg", "c:\\a.jpg", "../a.jpg", "a/../../b.jpg", "..\\a.jpg", "", "a/", "a\0.jpg", 3]
)
def test_file_names_that_lead_elsewhere_are_not_written(tmp_path, name):
    with pytest.raises(DataError, match="the file name of an image is"):
        write_coco(tmp_path / "a.json", [(1, name, two())])
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([(1, "a.jpg", two()), (1, "b.jpg", two())], "the image 1 comes twice"),
        ([(1, "a.jpg", two()), (2, "a.jpg", two())], r"the image 'a\.jpg' comes twice"),
        ([("1", "a.jpg", two())], "whole number from 0, got '1'"),
        ([(-1, "a.jpg", two())], "whole number from 0, got -1"),
        ([(True, "a.jpg", two())], "whole number from 0, got True"),
    ],
)
def test_images_that_cannot_be_told_apart_are_not_written(tmp_path, given, sentence):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(DataError, match=sentence):
        write_coco(tmp_path / "a.json", given)
    assert (tmp_path / "a.json").read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_results_of_one_image_come_once_and_annotations_count_from_one(tmp_path):
    with pytest.raises(DataError, match="the image 5 comes twice"):
        write_coco_results(tmp_path / "a.json", [(5, two()), (5, two())])
    with pytest.raises(DataError, match="an annotation is a whole number from 1, got 0"):
        coco_records(two(), 1, "a.jpg", 0)
    assert names(tmp_path) == []
