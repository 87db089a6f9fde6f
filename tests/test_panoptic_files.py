"""COCO panoptic files: equal after a round trip, as COCO's rules have them, and refused where anything is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from instance_masks import a_few
from panoptic_maps import CAT, CATEGORIES, SKY, drawn, panoptic
from tracedge.categories import COCO_PANOPTIC
from tracedge.errors import DataError
from tracedge.export.panoptic import write_panoptic
from tracedge.export.panoptic_reader import read_panoptic
from tracedge.panoptic_map import PanopticMap, Segment

IDS = np.array([[7, 7, 0, 300], [7, 300, 300, 300], [0, 0, 0, 70_000]])


def one():
    return panoptic(IDS, {300: SKY, 7: CAT, 70_000: CAT}, crowds={70_000}, scores={7: 0.1})


def written(root, changed=None):
    """A file of two images, one in a folder of its own; `changed` is called with its content before it is written anew."""
    path = root / "panoptic.json"
    write_panoptic(path, [(5, "a.jpg", one()), (8, "sub/b.jpg", PanopticMap.empty((2, 5)))], CATEGORIES, {"px": 512})
    if changed is not None:
        content = json.loads(path.read_text())
        changed(content)
        path.write_text(json.dumps(content))
    return path


def assert_equal(found, expected):
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert found.segments == expected.segments


def test_what_was_written_is_read_again(tmp_path):
    path = written(tmp_path)
    for found in (read_panoptic(path), read_panoptic(tmp_path)):
        assert (len(found), found.categories, dict(found.settings)) == (2, CATEGORIES, {"px": 512})
        assert [(image.file_name, image.hw) for image in found.images.values()] == [
            ("a.jpg", (3, 4)),
            ("sub/b.jpg", (2, 5)),
        ]
        assert_equal(found.read(5), one())
        assert_equal(found.read(8, (2, 5)), PanopticMap.empty((2, 5)))
        assert dict(found.read(5).settings) == {"px": 512}


@a_few
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9))
def test_any_map_is_read_again(tmp_path, seed, height, width):
    ours = drawn(np.random.default_rng(seed), (height, width), crowds=True)
    write_panoptic(tmp_path / "any.json", [(0, "a.png", ours)], CATEGORIES)
    assert_equal(read_panoptic(tmp_path / "any.json").read(0), ours)


def broken_rules(path):
    """What COCO's format description asks of a panoptic file and this one does not do; written without our reader."""
    content = json.loads(path.read_text())
    known = {entry["id"] for entry in content["categories"] if entry["isthing"] in (0, 1) and entry["name"]}
    images = {entry["id"]: entry for entry in content["images"]}
    said = []
    for entry in content["annotations"]:
        image = images[entry["image_id"]]
        with Image.open(path.parent / path.stem / entry["file_name"]) as picture:
            said += ["mode"] * (picture.mode != "RGB" or picture.format != "PNG")
            said += ["size"] * (picture.size != (image["width"], image["height"]))
            colours = (
                list(picture.getdata())
                if not hasattr(picture, "get_flattened_data")
                else [*picture.get_flattened_data()]
            )
        ids = [red + 256 * green + 256 * 256 * blue for red, green, blue in colours]
        segments = {part["id"]: part for part in entry["segments_info"]}
        said += ["ids"] * (set(ids) - {0} != set(segments) or len(segments) != len(entry["segments_info"]))
        for number, part in segments.items():
            places = [divmod(place, image["width"]) for place, value in enumerate(ids) if value == number]
            rows, columns = zip(*places, strict=True)
            box = [min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1]
            said += ["area"] * (part["area"] != len(places)) + ["bbox"] * (part["bbox"] != box)
            said += ["category"] * (part["category_id"] not in known) + ["crowd"] * (part["iscrowd"] not in (0, 1))
    said += ["annotations"] * (sorted(images) != sorted(entry["image_id"] for entry in content["annotations"]))
    return said


@settings(deadline=None, max_examples=10, suppress_health_check=a_few.suppress_health_check)
@given(st.integers(0, 2**32))
def test_files_follow_the_format(tmp_path, seed):
    rng = np.random.default_rng(seed)
    maps = [drawn(rng, (int(rng.integers(1, 9)), int(rng.integers(1, 9))), crowds=True) for _ in range(3)]
    write_panoptic(tmp_path / "x.json", ((i, f"{i}.jpg", part) for i, part in enumerate(maps)), CATEGORIES)
    assert broken_rules(tmp_path / "x.json") == []


