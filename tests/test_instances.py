"""Instances: what is refused, and what every way of taking them apart and together keeps."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instance_masks import a_few, any_instances, any_masks, assert_equal, blobs, supervision, two
from tracedge.errors import DataError
from tracedge.instances import MAX_LABELS, Instances, pairwise_intersections, pairwise_iou

ONE = np.ones((1, 2, 3), bool)


@pytest.mark.parametrize(
    ("masks", "sentence"),
    [
        (ONE[0], r"bool array \(K, H, W\).*got bool \(2, 3\)"),
        (ONE.astype(np.uint8), r"got uint8 \(1, 2, 3\)"),
        (np.zeros((1, 0, 3), bool), r"at least one pixel each, got bool \(1, 0, 3\)"),
        (ONE.tolist(), "got list"),
        (np.concatenate([ONE, ~ONE]), r"not empty, got nothing in number 1 \(of 2\)"),
    ],
)
def test_masks_of_another_kind_are_refused(masks, sentence):
    with pytest.raises(DataError, match=sentence):
        Instances(masks)


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ([0.1, 0.2], r"one score for each of 1 masks, got scores of shape \(2,\)"),
        (0.5, r"of shape \(\)"),
        ([1.5], r"finite scores in \[0, 1\], got 1.5..1.5"),
        ([-0.1], "finite scores"),
        ([np.nan], "finite scores"),
        ([1e300], "finite scores"),
        (["much"], "numbers as scores"),
    ],
)
def test_scores_of_another_kind_are_refused(scores, sentence):
    with pytest.raises(DataError, match=sentence):
        Instances(ONE, scores)


def test_settings_that_json_cannot_hold_are_refused():
    with pytest.raises(DataError, match="JSON's types"):
        Instances(ONE, settings={"size": np.ones(2)})


def test_nobody_changes_them_afterwards():
    masks, settings = ONE.copy(), {"px": 512}
    made = Instances(masks, settings=settings)
    masks[:] = False
    settings["px"] = 1024
    assert made.masks.all()
    assert made.settings["px"] == 512
    for array in (made.masks, made.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    with pytest.raises(TypeError):
        made.settings["px"] = 1


def test_scores_are_one_unless_given():
    assert Instances(ONE).scores.tolist() == [1]
    assert Instances(ONE).scores.dtype == np.float64


@a_few
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9))
def test_scores_of_float32_are_their_shortest_decimals_in_the_same_order(given_scores):
    short = np.array(given_scores, np.float32)
    made = Instances(np.repeat(ONE, len(short), axis=0), short)
    np.testing.assert_array_equal(made.scores.astype(np.float32), short)
    assert [repr(score) for score in made.scores.tolist()] == [repr(float(str(score))) for score in short]
    np.testing.assert_array_equal(np.argsort(made.scores, kind="stable"), np.argsort(short, kind="stable"))
    assert_equal(Instances(made.masks, made.scores), made)


def test_scores_that_float32_would_make_equal_stay_apart():
    near = 0.9 + 1e-9 * np.arange(5)
    made = Instances(np.repeat(ONE, 5, axis=0), near)
    assert made.scores.tolist() == near.tolist() and len(set(made.scores.astype(np.float32).tolist())) == 1
    assert Instances.merge([made, made[1:3]]).sorted().scores.tolist() == sorted([*near, *near[1:3]], reverse=True)


def test_none_at_all_has_a_size_all_the_same():
    none = Instances.empty((5, 8), {"px": 512})
    assert (len(none), none.shape, none.settings["px"]) == (0, (5, 8), 512)
    assert none.boxes.shape == (0, 4)
    assert none.inner_points.shape == (0, 2)
    assert none.to_sam() == []
    assert none.to_labels().shape == (5, 8)
    assert not none.to_labels().any()
    assert len(none.sorted()) == len(none.non_overlapping()) == 0
    with pytest.raises(DataError, match="at least one pixel"):
        Instances.empty((0, 8))


def test_areas_and_boxes_are_rows_before_columns():
    found = two()
    assert found.areas.tolist() == [13, 24]
    assert found.boxes.tolist() == [[1, 0, 7, 10], [2, 3, 7, 8]]


def test_parts_keep_masks_scores_and_settings():
    found = blobs(5)
    assert [float(one.scores[0]) for one in found] == found.scores.tolist()
    assert_equal(found[1], Instances(found.masks[1:2], found.scores[1:2]))
    assert_equal(found[-2:], Instances(found.masks[3:], found.scores[3:]))
    assert_equal(found[[4, 0]], Instances(found.masks[[4, 0]], found.scores[[4, 0]]))
    assert_equal(found[found.areas > found.areas.min()], found[np.flatnonzero(found.areas > found.areas.min())])
    assert len(found[[]]) == 0
    assert two()[0].settings["model"] == "mini"
    with pytest.raises(IndexError):
        found[5]


def test_merge_puts_one_after_the_other():
    found = blobs(3)
    assert_equal(Instances.merge([found[:1], found[:0], found[1:]]), found)
    with pytest.raises(DataError, match="nothing to merge"):
        Instances.merge([])
    with pytest.raises(DataError, match=r"different sizes cannot be merged: \[\(7, 10\), \(61, 90\)\]"):
        Instances.merge([found, two()])


def test_sorted_is_by_score_then_size_then_place():
    masks = np.zeros((4, 2, 3), bool)
    masks[[0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 0, 1]] = True
    masks[2] = True
    found = Instances(masks, [0.5, 0.5, 0.5, 0.9]).sorted()
    np.testing.assert_array_equal(found.masks, masks[[3, 2, 0, 1]])


def test_a_shared_pixel_goes_to_the_higher_score_and_small_rests_are_dropped():
    found = two()
    apart = found.non_overlapping()
    assert apart.areas.tolist() == [11, 24]
    assert not apart.masks[0, 2, 3]
    assert apart.settings == found.settings
    assert len(found.non_overlapping(min_area=12)) == 1
    inside = Instances(np.stack([np.ones((2, 3), bool), np.eye(2, 3, dtype=bool)]))
    assert inside.non_overlapping().areas.tolist() == [4, 2]  # of equal scores the smaller


def test_labels_show_the_higher_score():
    labels = two().to_labels()
    assert labels.dtype == np.uint16
    assert labels[2, 3] == 2
    assert labels[1, 3] == 1
    assert labels[4, 5] == 0


def test_more_instances_than_a_label_map_holds_are_refused():
    with pytest.raises(DataError, match="65536 instances do not fit"):
        Instances(np.ones((MAX_LABELS + 1, 1, 1), bool)).to_labels()


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.zeros((2, 2)), "integer array"),
        (np.zeros((2, 2, 1), int), "integer array"),
        (np.zeros((0, 2), int), "integer array"),
        ([[0, 1]], "got list"),
        (np.array([[-1, 2]]), "labels from 0, got -1"),
    ],
)
def test_what_is_no_label_map_is_refused(labels, sentence):
    with pytest.raises(DataError, match=sentence):
        Instances.from_labels(labels)


def test_labels_with_gaps_give_one_instance_each_with_its_score():
    found = Instances.from_labels(np.array([[0, 7, 7], [300, 0, 7]], np.uint16), [0.5, 0.25])
    assert found.areas.tolist() == [3, 1]
    assert found.scores.tolist() == [0.5, 0.25]
    with pytest.raises(DataError, match="one score for each"):
        Instances.from_labels(np.array([[1, 2]]), [0.5])


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))])  # noqa: S301
def test_a_copy_is_equal(copied):
    assert_equal(copied(two()), two())
    assert_equal(copied(Instances.empty((3, 2))), Instances.empty((3, 2)))


def test_supervision_reads_them_as_those_of_sam():
    found = two()
    detections = supervision.Detections.from_sam(sam_result=found.to_sam())
    assert detections.xyxy.tolist() == [[3, 2, 8, 7], [0, 1, 10, 7]]  # the larger first
    np.testing.assert_array_equal(detections.mask, found.masks[[1, 0]])


def test_sam_records_are_of_plain_numbers_and_their_point_lies_inside():
    for record in blobs(6).to_sam():
        ((x, y),) = record["point_coords"]
        assert record["segmentation"][y, x]
        assert type(record["area"]) is type(x) is int
        assert type(record["predicted_iou"]) is float
        assert record["crop_box"] == [0, 0, 90, 61]


def test_the_inner_point_is_far_from_the_border():
    masks = np.zeros((1, 9, 15), bool)
    masks[0, 2:7, 0:9] = masks[0, 0, :] = True
    assert Instances(masks).inner_points.tolist() == [[4, 4]]


@a_few
@given(any_instances())
def test_any_instances_come_apart_and_together(found):
    assert_equal(Instances.merge([*found, found[:0]]), found)
    apart = found.non_overlapping()
    assert apart.masks.sum(axis=0).max(initial=0) <= 1
    np.testing.assert_array_equal(apart.masks.any(axis=0), found.masks.any(axis=0))
    labels = found.to_labels()
    np.testing.assert_array_equal(labels > 0, found.masks.any(axis=0))
    assert_equal(Instances.from_labels(apart.to_labels(), apart.scores), apart, settings=False)
    for number, (row, column) in enumerate(found.inner_points):
        assert found.masks[number, row, column]


@a_few
@given(any_masks())
def test_boxes_hold_the_mask_and_no_more(mask):
    if mask.any():
        top, left, bottom, right = Instances(mask[None]).boxes[0]
        inside = mask[top:bottom, left:right]
        assert inside.sum() == mask.sum()
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_iou_is_counted_pair_by_pair_and_none_is_no_error():
    found = two()
    shared, iou = pairwise_intersections(found.masks, found.masks[:1]), pairwise_iou(found.masks, found.masks[:1])
    assert shared.tolist() == [[13], [2]]
    assert iou.ravel().tolist() == pytest.approx([1, 2 / 35])
    assert pairwise_iou(found.masks[:0], found.masks).shape == (0, 2)
    assert pairwise_iou(found.masks, found.masks[:0]).shape == (2, 0)
    assert pairwise_iou(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), bool)).tolist() == [[0]]
    with pytest.raises(DataError, match="masks of one size"):
        pairwise_iou(np.ones((1, 2, 3), bool), np.ones((1, 3, 2), bool))
