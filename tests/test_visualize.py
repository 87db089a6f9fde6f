"""Drawing: overlays, attention as colours, and the figure of inspect."""

import numpy as np
import pytest
import torch

from tracedge.errors import DataError
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.panoptic_map import PanopticMap, Segment
from tracedge.semantic_map import SemanticMap
from tracedge.visualize import (
    AttentionStep,
    attention_colours,
    attention_steps,
    inspect_figure,
    overlay,
    panoptic_overlay,
    semantic_overlay,
)
from tracedge.visualize.attention import attention_parts


def test_the_overlay_is_orange_on_edges_and_grey_as_the_photo_elsewhere():
    image = np.full((8, 10, 3), 100, np.uint8)
    edges = np.zeros((8, 10), np.float32)
    edges[3] = 1
    drawn = overlay(image, edges)
    assert drawn.dtype == np.uint8
    assert tuple(drawn[3, 4]) == (255, 64, 32)
    assert np.ptp(drawn[0, 0]) == 0


def test_tokens_that_attend_alike_have_one_colour_and_others_another():
    labels = np.repeat([0, 0, 1, 1], 3)
    same = torch.from_numpy((labels[:, None] == labels[None, :]).astype(np.float32))
    drawn = attention_colours(same / same.sum(1, keepdim=True), (4, 3), (40, 30))
    assert drawn.shape == (40, 30, 3)
    assert np.array_equal(drawn[2, 2], drawn[17, 20])
    assert np.abs(drawn[2, 2].astype(int) - drawn[35, 2]).max() > 100


def test_colours_are_the_same_twice_and_leave_the_global_generator_alone():
    attention = torch.rand(30, 30).softmax(-1)
    state = torch.random.get_rng_state()
    first, second = (attention_colours(attention, (5, 6), (5, 6)) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


def blocks(labels):
    same = torch.from_numpy((labels[:, None] == labels[None, :]).astype(np.float32))
    return same / same.sum(1, keepdim=True)


def test_a_thing_that_goes_on_keeps_its_colour_from_step_to_step():
    labels = np.arange(36) // 12
    first = attention_parts(blocks(labels))
    turned = first[:, [1, 0, 2]] * (-1, 1, -1)  # another order and other signs, as another step's components may have
    steps = attention_steps({0.0: turned, 100.0: first}, 100.0, (6, 6), (6, 6))
    assert [step.timestep for step in steps] == [0.0, 100.0]
    assert np.abs(steps[0].colours.astype(int) - steps[1].colours).max() <= 2
    alone = attention_steps({0.0: turned}, 0.0, (6, 6), (6, 6))[0].colours
    assert np.abs(alone.astype(int) - steps[1].colours).max() > 60


def test_the_strongest_difference_is_one_of_lightness_which_everybody_sees():
    drawn = attention_colours(blocks(np.repeat([0, 1], 8)), (4, 4), (4, 4))
    grey = drawn @ np.array([0.299, 0.587, 0.114])
    assert abs(grey[0, 0] - grey[3, 3]) > 120


def test_classes_have_the_colours_of_stuff_and_what_is_not_known_is_grey():
    classes = np.repeat(np.repeat([[-1, 3, 7]], 12, axis=1), 12, axis=0)
    photo = np.full((12, 36, 3), (10, 200, 90), np.uint8)
    drawn = semantic_overlay(photo, SemanticMap(classes))
    stuff = PanopticMap(np.maximum(classes, 0), tuple(Segment(each, each, False) for each in (3, 7)))
    assert np.array_equal(drawn, panoptic_overlay(photo, stuff))
    assert np.ptp(drawn[6, 5]) == 0 and np.ptp(drawn[6, 18]) > 20
    known = semantic_overlay(photo[:, 12:], SemanticMap(classes[:, 12:]))  # none of it unknown
    assert np.array_equal(known[:, 2:], drawn[:, 14:])
    with pytest.raises(DataError, match="expected an image of uint8"):
        semantic_overlay(photo[:5], SemanticMap(classes))


def figure_of(height, width, steps=3, instances=True):
    image = np.zeros((height, width, 3), np.uint8)
    settings = {"backbone": {"name": "mini"}, "size": 96, "rule": "argmax", "seed": 4}
    found = EdgeMap(
        np.zeros((height, width), np.float32), 200.0, 0.3, (0.0, 100.0, 200.0), (0.0, 0.1, 0.5), settings=settings
    )
    times = np.linspace(0, 200, steps)
    shown = Instances.empty((height, width)) if instances else None
    return inspect_figure(image, found, [AttentionStep(float(t), image) for t in times], shown)


def test_the_figure_marks_the_chosen_step():
    figure = figure_of(20, 30)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert {"photo", "instance edges", "instances: 0", "attention, t = 0", "attention, t* = 200"} <= set(titles)
    assert "emergence point t* = 200 (margin 0.30)" in titles
    assert "instances: 0" not in [axes.get_title("left") for axes in figure_of(20, 30, instances=False).axes]
    curve = next(axes for axes in figure.axes if axes.get_lines())
    assert list(curve.get_lines()[0].get_ydata()) == [0.1, 0.5]


def test_the_figure_says_what_made_it():
    made = "model mini · 96 px · rule argmax · seed 4"
    assert [text.get_text() for text in figure_of(20, 30, instances=False).texts] == [made]
    (text,) = figure_of(20, 30).texts
    assert text.get_text().startswith(f"{made}\nedges, instances: the teacher's")


def test_instances_of_a_large_photo_are_drawn_at_the_size_they_are_shown_at():
    masks = np.zeros((1, 1200, 1600), bool)
    masks[0, 200:1000, 300:1300] = True
    found = EdgeMap(np.zeros((1200, 1600), np.float32), 0.0, 0.3, (0.0, 100.0), (0.0, 0.1))
    figure = inspect_figure(np.full((1200, 1600, 3), 90, np.uint8), found, [], Instances(masks))
    (panel,) = [axes for axes in figure.axes if axes.get_title("left") == "instances: 1"]
    assert max(panel.images[0].get_array().shape) <= 360


@pytest.mark.parametrize("steps", [2, 5, 12])
@pytest.mark.parametrize("image_hw", [(40, 40), (40, 300), (300, 40), (1, 1), (30, 40), (40, 60)])
def test_no_panel_of_the_figure_covers_another_or_leaves_it(image_hw, steps):
    figure = figure_of(*image_hw, steps=steps)
    assert len(figure.axes) == 4 + steps
    width, height = figure.get_size_inches()
    assert 4 < width < 30 and 3 < height < 30
    boxes = [axes.get_position(original=True).extents for axes in figure.axes]
    for number, (left, low, right, high) in enumerate(boxes):
        assert 0 <= left < right <= 1 and 0 <= low < high <= 1
        for other in boxes[:number]:
            assert right <= other[0] or other[2] <= left or high <= other[1] or other[3] <= low