def test_a_box_is_x_y_width_height_and_a_crowd_is_said(tmp_path):
    content = json.loads(written(tmp_path).read_text())
    assert content["annotations"][0] == {
        "image_id": 5,
        "file_name": "a.png",
        "segments_info": [
            {"id": 300, "category_id": 187, "iscrowd": 0, "area": 4, "bbox": [1, 0, 3, 2]},
            {"id": 7, "category_id": 1, "iscrowd": 0, "area": 3, "bbox": [0, 0, 2, 2], "score": 0.1},
            {"id": 70_000, "category_id": 1, "iscrowd": 1, "area": 1, "bbox": [3, 2, 1, 1]},
        ],
    }
    assert content["images"][1] == {"id": 8, "file_name": "sub/b.jpg", "width": 5, "height": 2}
    assert content["categories"][3] == {"id": 155, "name": "sea", "isthing": 0}


def test_equal_input_gives_equal_bytes_and_one_failure_leaves_no_json(tmp_path):
    before = written(tmp_path / "a").read_bytes()
    assert written(tmp_path / "b").read_bytes() == before
    with pytest.raises(DataError, match=r"the image 'a\.png' comes twice"):
        write_panoptic(tmp_path / "a" / "panoptic.json", [(1, "a.jpg", one()), (2, "a.png", one())], CATEGORIES)
    assert sorted(entry.name for entry in (tmp_path / "a").iterdir()) == ["panoptic"]
    assert sorted(entry.name for entry in (tmp_path / "a" / "panoptic").iterdir()) == ["a.png", "sub"]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ((5, "../a.jpg", one()), r"relative and without '\.\.', got '\.\./a\.jpg'"),
        ((5, "/a.jpg", one()), r"relative and without '\.\.', got '/a\.jpg'"),
        ((-1, "a.jpg", one()), "a whole number from 0, got -1"),
        (
            (5, "a.jpg", panoptic(IDS, dict.fromkeys((7, 300, 70_000), COCO_PANOPTIC[5]))),
            "thing of category 6; there is no",
        ),
        ((5, "a.jpg", PanopticMap(np.ones((1, 1), int), (Segment(1, 1, False),))), "stuff of category 1; there is no"),
    ],
)
def test_what_a_file_cannot_hold_is_not_written(tmp_path, image, sentence):
    with pytest.raises(DataError, match=sentence):
        write_panoptic(tmp_path / "x.json", [image], CATEGORIES)
    assert list(tmp_path.iterdir()) == []


def first(content):
    return content["annotations"][0]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (lambda c: c.pop("annotations"), "expected an object with a list of annotations"),
        (lambda c: c.pop("images"), "expected an object with a list of images"),
        (lambda c: c.pop("categories"), "expected an object with a list of categories"),
        (lambda c: c["images"].append(c["images"][0]), "image id 5 comes twice"),
        (lambda c: c["images"][0].update(height=0), "image 5 is of height 0 and width 4"),
        (lambda c: c["images"][0].update(file_name="../a.jpg"), r"without '\.\.'"),
        (
            lambda c: c["categories"].append(c["categories"][0]),
            r"the category id 1 comes twice: 'cat' \(thing\), 'cat' \(thing\)",
        ),
        (lambda c: c["categories"][0].pop("isthing"), "category 1 of the list has no isthing"),
        (lambda c: c["categories"][0].update(isthing=2), "has isthing 2, expected 0 or 1"),
        (
            lambda c: c["categories"][0].update(id=-1),
            "category 1 of the list is -1, 'cat', expected a whole number from 0",
        ),
        (lambda c: c["annotations"].append(first(c)), "image 5 has two annotations"),
        (lambda c: first(c).update(image_id=9), "annotation 1 of the list is of image 9, which is not among the 2"),
        (lambda c: first(c).update(file_name="/a.png"), r"relative and without '\.\.', got '/a\.png'"),
        (lambda c: first(c).update(file_name="sub/../../a.png"), r"without '\.\.'"),
        (lambda c: c["annotations"].append(3), "annotation 3 of the list is int, expected an object"),
        (lambda c: c["annotations"].append({}), "annotation 3 of the list has no image_id"),
        (lambda c: first(c).pop("segments_info"), "annotation 1 of the list has no segments_info"),
        (lambda c: first(c).update(segments_info={}), "a list of segments_info"),
        (
            lambda c: first(c)["segments_info"][0].update(category_id=99),
            "segment 300 of image 5 has the unknown category 99",
        ),
        (
            lambda c: first(c)["segments_info"][0].update(id=0),
            "of image 5: a segment needs a whole number from 1 as id, got 0",
        ),
        (lambda c: first(c)["segments_info"][0].update(id=7), "image 5 has two segments of one id"),
        (lambda c: first(c)["segments_info"][0].update(id="7"), "a segment of image 5 has the id '7'"),
        (lambda c: first(c)["segments_info"][0].update(iscrowd=2), "has iscrowd 2, expected 0 or 1"),
        (lambda c: first(c)["segments_info"][0].update(score=3), r"a score in \[0, 1\]"),
    ],
)
def test_a_file_of_nonsense_is_refused_before_any_png_is_read(tmp_path, changed, sentence):
    with pytest.raises(DataError, match=rf"panoptic\.json is no panoptic file: .*{sentence}"):
        read_panoptic(written(tmp_path, changed))


