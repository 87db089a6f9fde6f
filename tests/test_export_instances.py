"""Instances on disk, format by format: read back by us and by the programs that the formats belong to."""

import contextlib
import io
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as reference
from pycocotools.coco import COCO
from scipy import ndimage

from instance_masks import a_few, any_instances, any_masks, assert_equal, blobs, supervision, two
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco import coco_records, write_coco, write_coco_results
from tracedge.export.coco_reader import read_coco
from tracedge.export.geojson import instances_geojson, outlines, write_geojson
from tracedge.export.label_studio import BrushTags, brush_rle, label_studio_task, write_label_studio
from tracedge.export.labels import read_instances, read_labels, write_instances, write_labels
from tracedge.export.rle import decode, encode
from tracedge.export.yolo import write_yolo, write_yolo_yaml, yolo_lines
from tracedge.instances import Instances, pairwise_iou
from tracedge.visualize import instance_colours, instances_overlay

NONE = Instances.empty((5, 8))
numpy_of_pycocotools = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# --- COCO's run-length encoding ---------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("mask", [np.zeros((2, 3)), np.zeros((1, 2, 3), bool), np.zeros((0, 3), bool), [[True]]])
def test_what_is_no_mask_is_not_encoded(mask):
    with pytest.raises(DataError, match=r"bool array \(H, W\)"):
        encode(mask)


# --- COCO files -------------------------------------------------------------------------------------------------------


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
    assert back.classes(1) == (1, 1, 1, 1)


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


# --- labels and npz ---------------------------------------------------------------------------------------------------


def test_a_label_png_is_read_by_others_and_by_us(tmp_path):
    write_labels(tmp_path / "a.png", two())
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.size) == ("I;16", (10, 7))
        np.testing.assert_array_equal(np.asarray(picture), two().to_labels())
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png").to_labels(), two().to_labels())


def test_more_than_255_labels_come_back(tmp_path):
    many = Instances(np.eye(300, dtype=bool).reshape(300, 20, 15))
    write_labels(tmp_path / "a.png", many)
    assert_equal(read_labels(tmp_path / "a.png"), many)


def test_none_is_a_black_picture_of_the_same_size(tmp_path):
    write_labels(tmp_path / "a.png", NONE)
    assert_equal(read_labels(tmp_path / "a.png"), NONE)


@settings(a_few, max_examples=12)
@given(any_instances())
def test_npz_gives_everything_back(tmp_path, found):
    write_instances(tmp_path / "a.npz", found)
    assert_equal(read_instances(tmp_path / "a.npz"), found)


def test_numpy_alone_reads_the_npz_without_pickle(tmp_path):
    write_instances(tmp_path / "a.instances.npz", two())
    assert names(tmp_path) == ["a.instances.npz"]
    with np.load(tmp_path / "a.instances.npz", allow_pickle=False) as arrays:
        count, height, width = arrays["shape"]
        masks = np.unpackbits(arrays["packed_masks"], axis=1, count=height * width).reshape(count, height, width)
        np.testing.assert_array_equal(masks, two().masks)
        assert str(arrays["settings"]) == '{"model":"mini"}'


# --- YOLO -------------------------------------------------------------------------------------------------------------


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
    assert lines == ['train: "my: images"', 'val: "no"', "names:", '  0: "größe"', '  1: "yes"']


# --- Label Studio -----------------------------------------------------------------------------------------------------


