"""SAM's automatic masks: each object once, of what is sure, stable and large enough; and the suppression of boxes alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracedge
from known_sam import HW, Fixed, OneColour, scene
from tiny_sam import save_tiny
from tracedge.errors import SettingsError
from tracedge.sam.automatic import AutomaticSettings, SamAutomatic, grid, stability
from tracedge.sam.nms import box_nms
from tracedge.sam.prompts import Prompts


def test_each_object_of_a_scene_is_found_once_and_the_ground_is_not():
    image, objects = scene()
    found = SamAutomatic(OneColour())(image)
    assert len(found) == len(objects)
    order = [int(np.flatnonzero((objects.masks == mask).all(axis=(1, 2)))[0]) for mask in found.masks]
    assert sorted(order) == [0, 1, 2, 3]
    assert found.scores.tolist() == [0.97] * 4


def test_each_limit_keeps_something_out():
    image, _ = scene()
    every = AutomaticSettings(side=16, min_iou=0.0, min_stability=0.0, max_overlap=1.0)
    count = len(SamAutomatic(OneColour(), every)(image))
    assert count == 3 * 16 * 16  # three for each point
    sure = AutomaticSettings(side=16, min_iou=0.35, min_stability=0.0)
    assert len(SamAutomatic(OneColour(), sure)(image)) > 4  # parts, and what is unstable
    stable = AutomaticSettings(side=16, min_iou=0.85)
    assert len(SamAutomatic(OneColour(), stable)(image)) == 4
    large = AutomaticSettings(side=16, min_area=490)
    assert sorted(SamAutomatic(OneColour(), large)(image).areas) == [500, 625, 1000]


def test_the_limit_of_the_predicted_iou_is_the_models_own_unless_it_is_given():
    mask, image = np.ones((20, 20), bool), np.zeros((20, 20, 3), np.uint8)
    assert Fixed.confident == 0.5
    for iou, count in ((0.45, 0), (0.55, 1)):
        assert len(SamAutomatic(Fixed([mask], [iou]))(image)) == count
        assert len(SamAutomatic(Fixed([mask], [iou]), AutomaticSettings(min_iou=0.3))(image)) == 1


def test_points_are_the_middles_of_equal_cells_in_x_and_y():
    points = grid((60, 90), 3)
    assert points.tolist() == [[x, y] for y in (10, 30, 50) for x in (15, 45, 75)]

    asked = []

    class Listens(OneColour):
        def look(self, image):
            return lambda prompts: asked.append(prompts) or iter(())

    assert len(SamAutomatic(Listens(), AutomaticSettings(side=3))(np.zeros((*HW, 3), np.uint8))) == 0
    (prompts,) = asked
    assert isinstance(prompts, Prompts) and prompts.points[:, 0].tolist() == points.tolist()
    assert (prompts.labels == 1).all() and prompts.boxes is None and prompts.masks is None


def test_stability_is_the_iou_of_the_masks_at_both_thresholds():
    logits = np.random.default_rng(0).normal(0, 2, (30, 40)).astype(np.float32)
    low, high = logits > -1, logits > 1
    assert stability(logits, 1.0) == (low & high).sum() / (low | high).sum()
    assert stability(np.full((3, 3), -9, np.float32), 1.0) == 0


# --- boxes ------------------------------------------------------------------------------------------------------------


def slow_nms(boxes, scores, limit):
    """Over sets of pixels, one pair after the other."""
    pixels = [{(r, c) for r in range(t, b) for c in range(left, right)} for t, left, b, right in boxes]
    kept: list[int] = []
    for number in sorted(range(len(boxes)), key=lambda n: (-scores[n], n)):
        overlaps = [len(pixels[number] & pixels[other]) / len(pixels[number] | pixels[other]) for other in kept]
        if all(overlap <= limit for overlap in overlaps):
            kept.append(number)
    return kept


BOXES = st.lists(
    st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(1, 8)] * 2).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(BOXES, st.data())
def test_suppression_is_that_of_brute_force(boxes, data):
    scores = [data.draw(st.sampled_from([0.1, 0.5, 0.9])) for _ in boxes]
    limit = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
    array = np.array(boxes, int).reshape(-1, 4)
    assert box_nms(array, np.array(scores, float), limit) == slow_nms(boxes, scores, limit)


# --- and with networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_a_random_network_gives_masks_of_the_photos_size(kind, tmp_path):
    from tracedge.sam import load_sam

    sam = load_sam(save_tiny(kind, tmp_path / kind), device="cpu")
    assert sam.confident == {"sam": 0.88, "sam2": 0.8}[kind]
    image, _ = scene()
    least = AutomaticSettings(side=3, min_iou=0.0, offset=0.0, max_overlap=1.0, min_area=1)
    found = tracedge.SamAutomatic(sam, least)(image)
    assert found.shape == HW and len(found) > 0
    assert (np.diff(found.scores) <= 0).all()
    assert found.settings["model"]["px"] == 64 and found.settings["automatic"]["side"] == 3


def test_masks_come_back_whole_from_how_they_are_kept():
    masks = np.random.default_rng(3).random((1, 17, 23)) > 0.5
    found = SamAutomatic(Fixed(masks, [0.9]), AutomaticSettings(side=1))(np.zeros((17, 23, 3), np.uint8))
    np.testing.assert_array_equal(found.masks, masks)


@pytest.mark.parametrize(
    "wrong", [{"side": 0}, {"min_iou": 1.2}, {"min_stability": -0.1}, {"max_overlap": 2.0}, {"min_area": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingsError):
        AutomaticSettings(**wrong)
