"""COCO files that strangers wrote: read as they are meant, and refused by a sentence where anything is wrong."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from instance_masks import a_few, assert_equal, two
from tracedge.datasets.layouts import open_dataset
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError
from tracedge.export.coco import write_coco, write_coco_results
from tracedge.export.coco_reader import read_coco, read_coco_images
from tracedge.export.json_records import MAX_JSON_BYTES
from tracedge.export.rle import decode, encode
from tracedge.instances import Instances
from tracedge.proposals.from_files import find_masks

numpy_of_pycocotools = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

# --- segmentations ----------------------------------------------------------------------------------------------------


def rle(counts, size=(2, 3)):
    return {"size": list(size), "counts": counts}


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        ({"counts": [6]}, r"needs size \[height, width\].*got None"),
        (rle([6], (2,)), "whole numbers above 0"),
        (rle([0], (0, 3)), "whole numbers above 0"),
        (rle([6], (2.0, 3)), "whole numbers above 0"),
        (rle([6], (True, 6)), "whole numbers above 0"),
        ({"size": [2, 3]}, "needs size and counts"),
        (rle(6), "text or a list, got int"),
        (rle([5]), "sum to 5, but the image has 6 pixels"),
        (rle([7]), r"whole numbers in 0\.\.6"),
        (rle([-1, 7]), r"whole numbers in 0\.\.6"),
        (rle([-1, 6, 1]), r"in 0\.\.6, got -1"),
        (rle([6.0]), "whole numbers"),
        (rle([True, 5]), "whole numbers"),
        (rle([]), "sum to 0, but the image has 6 pixels"),
        (rle(""), 'from "0" to "o", at least one'),
        (rle("5"), "sum to 5, but the image has 6 pixels"),
        (rle("7"), r"in 0\.\.6, got 7"),
        (rle("1111" + "N" + "2"), r"in 0\.\.6, got -"),
        (rle("ä"), "ASCII"),
        (rle(" 6"), 'from "0" to "o"'),
        (rle("p"), 'from "0" to "o"'),
        (rle("6P"), "cut short"),
        (rle("P" * 7 + "0"), "takes 8 characters, at most 7"),
        ("6", "run-length encoding or polygons, got str"),
        (None, "run-length encoding or polygons, got NoneType"),
        ([], "needs at least one"),
        ([[0, 0, 1, 1, 2, 2, 0]], "of its corners, got 7 numbers"),
        ([[0]], "of its corners, got 1 numbers"),
        ([[0, 0, 2, 0, 2, 2], [0, "1"]], "finite numbers"),
        ([[9, 9, 12, 9, math.nan, 12]], "finite numbers"),
        ([[0, 0, 1, 1, 2, "2"]], "finite numbers"),
        ([[0, 0, 1, 1, 2, math.nan]], "finite numbers"),
        ([[0, 0, 1, 1, 2, math.inf]], "finite numbers"),
        ([[0, 0, 1, 1, 2, 1e300]], "finite numbers"),
        ([0, 0, 1, 1, 2, 2], "a polygon is a list .* got int"),
        ([[0, 0, 3, 2] * 50_000], "more than its image could hold"),
    ],
)
def test_damaged_segmentations_are_refused(segmentation, sentence):
    with pytest.raises(DataError, match=sentence):
        decode(segmentation, (2, 3))


@numpy_of_pycocotools
@pytest.mark.parametrize("seed", range(3))
def test_polygons_that_reach_far_past_their_image_are_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    cut_off = 0
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(1, 30, 2))
        reach = rng.choice([0.2, 1, 3, 10])
        points = rng.uniform(-reach, 1 + reach, (2, rng.integers(3, 9), 2)) * (width, height)
        polygons = [(np.round(two * 2) / 2 if rng.random() < 0.5 else two).ravel().tolist() for two in points]
        expected = reference.merge(reference.frPyObjects(polygons, height, width))
        found = decode(polygons, (height, width))
        np.testing.assert_array_equal(found, reference.decode(expected).astype(bool))
        assert found.sum() == reference.area(expected)
        cut_off += bool(found.any()) and reach > 1
    assert cut_off > 50


def test_another_size_and_too_large_a_size_are_refused():
    with pytest.raises(DataError, match=r"is of 3 x 2 \(rows x columns\), but its image is 2 x 3"):
        decode(rle([6], (3, 2)), (2, 3))
    with pytest.raises(DataError, match="more than the limit of 100000000 pixels"):
        decode(rle([10**10], (10**5, 10**5)))
    with pytest.raises(DataError, match="more than the limit of 5 pixels"):
        decode([[0, 0, 1, 1, 2, 2]], (2, 3), max_pixels=5)
    with pytest.raises(DataError, match="give image_hw"):
        decode([[0, 0, 1, 1, 2, 2]])


@a_few
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=12))
def test_any_counts_are_a_mask_or_a_data_error(counts):
    try:
        assert decode(rle(counts), (2, 3)).shape == (2, 3)
    except DataError as error:
        assert "run-length encoding" in str(error)


# --- files ------------------------------------------------------------------------------------------------------------


def content(**change):
    """An instances file as a dict, of one image and one annotation, with some keys of these changed (None: left out)."""
    image = {"id": 1, "file_name": "a.jpg", "height": 7, "width": 10}
    annotation = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": encode(two().masks[0])}
    for name, value in change.items():
        where, key = name.split("__")
        record = image if where == "image" else annotation
        record[key] = value
    images, annotations = [
        [{key: value for key, value in record.items() if value is not None}] for record in (image, annotation)
    ]
    return {"images": images, "annotations": annotations}


def written(folder, value, name="a.json"):
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder / name


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("no json", "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
        ('{"images": NaN}', "cannot be read as JSON: NaN is no number"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("3", "expected an object with a list of images"),
        ({"images": {}, "annotations": []}, "a list of images"),
        ({"images": []}, "a list of annotations"),
        ({"images": [1], "annotations": []}, "image 1 of the list is int, expected an object"),
        ({"images": [], "annotations": [[]]}, "annotation 1 of the list is list, expected an object"),
        (content(image__id=None), "image 1 of the list has no id"),
        (content(image__file_name=None), "has no file_name"),
        (content(image__width=None), "has no width"),
        (content(image__height=7.0), "height 7.0 and width 10, expected whole numbers"),
        (content(image__height=0), "height 0 and width 10"),
        (content(image__height=10**6, image__width=10**6), "more than the limit of 100000000"),
        (content(image__id="1"), "has the id '1', expected a whole number"),
        (content(image__file_name="/etc/passwd"), "relative and without"),
        (content(image__file_name="..\\b.jpg"), "relative and without"),
        (content(image__file_name="C:\\b.jpg"), "relative and without"),
        (content(image__file_name=["b"]), "is text, got list"),
        (content(annotation__id=None), "annotation 1 of the list has no id"),
        (content(annotation__image_id=None), "has no image_id"),
        (content(annotation__segmentation=None), "has no segmentation"),
        (content(annotation__image_id=2), "is of image 2, which is not among the 1 images"),
        (content(annotation__image_id=True), "has the image_id True"),
        (content(annotation__score=-0.5), r"the score -0.5, expected a finite number from 0"),
        (content(annotation__score=True), "the score True"),
        (content(annotation__score="high"), "the score 'high'"),
        (content(annotation__score=10**400), "the score 1000"),
        (content(annotation__iscrowd=2), "iscrowd 2, expected 0 or 1"),
        (content(annotation__iscrowd=1.0), "iscrowd 1.0, expected 0 or 1"),
        (content(annotation__iscrowd="1"), "iscrowd '1', expected 0 or 1"),
        ({"images": content()["images"] * 2, "annotations": []}, "image id 1 comes twice"),
        ({**content(), "annotations": content()["annotations"] * 2}, "annotation id 1 comes twice"),
        ([{"image_id": 1}], "which name no images: give images"),
    ],
)
def test_files_that_are_not_as_they_should_be_are_refused(tmp_path, value, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read_coco(written(tmp_path, value))
    assert "a.json" in str(caught.value)


def test_an_infinite_score_and_a_nan_are_refused_however_they_are_written(tmp_path):
    for score in ("1e999", "NaN", "-Infinity"):
        text = json.dumps(content(annotation__score=0.5)).replace("0.5", score)
        with pytest.raises(DataError, match=r"the score inf|is no number of JSON"):
            read_coco(written(tmp_path, text))


def test_a_missing_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_coco(tmp_path / "missing.json")
    monkeypatch.setattr("tracedge.export.json_records.MAX_JSON_BYTES", 10)
    with pytest.raises(DataError, match="more than the limit of 10: split it"):
        read_coco(written(tmp_path, content()))
    assert MAX_JSON_BYTES > 1 << 30


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        (rle([70], (10, 7)), r"annotation 1 of image 1: .* is of 10 x 7 \(rows x columns\), but its image is 7 x 10"),
        (rle([69], (7, 10)), "annotation 1 of image 1: .* sum to 69"),
        ([[2, 0, 3, 0, "2", 5]], "annotation 1 of image 1: .* finite numbers"),
    ],
)
def test_a_damaged_mask_is_refused_when_it_is_read_with_its_number(tmp_path, segmentation, sentence):
    found = read_coco(written(tmp_path, content(annotation__segmentation=segmentation)))
    with pytest.raises(DataError, match=sentence):
        found.instances(1)


def test_other_tools_files_are_read_with_polygons_lists_and_crowds(tmp_path):
    square = {"id": 5, "image_id": 1, "category_id": 9, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]], "iscrowd": 0}
    crowd = {"id": 6, "image_id": 1, "category_id": 9, "segmentation": rle([7, 63], (7, 10)), "iscrowd": 1}
    speck = {"id": 7, "image_id": 1, "category_id": 9, "segmentation": [[1, 1, 1.1, 1, 1.1, 1.1]]}
    value = content(image__file_name="sub\\a.jpg")
    value["annotations"] += [square, crowd, speck]
    found = read_coco(written(tmp_path, value))
    assert found.images[1].file_name == "sub/a.jpg"
    assert found.instances(1).areas.tolist() == [13, 6]
    assert found.instances(1).scores.tolist() == [1, 1]
    assert found.instances(1).masks[1, 1:3, 1:4].all()
    assert found.truth(1)[1] == (3, 9, 9)  # the speck is an object that nobody finds
    assert found.truth(1)[2].sum(axis=(1, 2)).tolist() == [63]
    with pytest.raises(DataError, match="has no image 2; it has 1"):
        found.instances(2)


def test_an_object_whose_polygons_cover_nothing_is_there_to_be_missed_and_is_no_mask_to_refine(tmp_path):
    value = content()
    for number, polygons in enumerate(([[20, 0, 30, 0, 25, 5]], [[1, 1, 5, 5]], [[1, 1, 5, 5], [1, 1, 4, 1, 4, 3]]), 2):
        value["annotations"].append({"id": number, "image_id": 1, "category_id": number, "segmentation": polygons})
    found = read_coco(written(tmp_path, value))
    objects, classes, _ = found.truth(1)
    assert (classes, objects.areas.tolist()) == ((3, 2, 3, 4), [13, 0, 0, found.instances(1).areas[1]])
    for last in (objects.masks[3], found.instances(1).masks[1]):
        np.testing.assert_array_equal(last, decode([[1, 1, 4, 1, 4, 3]], (7, 10)))


def test_a_crowd_is_marked_by_one_or_true_and_null_is_no_crowd(tmp_path):
    for marked, areas in ((0, [13]), (None, [13]), (False, [13]), (1, []), (True, [])):
        value = content()
        value["annotations"][0]["iscrowd"] = marked
        found = read_coco(written(tmp_path, value))
        assert found.instances(1).areas.tolist() == areas
        assert len(found.truth(1)[2]) == 1 - len(areas)


@pytest.mark.parametrize(
    ("given", "read"), [((0.5, 1.0000001), (0.5, 1)), ((2, 4, 3), (0.5, 1, 0.75)), ((0.5, 0.25), (0.5, 0.25))]
)
def test_scores_above_one_are_divided_by_the_largest_and_keep_their_order(tmp_path, given, read):
    results = [{"image_id": 1, "category_id": 1, "segmentation": encode(two().masks[0]), "score": one} for one in given]
    found = read_coco(written(tmp_path, results), {1: ("a.jpg", None)}).instances(1)
    assert found.scores.tolist() == pytest.approx(read)


@pytest.mark.parametrize(
    "images", [{1: ["a.png"]}, {1: "ab"}, {1: None}, {"1": ("a.png", None)}, {True: ("a.png", None)},
               {1: ("a.png", (7, 10, 3))}, {1: ("a.png", 7)}]
)  # fmt: skip
def test_a_mapping_of_images_of_another_form_is_refused(tmp_path, images):
    write_coco_results(tmp_path / "results.json", [(1, two())])
    with pytest.raises(
        DataError, match=r"is mapped to .*, expected a whole number and \(file name, \(H, W\) or None\)"
    ):
        read_coco(tmp_path / "results.json", images)


def test_results_take_their_images_from_a_second_file_or_a_mapping(tmp_path):
    write_coco_results(tmp_path / "results.json", [(2, two())])
    write_coco(tmp_path / "truth.json", [(1, "empty.jpg", Instances.empty((5, 8))), (2, "a.jpg", two())])
    for images in (tmp_path / "truth.json", {1: ("empty.jpg", (5, 8)), 2: ("a.jpg", None)}):
        found = read_coco(tmp_path / "results.json", images)
        assert_equal(found.instances(2), two(), settings=False)
        assert_equal(found.instances(1), Instances.empty((5, 8)))
    with pytest.raises(DataError, match="has images of its own"):
        read_coco(tmp_path / "truth.json", tmp_path / "truth.json")
    with pytest.raises(DataError, match="relative and without"):
        read_coco(tmp_path / "results.json", {2: ("/a.jpg", None)})
    with pytest.raises(DataError, match="result 1 of the list is of image 2"):
        read_coco(tmp_path / "results.json", {1: ("a.jpg", None)})
    with pytest.raises(DataError, match="whole numbers above 0"):
        read_coco(tmp_path / "results.json", {2: ("a.jpg", (0, 3))})


def test_a_size_that_nothing_says_must_be_given(tmp_path):
    write_coco_results(tmp_path / "results.json", [])
    found = read_coco(tmp_path / "results.json", {1: ("a.jpg", None)})
    with pytest.raises(DataError, match="give image_hw"):
        found.instances(1)
    assert found.instances(1, (5, 8)).shape == (5, 8)


@pytest.mark.parametrize("key", ["score", "segmentation", "image_id"])
def test_a_result_that_lacks_something_is_named_with_its_file(tmp_path, key):
    result = {"image_id": 1, "category_id": 1, "segmentation": encode(two().masks[0]), "score": 0.5}
    results = written(
        tmp_path, [result, {name: value for name, value in result.items() if name != key}], "results.json"
    )
    truth = written(tmp_path, content(), "truth.json")
    said = rf"^{results} is not a list of COCO results: result 2 of the list has no {key}, expected"
    for read in (lambda: read_coco(results, truth), lambda: find_masks(results, truth)):
        with pytest.raises(DataError, match=said):
            read()


def test_a_list_of_results_is_no_truth_and_no_list_of_images(tmp_path):
    results, said = (
        written(tmp_path, [], "results.json"),
        "it is a list, as COCO results are; a truth is an object with lists of",
    )
    for read in (
        lambda: open_dataset(results),
        lambda: open_dataset(written(tmp_path, content()), selection=Selection(ids=results)),
        lambda: read_coco(written(tmp_path, [], "other.json"), results),
        lambda: read_coco(results, only=[1]),
    ):
        with pytest.raises(DataError, match=rf"^{results} is not a COCO file( of instances)?: {said}"):
            read()


def test_a_file_that_is_missing_is_named_once(tmp_path):
    with pytest.raises(DataError, match="cannot be read as JSON") as caught:
        read_coco_images(tmp_path / "truth.json")
    assert str(caught.value).count("truth.json") == 2  # in our sentence, and in the system's


def test_a_result_without_a_score_or_with_a_damaged_mask_is_named(tmp_path):
    result = {"image_id": 1, "category_id": 1, "segmentation": rle([3], (7, 10))}
    with pytest.raises(DataError, match="result 1 of the list has no score"):
        read_coco(written(tmp_path, [result]), {1: ("a.jpg", None)})
    found = read_coco(written(tmp_path, [{**result, "score": 0.5}]), {1: ("a.jpg", None)})
    with pytest.raises(DataError, match=r"result 1 of image 1: .* sum to 3"):
        found.instances(1)
