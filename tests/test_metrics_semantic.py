"""Mean IoU: counts that add up, void left out, and the same as a brute-force confusion matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tracedge.errors import DataError
from tracedge.metrics.semantic import ClassPixels, count_pixels, semantic_scores

MAPS = arrays(np.int32, (2, 5, 7), elements=st.integers(-1, 4))


def test_a_quarter_that_is_wrong_costs_both_classes():
    truth = np.array([[1, 1], [2, 2]])
    found = np.array([[1, 1], [2, 1]])
    figures = semantic_scores([count_pixels(found, truth)])
    assert figures.per_class == {1: 2 / 3, 2: 1 / 2}
    assert figures.miou == pytest.approx(7 / 12)


def test_unknown_in_truth_is_left_out_and_unknown_in_what_was_found_is_missed():
    counts = count_pixels(np.array([[9, 1, -1]]), np.array([[-1, 1, 1]]))
    assert counts == {1: ClassPixels(hit=1, found=1, true=2)}


def test_a_class_found_where_it_is_nowhere_true_counts_with_nothing():
    assert semantic_scores([count_pixels(np.array([[1, 3]]), np.array([[1, 1]]))]).miou == 0.25
    assert semantic_scores([{}]).miou is None


def brute_force(found, truth):
    """IoU of each class by the definition, pixel sets and all."""
    known = {place for place, number in np.ndenumerate(truth) if number != -1}
    ious = []
    for number in range(5):
        ours, theirs = ({place for place in known if where[place] == number} for where in (found, truth))
        if ours | theirs:
            ious.append(len(ours & theirs) / len(ours | theirs))
    return np.mean(ious) if ious else None


@settings(deadline=None)
@given(MAPS)
def test_it_is_the_mean_of_sets_of_pixels(maps):
    found, truth = maps
    assert semantic_scores([count_pixels(found, truth)]).miou == pytest.approx(brute_force(found, truth))


@settings(deadline=None)
@given(MAPS, MAPS)
def test_images_add_up_in_any_order_as_if_they_were_one(first, second):
    counts = [count_pixels(*first), count_pixels(*second)]
    whole = count_pixels(*np.concatenate([first, second], axis=2))
    assert semantic_scores(counts) == semantic_scores(counts[::-1]) == semantic_scores([whole])


def test_counts_that_cannot_be_and_maps_of_two_sizes_are_refused():
    with pytest.raises(DataError, match="pixels that were hit were found"):
        ClassPixels(hit=2, found=1, true=3)
    with pytest.raises(DataError, match=r"the truth is \(1, 2\) and what was found \(2, 1\)"):
        count_pixels(np.zeros((2, 1), int), np.zeros((1, 2), int))
