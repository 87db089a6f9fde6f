"""Masks that strangers wrote: found by name, of the image's size, and refused by a sentence where anything is wrong."""

import json
import math
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_files import saved
from instance_masks import a_few, assert_equal, blobs, two
from tracedge.errors import DataError
from tracedge.export.coco import write_coco, write_coco_results
from tracedge.export.coco_reader import MAX_JSON_BYTES, read_coco
from tracedge.export.labels import read_instances, read_labels, write_instances, write_labels
from tracedge.export.rle import decode, encode
from tracedge.instances import Instances
from tracedge.proposals.from_files import find_masks

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
        ([[0, 0, 1, 1]], "at least three corners, got 4 numbers"),
        ([[0, 0, 1, 1, 2, 2, 0]], "at least three corners, got 7 numbers"),
        ([[0, 0, 1, 1, 2, "2"]], "finite numbers"),
        ([[0, 0, 1, 1, 2, math.nan]], "finite numbers"),
        ([[0, 0, 1, 1, 2, math.inf]], "finite numbers"),
        ([[0, 0, 1, 1, 2, 1e300]], "finite numbers"),
        ([0, 0, 1, 1, 2, 2], "a polygon is a list .* got int"),
        ([[0, 0, 5, 0, 2, 2]], "outside of its image, which is 2 x 3"),
        ([[0, 0, 3, 4, 2, 2]], "outside of its image"),
        ([[-2, 0, 3, 2, 2, 2]], "outside of its image"),
        ([[0, 0, 3, 2] * 50], "more than its image could hold"),
    ],
)
def test_damaged_segmentations_are_refused(segmentation, sentence):
    with pytest.raises(DataError, match=sentence):
        decode(segmentation, (2, 3))


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


# --- COCO files -------------------------------------------------------------------------------------------------------


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
        (content(annotation__score=1.5), r"the score 1.5, expected a number in \[0, 1\]"),
        (content(annotation__score="high"), "the score 'high'"),
        (content(annotation__score=10**400), "the score 1000"),
        (content(annotation__iscrowd=2), "iscrowd 2, expected 0 or 1"),
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
    monkeypatch.setattr("tracedge.export.coco_reader.MAX_JSON_BYTES", 10)
    with pytest.raises(DataError, match="more than the limit of 10: split it"):
        read_coco(written(tmp_path, content()))
    assert MAX_JSON_BYTES > 1 << 30


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        (rle([70], (10, 7)), r"annotation 1 of image 1: .* is of 10 x 7 \(rows x columns\), but its image is 7 x 10"),
        (rle([69], (7, 10)), "annotation 1 of image 1: .* sum to 69"),
        ([[0, 0, 30, 0, 5, 5]], "annotation 1 of image 1: .* outside of its image"),
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
    assert found.classes(1) == (3, 9)
    assert found.instances(1, crowds=True).areas.tolist() == [63]
    with pytest.raises(DataError, match="has no image 2; it has 1"):
        found.instances(2)


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


def test_a_result_without_a_score_or_with_a_damaged_mask_is_named(tmp_path):
    result = {"image_id": 1, "category_id": 1, "segmentation": rle([3], (7, 10))}
    with pytest.raises(DataError, match="result 1 of the list has no score"):
        read_coco(written(tmp_path, [result]), {1: ("a.jpg", None)})
    found = read_coco(written(tmp_path, [{**result, "score": 0.5}]), {1: ("a.jpg", None)})
    with pytest.raises(DataError, match=r"result 1 of image 1: .* sum to 3"):
        found.instances(1)


# --- label maps -------------------------------------------------------------------------------------------------------


def test_label_maps_of_every_depth_are_read(tmp_path):
    labels = np.array([[0, 3, 3], [1, 0, 255]], np.uint8)
    palette = Image.fromarray(labels).convert("L")
    palette = Image.frombytes("P", palette.size, labels.tobytes())
    palette.putpalette(list(range(256)) * 3)
    for name, picture in (("a", Image.fromarray(labels)), ("b", palette), ("c", Image.fromarray(labels.astype("u2")))):
        saved(tmp_path / f"{name}.png", picture)
        assert read_labels(tmp_path / f"{name}.png").areas.tolist() == [1, 2, 1]
    saved(tmp_path / "d.png", Image.fromarray(labels > 0))
    assert read_labels(tmp_path / "d.png").areas.tolist() == [4]


