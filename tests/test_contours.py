"""Contours that stand or fall as a whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from tracedge.contours import halfway, levelled


def soft_line(strengths: np.ndarray, rows: int = 21) -> np.ndarray:
    """A soft horizontal line, two pixels of deviation wide, with a strength for each column."""
    profile = np.exp(-((np.arange(rows) - rows // 2) ** 2) / 8)
    return (profile[:, None] * strengths).astype(np.float32)


def test_a_gap_of_a_contour_is_filled_up_to_the_contours_mean_and_its_flanks_come_with_it():
    strengths = np.full(60, 0.8)
    strengths[28:32] = 0.3
    found = levelled(soft_line(strengths))
    mean = strengths.mean()
    assert np.abs(found[10, 5:-5] - mean).max() < 0.03
    assert np.abs(found[12, 29:31] / found[12, 10] - 1).max() < 0.05


def test_two_contours_that_do_not_touch_keep_their_own_strength():
    soft = np.maximum(soft_line(np.full(60, 0.9), 41), np.roll(soft_line(np.full(60, 0.2), 41), 15, axis=0))
    found = levelled(soft)
    assert abs(found[20, 30] - 0.9) < 0.02
    assert abs(found[35, 30] - 0.2) < 0.02


def test_the_order_of_pixels_along_one_ridge_ends_as_a_tie():
    ramp = np.linspace(0.2, 0.8, 80)
    found = levelled(soft_line(ramp))[10, 5:-5]
    assert np.ptp(found) < 0.02 < np.ptp(ramp)


def test_what_lies_on_no_ridge_stays():
    faint = np.full((20, 20), 0.03, np.float32)
    assert (levelled(faint) == faint).all()
    assert not levelled(np.zeros((5, 7), np.float32)).any()


@given(arrays(np.float32, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.floats(0, 1, width=32)))
def test_any_map_stays_in_its_range_and_shape(noise):
    soft = np.asarray(gaussian_filter(noise, 1), np.float32).clip(0, 1)
    before = soft.copy()
    found = levelled(soft)
    assert found.shape == soft.shape and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    assert (soft == before).all()


def test_halfway_is_the_geometric_mean_with_the_ridges_mean_and_leaves_the_rest_0():
    ridges = np.zeros((6, 6), np.float32)
    ridges[1, 1:5] = [0.1, 0.2, 0.3, 0.4]
    ridges[4, 2] = 0.5
    found = halfway(ridges)
    assert np.allclose(found[1, 1:5], np.sqrt(0.25 * ridges[1, 1:5]))
    assert np.isclose(found[4, 2], 0.5) and (found > 0).sum() == 5