def test_a_png_that_disagrees_is_refused_when_it_is_read(tmp_path):
    found = read_panoptic(written(tmp_path, lambda content: first(content)["segments_info"].pop()))
    with pytest.raises(DataError, match=r"a\.png and panoptic\.json disagree: .*got 70000 in the map only and none"):
        found.read(5)
    found = read_panoptic(written(tmp_path, lambda content: first(content)["segments_info"][0].update(id=301)))
    with pytest.raises(DataError, match="got 300 in the map only and 301 among the segments only"):
        found.read(5)
    found = read_panoptic(written(tmp_path, lambda content: content["images"][0].update(height=4)))
    with pytest.raises(DataError, match=r"a\.png is 3 x 4 \(rows x columns\), but .*panoptic\.json says 4 x 4"):
        found.read(5)
    found = read_panoptic(written(tmp_path))
    with pytest.raises(DataError, match=r"a\.png is 3 x 4 .* but the image is 4 x 3"):
        found.read(5, (4, 3))
    with pytest.raises(DataError, match="has no image 6; it has 2"):
        found.read(6)
    Image.new("L", (4, 3)).save(tmp_path / "panoptic" / "a.png")
    with pytest.raises(DataError, match="a PNG of mode L, expected 8-bit RGB"):
        found.read(5)
    (tmp_path / "panoptic" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read as a PNG"):
        found.read(5)


def test_no_file_no_json_and_too_large_an_image_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"panoptic\.json cannot be read as JSON"):
        read_panoptic(tmp_path)
    with pytest.raises(DataError, match=r"are a \.json and a folder of its name"):
        read_panoptic(tmp_path / "panoptic.png")
    with pytest.raises(DataError, match="more than the limit of 11"):
        read_panoptic(written(tmp_path), max_pixels=11)


def test_areas_of_the_file_are_not_believed_and_images_without_annotation_are_left_out(tmp_path):
    def changed(content):
        first(content)["segments_info"][0].update(area=99, bbox=[])
        content["annotations"].pop()

    found = read_panoptic(written(tmp_path, changed))
    assert list(found.images) == [5]
    assert_equal(found.read(5), one())


def test_of_a_part_of_a_file_nothing_else_is_looked_at(tmp_path):
    def changed(content):
        content["annotations"][1].update(segments_info="damaged", file_name="../b.png")
        content["annotations"].append(content["annotations"][1])

    path = written(tmp_path, changed)
    (tmp_path / "panoptic").rename(tmp_path / "elsewhere")
    found = read_panoptic(path, folder=tmp_path / "elsewhere", only=[5, 77])
    assert (list(found.images), dict(found.settings), found.categories) == ([5], {"px": 512}, CATEGORIES)
    assert_equal(found.read(5), one())
    with pytest.raises(DataError, match="has no image 8; it has 1"):
        found.read(8)
    with pytest.raises(DataError, match="is relative and without"):
        read_panoptic(path, only=[8])


def test_a_list_of_results_is_told_from_a_panoptic_file(tmp_path):
    (tmp_path / "panoptic.json").write_text("[]")
    with pytest.raises(
        DataError, match=r"panoptic\.json is no panoptic file: it is a list, as COCO results are; a truth"
    ):
        read_panoptic(tmp_path)


def test_a_prediction_may_leave_images_and_categories_to_its_truth(tmp_path):
    def bare(content):
        for name in ("images", "categories", "info"):
            content.pop(name)

    path = written(tmp_path, bare)
    with pytest.raises(DataError, match="a list of categories"):
        read_panoptic(path)
    with pytest.raises(DataError, match="a list of images"):
        read_panoptic(written(tmp_path / "other", lambda content: content.update(images={})), CATEGORIES)
    found = read_panoptic(path, CATEGORIES)
    assert_equal(found.read(5), one())
    assert {number: image.file_name for number, image in found.images.items()} == {5: "a.png", 8: "sub/b.png"}
    assert found.categories == CATEGORIES


def test_what_maps_depend_on_is_their_json_and_their_pngs(tmp_path):
    path = written(tmp_path)
    found = read_panoptic(path)
    before, other = found.content([5]), (tmp_path / "panoptic" / "sub" / "b.png")
    other.write_bytes(b"another image")
    assert found.content([5]) == before != found.content([5, 8])
    path.write_text(path.read_text() + " ")
    assert found.content([5]) != before
    other.unlink()
    with pytest.raises(DataError, match=r"b\.png cannot be read"):
        found.content([8])