def brush_values(rle):
    """What the bits say, read one after the other as the format is described."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def take(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < count:
        repeats, which = take(1), take(2)
        length = take(sizes[which]) + 1
        values += [take(word)] * length if repeats else [take(word) for _ in range(length)]
    assert len(values) == count
    assert len(bits) - place < 8
    assert set(bits[place:]) <= {"0"}
    return np.array(values, np.uint8)


def assert_brush(mask):
    rle = brush_rle(mask)
    assert all(type(byte) is int and 0 <= byte <= 255 for byte in rle)
    picture = brush_values(rle).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(picture, np.where(mask, 255, 0)[..., None].repeat(4, axis=2))


@a_few
@given(any_masks())
def test_brush_bits_say_the_mask_in_four_channels(mask):
    assert_brush(mask)


@pytest.mark.parametrize("pixels", [4, 64, 1024, 16_384, 16_385, 40_000])
def test_runs_of_any_length_fit_the_bits(pixels):
    """At the ends of the four lengths, and beyond the longest, where a run becomes several."""
    assert_brush(np.arange(pixels + 3)[None] < pixels)


def test_what_is_no_mask_is_no_brush_region():
    with pytest.raises(DataError, match="bool array"):
        brush_rle(np.zeros((2, 2)))
    with pytest.raises(DataError, match="bool array"):
        brush_rle(np.zeros((2, 0), bool))


def test_a_task_names_the_tags_and_the_size():
    tags = BrushTags(from_name="brush", to_name="photo", label="cell", data_key="url")
    task = label_studio_task(two(), "https://example.org/a.jpg", tags, model_version="1")
    assert task["data"] == {"url": "https://example.org/a.jpg"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.575
    assert prediction["model_version"] == "1"
    first, second = prediction["result"]
    assert first["id"] != second["id"]
    assert (second["original_width"], second["original_height"], second["image_rotation"]) == (10, 7, 0)
    assert (second["from_name"], second["to_name"], second["type"]) == ("brush", "photo", "brushlabels")
    assert second["score"] == 0.9
    assert second["value"] == {"format": "rle", "rle": brush_rle(two().masks[1]), "brushlabels": ["cell"]}


def test_tasks_are_written_one_by_one_with_equal_bytes(tmp_path):
    for name in ("a.json", "b.json"):
        write_label_studio(tmp_path / name, iter([("a.jpg", two()), ("b.jpg", NONE)]))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    tasks = json.loads((tmp_path / "a.json").read_text())
    assert tasks == [label_studio_task(two(), "a.jpg"), label_studio_task(NONE, "b.jpg")]
    assert tasks[1]["predictions"] == [{"model_version": "tracedge", "result": []}]
    write_label_studio(tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text()) == []


# --- GeoJSON ----------------------------------------------------------------------------------------------------------


def filled(polygons, shape):
    """Rasterise rings along pixel corners by even and odd: each upright side turns over what is right of it."""
    mask = np.zeros(shape, bool)
    for ring in itertools.chain.from_iterable(polygons):
        for (x, y), (_, down) in itertools.pairwise(ring):
            mask[min(y, down) : max(y, down), x:] ^= True
    return mask


def area(ring):
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in itertools.pairwise(ring)) / 2


@a_few
@given(any_masks())
def test_outlines_filled_again_are_exactly_the_mask(mask):
    polygons = outlines(mask)
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    assert len(polygons) == ndimage.label(mask)[1]
    assert sum(area(ring) for polygon in polygons for ring in polygon) == mask.sum()
    for outer, *holes in polygons:
        assert area(outer) > 0
        assert all(area(hole) < 0 for hole in holes)
        for ring in (outer, *holes):
            assert ring[0] == ring[-1]
            assert len(ring) >= 5
            assert len(set(map(tuple, ring))) == len(ring) - 1  # no corner is passed twice


def test_a_cavity_that_meets_the_outside_in_a_corner_is_a_hole():
    mask = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0]], bool)  # meets it at x, y = 2, 2
    ((outer, hole),) = outlines(mask)
    assert hole == [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]] or area(hole) == -1
    assert area(outer) == 8


def test_features_are_polygons_or_several_with_their_numbers(tmp_path):
    found = instances_geojson(two())
    first, second = found["features"]
    assert (first["geometry"]["type"], second["geometry"]["type"]) == ("MultiPolygon", "Polygon")
    assert second["properties"] == {"id": 2, "score": 0.9, "area": 24}
    assert len(second["geometry"]["coordinates"]) == 2
    assert found["settings"] == {"model": "mini"}
    write_geojson(tmp_path / "a.geojson", two())
    assert json.loads((tmp_path / "a.geojson").read_text()) == found
    assert instances_geojson(NONE)["features"] == []
    with pytest.raises(DataError, match="bool"):
        outlines(np.zeros((2, 2)))


# --- the overlay ------------------------------------------------------------------------------------------------------


def test_the_overlay_colours_instances_alike_twice_and_leaves_the_rest():
    photo = np.full((61, 90, 3), 100, np.uint8)
    found = blobs(3)
    drawn = instances_overlay(photo, found)
    assert drawn.dtype == np.uint8
    assert drawn.shape == photo.shape
    np.testing.assert_array_equal(drawn, instances_overlay(photo, found))
    outside = ndimage.binary_dilation(found.masks.any(axis=0), iterations=3)
    assert (drawn[~outside] == 100).all()
    assert (drawn[found.masks.any(axis=0)] != 100).any(axis=1).mean() > 0.95


def test_the_number_stands_inside_white_on_black_whatever_the_photo():
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 5:35, 5:55] = True
    for shade in (0, 255):
        drawn = instances_overlay(np.full((40, 60, 3), shade, np.uint8), Instances(mask))
        inside = drawn[10:30, 20:40].reshape(-1, 3)
        assert (inside > 230).all(axis=1).sum() > 3
        assert (inside < 25).all(axis=1).sum() > 10


def test_numbers_at_the_border_are_moved_into_the_picture():
    drawn = {}
    for place in ((20, 30), (0, 0), (39, 59)):
        mask = np.zeros((1, 40, 60), bool)
        mask[0][place] = True
        picture = instances_overlay(np.full((40, 60, 3), 90, np.uint8), Instances(mask))
        drawn[place] = (picture < 45).all(axis=2).sum()  # of the black rim
    assert drawn[20, 30] > 15
    assert all(abs(count - drawn[20, 30]) <= 2 for count in drawn.values())


def test_colours_of_numbers_that_follow_each_other_are_far_apart():
    colours = instance_colours(60).astype(int)
    assert colours[0].tolist() == [0, 0, 0]
    assert len(set(map(tuple, colours.tolist()))) == 61
    for apart in (1, 2, 3):
        assert np.abs(colours[apart:] - colours[:-apart]).sum(axis=1).min() > 100
    assert instance_colours(0).shape == (1, 3)


def test_an_overlay_of_none_is_the_photo_and_of_another_size_an_error():
    photo = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(instances_overlay(photo, NONE), photo)
    with pytest.raises(DataError, match=r"expected an image of uint8 \(5, 8, 3\), got uint8 \(8, 5, 3\)"):
        instances_overlay(photo.transpose(1, 0, 2), NONE)