def test_pictures_that_are_no_label_maps_are_refused(tmp_path):
    saved(tmp_path / "rgb.png", np.zeros((2, 3, 3), np.uint8))
    saved(tmp_path / "a.jpg", np.zeros((2, 3), np.uint8)).rename(tmp_path / "jpeg.png")
    write_labels(tmp_path / "cut.png", blobs(3))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    with pytest.raises(DataError, match=r"rgb\.png is a PNG of mode RGB, expected one channel of labels"):
        read_labels(tmp_path / "rgb.png")
    for name in ("jpeg.png", "cut.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a PNG"):
            read_labels(tmp_path / name)
    write_labels(tmp_path / "large.png", blobs(1))
    with pytest.raises(DataError, match="90 x 61 pixels, more than the limit of 100"):
        read_labels(tmp_path / "large.png", max_pixels=100)


# --- npz --------------------------------------------------------------------------------------------------------------


def plain(path, **arrays):
    np.savez(path, **arrays)
    return path


def ours(path, **change):
    fields = {
        "packed_masks": np.array([[0b10100000]], np.uint8),
        "shape": np.array([1, 1, 3]),
        "scores": np.ones(1, np.float32),
        "settings": "{}",
    }
    return plain(path, **{name: value for name, value in {**fields, **change}.items() if value is not None})


def test_a_plain_array_of_another_tool_is_read(tmp_path):
    masks = np.insert(two().masks, 1, False, axis=0)  # the second has no pixel
    found = read_instances(plain(tmp_path / "a.npz", masks=masks))
    np.testing.assert_array_equal(found.masks, two().masks)
    found = read_instances(plain(tmp_path / "a.npz", masks=masks.astype(np.uint8), scores=np.array([0.5, 1, 0.25])))
    assert found.scores.tolist() == [0.5, 0.25]
    assert read_instances(plain(tmp_path / "a.npz", masks=masks[:0])).shape == (7, 10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scores": None}, r"holds \['packed_masks', 'settings', 'shape'\], expected"),
        ({"more": 1}, "expected"),
        ({"shape": np.array([1, 3])}, "three whole numbers"),
        ({"shape": np.array([1.0, 1, 3])}, "three whole numbers"),
        ({"shape": np.array([1, -1, 3])}, "of at least one pixel"),
        ({"shape": np.array([1, 0, 3])}, "of at least one pixel"),
        ({"shape": np.array([70_000, 1, 3])}, r"expected 0\.\.65535"),
        ({"shape": np.array([1, 10**5, 10**5])}, "more than the limit of 100000000 pixels"),
        ({"shape": np.array([60_000, 10**4, 10**4])}, "more than 16 GiB"),
        ({"shape": np.array([2, 1, 3])}, r"expected uint8 \(2, 1\)"),
        ({"packed_masks": np.array([[1.0]])}, "expected uint8"),
        ({"packed_masks": np.zeros(50_000, np.uint8)}, "take 50128 bytes, expected 1"),
        ({"packed_masks": np.zeros((1, 1), np.uint8)}, "not empty"),
        ({"scores": np.array([2.0])}, "finite scores"),
        ({"scores": np.array(["x"])}, "numbers as scores"),
        ({"settings": "[]"}, "settings are list"),
        ({"settings": "{"}, "cannot be read as instances"),
        ({"packed_masks": np.array([[{}]], object)}, "cannot be read as instances: Object arrays"),
    ],
)
def test_npz_files_that_hold_something_else_are_refused(tmp_path, change, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read_instances(ours(tmp_path / "a.npz", **change))
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"masks": np.zeros((2, 3), bool)}, r"masks are bool \(2, 3\), expected"),
        ({"masks": np.zeros((1, 0, 3), bool)}, "expected bool or uint8"),
        ({"masks": np.ones((1, 2, 3))}, "float64"),
        ({"masks": np.full((1, 2, 3), 255, np.uint8)}, "uint8 up to 255, expected 0 and 1"),
        ({"masks": np.ones((1, 2, 3), bool), "scores": np.ones(2)}, "one for each of 1 masks"),
        ({"edges": np.ones((2, 3))}, r"holds \['edges'\], expected"),
    ],
)
def test_plain_arrays_of_another_kind_are_refused(tmp_path, arrays, sentence):
    with pytest.raises(DataError, match=sentence):
        read_instances(plain(tmp_path / "a.npz", **arrays))


def test_an_array_that_claims_more_than_there_is_takes_no_memory(tmp_path):
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += b"{'descr': '|b1', 'fortran_order': False, 'shape': (900000, 900000, 9000)}".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("masks.npy", header)
    with pytest.raises(DataError, match=r"a\.npz cannot be read as instances"):
        read_instances(tmp_path / "a.npz")


