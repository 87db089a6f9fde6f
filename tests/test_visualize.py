"""Drawing: overlays, attention as colours, and the figure of inspect."""

import numpy as np
import torch

from tracedge.maps import EdgeMap
from tracedge.visualize import AttentionStep, attention_colours, inspect_figure, overlay


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


def test_the_figure_marks_the_chosen_step():
    image = np.zeros((20, 30, 3), np.uint8)
    found = EdgeMap(np.zeros((20, 30), np.float32), 200.0, 0.3, (0.0, 100.0, 200.0), (0.0, 0.1, 0.5))
    figure = inspect_figure(image, found, [AttentionStep(t, image) for t in (0.0, 200.0)])
    titles = [axes.get_title() for axes in figure.axes]
    assert "attention at t = 200 = t*" in titles
    assert any("t* = 200" in title for title in titles)
    curve = next(axes for axes in figure.axes if axes.get_lines())
    assert list(curve.get_lines()[0].get_ydata()) == [0.1, 0.5]
