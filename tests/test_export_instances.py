"""Instances as label PNG, npz, for Label Studio and as GeoJSON: read back by us and by others."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from scipy import ndimage

from instance_masks import a_few, any_instances, any_masks, assert_equal, two
from tracedge.errors import DataError
from tracedge.export.geojson import instances_geojson, outlines, write_geojson
from tracedge.export.label_studio import BrushTags, brush_rle, label_studio_task, write_label_studio
from tracedge.export.labels import read_instances, read_labels, write_instances, write_labels
from tracedge.instances import Instances

NONE = Instances.empty((5, 8))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


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