def test_missing_foreign_and_truncated_npz_files_are_named(tmp_path):
    write_instances(tmp_path / "cut.npz", two())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("cut.npz", "text.npz", "missing.npz", "one.npy"):
        with pytest.raises(DataError, match=rf"{name} (cannot be read as|holds no) instances"):
            read_instances(tmp_path / name)


@settings(a_few, max_examples=25)
@given(st.data())
def test_damaged_bytes_give_instances_or_a_data_error(tmp_path, data):
    write_instances(tmp_path / "a.npz", two())
    blob = bytearray((tmp_path / "a.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.npz").write_bytes(blob)
    try:
        assert isinstance(read_instances(tmp_path / "a.npz"), Instances)
    except DataError as error:
        assert "a.npz" in str(error)


# --- any tool's masks, by the name of the image -----------------------------------------------------------------------


def binary(path, mask, high=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    return saved(path, mask.astype(np.uint8) * high)


def as_coco(root):
    write_coco(root / "masks.json", [(1, "a.jpg", two()), (2, "none.jpg", Instances.empty((7, 10)))])
    return root / "masks.json"


def as_labels(root):
    write_labels(root / "masks" / "a.png", two())
    write_labels(root / "masks" / "none.png", Instances.empty((7, 10)))
    return root / "masks"


def as_npz(root):
    write_instances(root / "masks" / "a.npz", two())
    write_instances(root / "masks" / "none.npz", Instances.empty((7, 10)))
    return root / "masks"


def as_folders(root):
    for number, mask in zip((2, 10), two().masks, strict=True):
        binary(root / "masks" / "a" / f"mask{number}.png", mask)
    (root / "masks" / "a" / "metadata.csv").write_text("id,area")
    (root / "masks" / "none").mkdir()
    return root / "masks"


@pytest.mark.parametrize("make", [as_coco, as_labels, as_npz, as_folders])
def test_masks_are_found_by_stem_and_by_file_name(tmp_path, make):
    source = find_masks(make(tmp_path))
    assert sorted(source.stems) == ["a", "none"]
    assert len(source) == 2
    for name in ("a", "a.jpg", "a.PNG", "photos/a.jpg"):
        found = source.read(name, (7, 10))
        assert found.shape == (7, 10)
        np.testing.assert_array_equal(found.to_labels() > 0, two().masks.any(axis=0))
    assert len(source.read("none.jpg", (7, 10))) == 0
    with pytest.raises(DataError, match=r"has no masks of b\.jpg; it has those of 2 images, such as a"):
        source.read("b.jpg", (7, 10))


@pytest.mark.parametrize("make", [as_coco, as_labels, as_npz, as_folders])
def test_masks_that_do_not_fit_the_image_are_refused(tmp_path, make):
    with pytest.raises(DataError, match=r"7 x 10 \(rows x columns\).* but the image is 10 x 7"):
        find_masks(make(tmp_path)).read("a", (10, 7))


def test_order_and_scores_are_those_of_the_files(tmp_path):
    for make in (as_coco, as_folders, as_npz):
        (tmp_path / make.__name__).mkdir()
        np.testing.assert_array_equal(find_masks(make(tmp_path / make.__name__)).read("a", (7, 10)).masks, two().masks)
    assert find_masks(tmp_path / "as_coco" / "masks.json").read("a", (7, 10)).scores.tolist() == pytest.approx(
        [0.25, 0.9]
    )


def test_single_files_stand_for_one_image(tmp_path):
    write_labels(tmp_path / "a.instances.png", two())
    write_instances(tmp_path / "b.npz", two())
    assert find_masks(tmp_path / "a.instances.png").stems == ("a",)
    assert_equal(find_masks(tmp_path / "b.npz").read("b.jpg", (7, 10)), two())


def test_our_own_output_folder_is_read_with_its_folders_and_past_its_other_files(tmp_path):
    for stem in ("trips/a", "home/a", "home/b.c"):
        write_labels(tmp_path / f"{stem}.instances.png", two())
        saved(tmp_path / f"{stem}.edges.png", np.zeros((7, 10), np.uint8))
    saved(tmp_path / "over.png", np.zeros((7, 10, 3), np.uint8))
    (tmp_path / ".tracedge-0123456789abcdef.tmp.instances.png").write_text("half")
    source = find_masks(tmp_path)
    assert source.stems == ("home/a", "home/b.c", "trips/a")
    assert source.kind == "label PNGs"
    assert len(source.read("b.c.jpg", (7, 10))) == 2
    assert len(source.read("trips/a.jpg", (7, 10))) == 2
    assert len(source.read("b.c", (7, 10))) == 2
    with pytest.raises(DataError, match=r"masks of 2 images named a\.jpg: home/a, trips/a"):
        source.read("a.jpg", (7, 10))
    with pytest.raises(DataError, match=r"no masks of work/a\.jpg"):
        source.read("work/a.jpg", (7, 10))
    write_instances(tmp_path / "home/a.instances.npz", two())
    assert find_masks(tmp_path).stems == ("home/a",)


def test_results_are_found_with_the_images_of_the_truth(tmp_path):
    write_coco_results(tmp_path / "results.json", [(1, two())])
    source = find_masks(tmp_path / "results.json", as_coco(tmp_path))
    assert len(source.read("a.jpg", (7, 10))) == 2
    assert len(source.read("none.jpg", (7, 10))) == 0
    with pytest.raises(DataError, match="give images"):
        find_masks(tmp_path / "results.json")
    with pytest.raises(DataError, match="for COCO results only"):
        find_masks(as_labels(tmp_path), tmp_path / "masks.json")


def test_unknown_input_is_refused_and_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("no masks")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    for path in (tmp_path / "notes.txt", tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(DataError, match=r"holds no masks: looked for a COCO \.json.*label PNGs.*npz.*binary PNGs"):
            find_masks(path)


def test_several_kinds_and_several_of_one_name_are_refused(tmp_path):
    as_labels(tmp_path)
    as_npz(tmp_path)
    with pytest.raises(DataError, match=r"holds \.npz and \.png: give a folder of one kind"):
        find_masks(tmp_path / "masks")
    write_coco(tmp_path / "a.json", [(1, "a.jpg", two()), (2, "a.png", two())])
    with pytest.raises(DataError, match="two images named a: rename"):
        find_masks(tmp_path / "a.json")


def test_folders_of_other_pictures_are_not_taken_for_images_without_masks(tmp_path):
    as_folders(tmp_path)
    saved(tmp_path / "masks" / "none" / "1.jpg", np.zeros((7, 10), np.uint8))
    with pytest.raises(DataError, match=r"none holds 1\.jpg, expected masks as PNG"):
        find_masks(tmp_path / "masks")


def test_binary_masks_are_of_one_value_and_one_size(tmp_path):
    root = as_folders(tmp_path)
    saved(root / "a" / "mask11.png", np.zeros((7, 10), np.uint8))
    assert len(find_masks(root).read("a", (7, 10))) == 2  # one without a pixel is left out
    saved(root / "a" / "mask12.png", np.arange(70, dtype=np.uint8).reshape(7, 10))
    with pytest.raises(DataError, match=r"mask12\.png has 70 different values, expected 0 and one other"):
        find_masks(root).read("a", (7, 10))
    saved(root / "a" / "mask12.png", np.zeros((10, 7), np.uint8))
    with pytest.raises(DataError, match=r"mask12\.png is 10 x 7 \(rows x columns\), but the image is 7 x 10"):
        find_masks(root).read("a", (7, 10))
    saved(root / "a" / "mask12.png", np.zeros((7, 10, 3), np.uint8))
    with pytest.raises(DataError, match="mode RGB, expected one channel"):
        find_masks(root).read("a", (7, 10))


def test_binary_masks_may_be_one_bit_or_any_value(tmp_path):
    saved(tmp_path / "a.png", two().masks[0])
    for high in (1, 128):
        binary(tmp_path / "masks" / "a" / f"{high}.png", two().masks[0], high)
    (tmp_path / "a.png").rename(tmp_path / "masks" / "a" / "bits.png")
    assert find_masks(tmp_path / "masks").read("a", (7, 10)).areas.tolist() == [13, 13, 13]


def test_provenance_is_of_the_content_and_not_of_the_place(tmp_path):
    sources = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        sources.append(find_masks(as_labels(tmp_path / place)))
    assert sources[0].provenance == sources[1].provenance
    assert sources[0].provenance["kind"] == "label PNGs"
    json.dumps(sources[0].provenance)
    write_labels(tmp_path / "two" / "masks" / "a.png", two()[:1])
    assert find_masks(tmp_path / "two" / "masks").provenance["content"] != sources[0].provenance["content"]
    assert find_masks(as_coco(tmp_path)).provenance["name"] == "masks.json"
