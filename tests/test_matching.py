"""One-to-one matching: as many pairs as there can be, each within reach, none twice."""

from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from edge_reference import largest_matching
from tracedge.errors import SettingsError
from tracedge.metrics.matching import FREE, match_edges, match_pixels, within_reach


def size_of_largest(predicted: np.ndarray, truth: np.ndarray, max_distance: float) -> int:
    return len(largest_matching(predicted, truth, max_distance))


@st.composite
def two_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


@settings(max_examples=300, deadline=None)
@given(two_maps(), st.sampled_from([0.0, 0.9, 1.0, 1.5, 2.0, 3.2]))
def test_matching_equals_brute_force_on_small_maps(maps: tuple[np.ndarray, np.ndarray], reach: float) -> None:
    predicted, truth = maps
    matched_predicted, matched_truth = match_edges(predicted, truth, reach)
    assert not (matched_predicted & ~predicted).any()
    assert not (matched_truth & ~truth).any()
    assert matched_predicted.sum() == matched_truth.sum() == size_of_largest(predicted, truth, reach)


@pytest.mark.parametrize("seed", range(4))
def test_maps_one_below_the_other_match_as_each_of_them_alone(seed: int) -> None:
    """Beyond reach of each other: not only as many pairs, but the same pixels."""
    rng = np.random.default_rng(seed)
    predicted, truth = (rng.random((5, 46, 37)) < share for share in rng.uniform(0.02, 0.25, 2))
    for maps in (predicted, truth):
        maps[:, 40:] = False
    tall = match_edges(predicted.reshape(-1, 37), truth.reshape(-1, 37), 6.0)
    for at in range(5):
        alone = match_edges(predicted[at], truth[at], 6.0)
        for together, one in zip(tall, alone, strict=True):
            np.testing.assert_array_equal(together.reshape(5, 46, 37)[at], one)


def test_pixels_are_paired_both_ways_and_those_in_reach_are_known() -> None:
    rng = np.random.default_rng(5)
    predicted, truth = rng.random((40, 30)) < 0.1, rng.random((40, 30)) < 0.1
    owner, partner, in_reach = match_pixels(predicted, truth, 1.5)
    paired = np.flatnonzero(partner != FREE)
    np.testing.assert_array_equal(owner[partner[paired]], paired)
    apart = np.hypot(*(np.argwhere(truth)[paired] - np.argwhere(predicted)[partner[paired]]).T)
    assert 0 < apart.max() <= 1.5
    np.testing.assert_array_equal(in_reach, within_reach(truth, predicted, 1.5)[truth])
    assert in_reach.sum() > paired.size  # some are in reach of a pixel that another one took


@pytest.mark.parametrize("seed", range(12))
def test_matching_equals_brute_force_on_crowded_curves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape, reach = (40, 57), rng.uniform(1, 6)
    predicted, truth = (rng.random(shape) < rng.uniform(0.02, 0.25) for _ in range(2))
    assert match_edges(predicted, truth, reach)[0].sum() == size_of_largest(predicted, truth, reach)


def test_matching_finds_the_long_way_round() -> None:
    """Nearest first leaves the first true and the last predicted pixel alone; one path through all pairs mends it."""
    truth, predicted = np.zeros((1, 200), bool), np.zeros((1, 200), bool)
    truth[0, 0:200:5] = True
    predicted[0, 3:200:5] = True  # 3 from the true pixel before, 2 from the next one
    assert match_edges(predicted, truth, 3.0)[0].sum() == 40
    assert match_edges(predicted, truth, 2.0)[0].sum() == 39


def test_distance_is_euclidean_and_the_limit_is_included() -> None:
    one, other = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    one[1, 1] = other[4, 5] = True  # 3 down, 4 right
    assert match_edges(one, other, 5.0)[0].any()
    assert not match_edges(one, other, 4.99)[0].any()


def test_pixels_do_not_match_around_the_frame() -> None:
    left, right = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    left[1:, 0], right[:-1, -1] = True, True
    assert not match_edges(left, right, 3.0)[0].any()
    assert not match_edges(left.T, right.T, 3.0)[0].any()


def test_nothing_matches_nothing() -> None:
    empty, full = np.zeros((3, 5), bool), np.ones((3, 5), bool)
    for predicted, truth in ((empty, full), (full, empty), (empty, empty)):
        matched_predicted, matched_truth = match_edges(predicted, truth, 2.0)
        assert not matched_predicted.any() and not matched_truth.any()


def test_equal_maps_match_whole() -> None:
    edges = np.random.default_rng(3).random((50, 31)) < 0.4
    matched_predicted, matched_truth = match_edges(edges, edges, 4.0)
    np.testing.assert_array_equal(matched_predicted, edges)
    np.testing.assert_array_equal(matched_truth, edges)


def test_matching_leaves_its_input_alone() -> None:
    rng = np.random.default_rng(0)
    predicted, truth = rng.random((20, 20)) < 0.3, rng.random((20, 20)) < 0.3
    before = predicted.copy(), truth.copy()
    match_edges(predicted, truth, 3.0)
    np.testing.assert_array_equal(predicted, before[0])
    np.testing.assert_array_equal(truth, before[1])


@pytest.mark.parametrize(
    ("predicted", "truth", "reach"),
    [
        (np.zeros((3, 4), bool), np.zeros((4, 3), bool), 1.0),
        (np.zeros((3, 4), np.uint8), np.zeros((3, 4), bool), 1.0),
        (np.zeros((1, 3, 4), bool), np.zeros((1, 3, 4), bool), 1.0),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), -1.0),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), float("nan")),
    ],
)
def test_wrong_input_is_refused(predicted: np.ndarray, truth: np.ndarray, reach: float) -> None:
    with pytest.raises(SettingsError):
        match_edges(predicted, truth, reach)


@settings(max_examples=100, deadline=None)
@given(two_maps(), st.sampled_from([0.0, 1.0, 1.5, 3.2]))
def test_within_reach_equals_a_distance_transform(maps: tuple[np.ndarray, np.ndarray], radius: float) -> None:
    points, target = maps
    distance = distance_transform_edt(~target) if target.any() else np.full(target.shape, np.inf)
    np.testing.assert_array_equal(within_reach(points, target, radius), points & (distance <= radius))


def test_five_thousand_pixels_a_side_take_well_under_a_second() -> None:
    """A loose guard against an exponential case, not a benchmark: it takes about 20 ms."""
    rng = np.random.default_rng(1)
    truth = np.zeros((480, 640), bool)
    predicted = np.zeros((480, 640), bool)
    columns = np.arange(640)
    for row in range(30, 470, 55):
        truth[(row + 8 * np.sin(columns / 25)).astype(int), columns] = True
        predicted[(row + rng.uniform(-5, 5, 640) + 8 * np.sin(columns / 25)).astype(int), columns] = True
    started = perf_counter()
    matched, _ = match_edges(predicted, truth, 6.0)
    assert perf_counter() - started < 1.0
    assert matched.sum() > 0.95 * truth.sum()
