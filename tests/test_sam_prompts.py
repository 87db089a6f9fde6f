"""What instances say to SAM: points inside, as far from the outside as can be; the box; the mask in SAM's square."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import label

from tracedge.errors import DataError
from tracedge.instances import Instances
from tracedge.sam.frame import Frame
from tracedge.sam.prompts import BESIDE, NO_POINT, WITHIN, Prompts, inner_points, neighbours, prompts_of

MASKS = array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(lambda hw: arrays(bool, hw)).filter(np.any)


def distances(mask: np.ndarray) -> np.ndarray:
    """By brute force: of each pixel to the nearest that is not the mask, the picture being in the middle of such pixels."""
    around = np.pad(mask, 1)
    outside, found = np.argwhere(~around), np.zeros(around.shape)
    for pixel in np.argwhere(around):
        found[tuple(pixel)] = np.sqrt(((outside - pixel) ** 2).sum(axis=1).min())
    return found[1:-1, 1:-1]


@settings(max_examples=80, deadline=None)
@given(MASKS)
def test_the_first_point_is_the_innermost_of_the_largest_piece(mask):
    (point,) = inner_points(mask)
    pieces, _ = label(mask)
    sizes = np.bincount(pieces.ravel())[1:]
    assert mask[point] and sizes[pieces[point] - 1] == sizes.max()
    own = pieces == pieces[point]
    assert distances(own)[point] == distances(own).max()


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(2, 5))
def test_further_points_are_far_from_the_outside_and_from_those_before(mask, count):
    points = inner_points(mask, count)
    assert len(points) == len(set(points)) == min(count, mask.sum())
    rest = mask.copy()
    for before, point in pairwise(points):
        rest[before] = False
        assert distances(rest)[point] == distances(rest).max() > 0


def test_beyond_the_pictures_border_is_outside():
    assert inner_points(np.ones((5, 9), bool)) == [(2, 4)]
    assert inner_points(np.eye(1, 5, 4, dtype=bool)) == [(0, 4)]


def three_in_a_row() -> Instances:
    """The middle one touches both others, the right one along more of its side; the last one is apart."""
    masks = np.zeros((4, 12, 30), bool)
    masks[0, 2:8, 0:6] = masks[1, 2:8, 6:12] = masks[2, 7:12, 12:18] = masks[3, 2:5, 25:28] = True
    return Instances(masks)


def test_boxes_are_the_first_and_the_last_pixel_as_x_and_y():
    said = prompts_of(three_in_a_row(), ("box",))
    assert said.boxes.tolist() == [[0, 2, 5, 7], [6, 2, 11, 7], [12, 7, 17, 11], [25, 2, 27, 4]]
    assert said.points is None and said.masks is None


def test_points_are_x_and_y_and_lie_in_their_masks():
    instances = three_in_a_row()
    said = prompts_of(instances, ("points",))
    assert said.labels.tolist() == [[WITHIN]] * 4
    for mask, (x, y) in zip(instances.masks, said.points[:, 0].astype(int), strict=True):
        assert mask[y, x]


def test_neighbours_are_those_that_touch_most_first():
    assert [neighbours(three_in_a_row(), number) for number in range(4)] == [[1], [0, 2], [1], []]


def test_points_beside_are_the_neighbours_own_and_what_lacks_some_is_filled_up():
    said = prompts_of(three_in_a_row(), ("points",), negatives=1)
    assert said.labels.tolist() == [[WITHIN, BESIDE]] * 3 + [[WITHIN, NO_POINT]]
    assert said.points[1, 1].tolist() == said.points[0, 0].tolist()  # the left one's


def test_a_neighbours_point_within_is_not_beside():
    nested = np.zeros((2, 20, 20), bool)
    nested[0, 2:18, 2:18] = nested[1, 6:12, 12:20] = True  # its innermost point lies in the other one
    assert prompts_of(Instances(nested), ("points",), negatives=2).labels[0].tolist() == [WITHIN, NO_POINT]


def test_prompts_go_in_batches_of_equally_many_points_in_order():
    said = prompts_of(three_in_a_row(), ("points", "box"), negatives=1)
    batches = list(said.batches(2))
    assert [batch.points.shape for batch in batches] == [(2, 2, 2), (1, 2, 2), (1, 1, 2)]
    assert np.concatenate([batch.boxes for batch in batches]).tolist() == said.boxes.tolist()
    assert all((batch.labels != NO_POINT).all() for batch in batches)


def test_prompts_that_say_nothing_or_are_not_as_many_are_refused():
    with pytest.raises(DataError, match="got none"):
        Prompts()
    with pytest.raises(DataError, match=r"boxes \(2, 4\), masks \(1, 3, 3\)"):
        Prompts(boxes=np.zeros((2, 4)), masks=np.zeros((1, 3, 3), bool))
    with pytest.raises(DataError, match="points with labels"):
        Prompts(points=np.zeros((2, 1, 2)))


# --- in SAM's square --------------------------------------------------------------------------------------------------


def test_a_masks_logits_lie_where_the_picture_lies():
    mask = np.zeros((1, 30, 60), bool)
    mask[0, :, 30:] = True
    padded = Frame((30, 60), 64, stretched=False).logits_of(mask, 16)[0, 0].numpy()
    assert padded.shape == (16, 16)
    assert (padded[:8, 9:] == 10).all() and (padded[:8, :7] == -10).all() and (padded[8:] == -10).all()
    stretched = Frame((30, 60), 64, stretched=True).logits_of(mask, 16)[0, 0].numpy()
    assert (stretched[:, 9:] == 10).all() and (stretched[:, :7] == -10).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_logits_come_back_in_the_pictures_size_and_place(height, width, stretched):
    frame = Frame((height, width), 64, stretched)
    logits = frame.logits_of(np.ones((1, height, width), bool), 64)[0, 0]
    back = frame.enlarged(logits)
    assert back.shape == (height, width) and back.dtype == np.float32
    assert np.abs(back - 10).max() < 1e-4  # nothing of what is not the picture
