"""Panoptic maps: ids and segments agree, or are refused; colours and back; boxes and areas are counted."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_maps import CAT, SKY, drawn, panoptic
from tracedge.categories import COCO_PANOPTIC, VOC_PANOPTIC, Category, by_id
from tracedge.errors import DataError
from tracedge.panoptic_map import MAX_ID, PanopticMap, Segment, ids_from_rgb

IDS = np.array([[7, 7, 0, 300], [7, 300, 300, 300], [0, 0, 0, 70_000]])
NAMED = {300: SKY, 7: CAT, 70_000: CAT}


def test_areas_and_boxes_are_those_of_the_pixels_in_the_order_of_the_segments():
    ours = panoptic(IDS, NAMED)
    assert [one.id for one in ours.segments] == [300, 7, 70_000]
    assert [one.area for one in ours.segments] == [4, 3, 1]
    assert ours.boxes.tolist() == [[0, 1, 2, 4], [0, 0, 2, 2], [2, 3, 3, 4]]
    assert ours.places().tolist() == [[2, 2, 0, 1], [2, 1, 1, 1], [0, 0, 0, 3]]
    assert (ours.shape, len(ours), ours.ids.dtype) == ((3, 4), 3, np.int32)


def test_a_colour_is_red_then_green_then_blue():
    rgb = panoptic(IDS, NAMED).to_rgb()
    assert (rgb.dtype, rgb.shape) == (np.uint8, (3, 4, 3))
    assert rgb[0, 0].tolist() == [7, 0, 0]
    assert rgb[0, 3].tolist() == [44, 1, 0]
    assert rgb[2, 3].tolist() == [112, 17, 1]
    assert rgb[2, 0].tolist() == [0, 0, 0]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9))
def test_colours_give_the_same_map_back(seed, height, width):
    ours = drawn(np.random.default_rng(seed), (height, width), crowds=True)
    again = PanopticMap.from_rgb(ours.to_rgb(), ours.segments)
    np.testing.assert_array_equal(again.ids, ours.ids)
    assert again.segments == ours.segments
    for number, (top, left, bottom, right) in zip(ours.segments, ours.boxes, strict=True):
        rows, columns = np.nonzero(ours.ids == number.id)
        assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == (top, left, bottom, right)
        assert len(rows) == number.area


def test_the_largest_id_is_white():
    white = np.full((1, 2, 3), 255, np.uint8)
    assert ids_from_rgb(white).tolist() == [[MAX_ID, MAX_ID]]
    assert PanopticMap.from_rgb(white, [Segment(MAX_ID, 1, True)]).to_rgb().min() == 255


def test_a_map_is_its_own_and_can_be_sent():
    ids = IDS.copy()
    ours = PanopticMap(ids, panoptic(IDS, NAMED).segments, {"model": "mini"})
    ids[:] = 7
    assert ours.ids[0, 2] == 0
    with pytest.raises(ValueError, match="read-only"):
        ours.ids[0, 0] = 1
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301  # of our own making
        np.testing.assert_array_equal(again.ids, ours.ids)
        assert (again.segments, dict(again.settings)) == (ours.segments, {"model": "mini"})


def test_all_of_an_empty_map_is_void():
    empty = PanopticMap.empty((2, 3))
    assert (empty.shape, len(empty), empty.boxes.shape, empty.to_rgb().max()) == ((2, 3), 0, (0, 4), 0)


@pytest.mark.parametrize(
    ("ids", "segments", "sentence"),
    [
        ([[1, 2]], [Segment(1, 1, True)], "got 2 in the map only and none among the segments only"),
        (
            [[1, 0]],
            [Segment(1, 1, True), Segment(9, 1, True)],
            "got none in the map only and 9 among the segments only",
        ),
        ([[1, 2, 3, 4, 5]], [], "got 1, 2, 3 and 2 more in the map only"),
        ([[1, 1]], [Segment(1, 1, True), Segment(1, 2, True)], "each id once among its segments, got 1 twice"),
        ([[1, 1]], [Segment(1, 1, True, area=3)], "the segment 1 covers 2 pixels of its map, not 3"),
        ([[1, 1]], [{"id": 1}], r"a tuple of Segment, got \['dict'\]"),
        ([[-1, 1]], [], r"ids in 0\.\.16777215, got -1\.\.1"),
        ([[0, 1 << 24]], [], r"ids in 0\.\.16777215, got 0\.\.16777216"),
        ([1, 1], [], r"integer array \(H, W\) with at least one pixel, got int64 \(2,\)"),
        ([[0.5]], [], "got float64"),
        (np.zeros((0, 4), int), [], r"got int64 \(0, 4\)"),
    ],
)
def test_a_map_and_segments_that_disagree_are_refused(ids, segments, sentence):
    with pytest.raises(DataError, match=sentence):
        PanopticMap(np.asarray(ids), tuple(segments))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"id": 0}, "a whole number from 1 as id, got 0"),
        ({"id": 1.0}, "as id, got 1.0"),
        ({"id": True}, "as id, got True"),
        ({"id": MAX_ID + 1}, "an id up to 16777215, which a colour can hold"),
        ({"category_id": -1}, "a whole number from 0 as category_id, got -1"),
        ({"category_id": "1"}, "as category_id, got '1'"),
        ({"isthing": 1}, "True or False as isthing, got 1"),
        ({"iscrowd": None}, "True or False as iscrowd, got None"),
        ({"score": 1.5}, r"a score in \[0, 1\] or None, got 1.5"),
        ({"score": float("nan")}, "got nan"),
        ({"score": "1"}, "got '1'"),
        ({"area": 0}, "a whole number from 1 as area, got 0"),
    ],
)
def test_a_segment_that_says_nonsense_is_refused(changed, sentence):
    with pytest.raises(DataError, match=sentence):
        Segment(**({"id": 1, "category_id": 1, "isthing": True} | changed))


def test_colours_of_another_kind_are_refused():
    with pytest.raises(DataError, match=r"uint8 \(H, W, 3\), got uint8 \(2, 2, 4\)"):
        ids_from_rgb(np.zeros((2, 2, 4), np.uint8))
    with pytest.raises(DataError, match=r"got int64 \(2, 2, 3\)"):
        ids_from_rgb(np.zeros((2, 2, 3), int))


def test_coco_has_80_things_and_53_stuff_and_voc_20_things_and_the_background():
    assert [sum(one.isthing for one in table) for table in (COCO_PANOPTIC, VOC_PANOPTIC)] == [80, 20]
    assert [len(table) for table in (COCO_PANOPTIC, VOC_PANOPTIC)] == [133, 21]
    known = by_id(COCO_PANOPTIC)
    assert (known[90].name, known[92].name, known[200].name) == ("toothbrush", "banner", "rug-merged")
    assert not {12, 26, 91, 183} & set(known)
    assert max(one.id for one in COCO_PANOPTIC if one.isthing) < min(one.id for one in COCO_PANOPTIC if not one.isthing)
    assert by_id(VOC_PANOPTIC)[0] == Category(0, "background", False)
    with pytest.raises(DataError, match=r"the category id 1 comes twice: 'person' \(thing\), 'aeroplane' \(thing\)"):
        by_id([COCO_PANOPTIC[0], VOC_PANOPTIC[1]])
