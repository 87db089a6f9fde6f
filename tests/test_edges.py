"""Normalising, thinning, suppression and hysteresis of edge maps."""

import numpy as np
import pytest

from tracedge.edges import KINDS, as_kind, edge_direction, hysteresis, non_maximum_suppression, normalise
from tracedge.errors import SettingsError


def ridge(angle: float, size: int = 41, width: float = 2.0) -> np.ndarray:
    """A soft straight ridge through the centre whose normal points along `angle`."""
    rows, columns = np.indices((size, size)) - size // 2
    return np.exp(-((np.sin(angle) * rows + np.cos(angle) * columns) ** 2) / (2 * width**2)).astype(np.float32)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, np.pi / 2, 2.2])
def test_the_direction_of_a_ridge_is_its_normal(angle):
    found = edge_direction(ridge(angle))[20, 20]
    assert abs(np.sin(found - angle)) < 0.05


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, np.pi / 2, 2.2])
def test_suppression_keeps_the_crest_with_its_values_and_nothing_two_pixels_beside_it(angle):
    soft = ridge(angle)
    crest = non_maximum_suppression(soft)
    rows, columns = np.indices(soft.shape) - 20
    distance = np.abs(np.sin(angle) * rows + np.cos(angle) * columns)
    inner = (slice(5, -5), slice(5, -5))
    assert crest[inner][distance[inner] > 1.6].max() == 0
    assert crest[20, 20] == soft[20, 20] == 1
    assert (crest[inner] > 0).sum() >= 31


def test_normalising_keeps_zero_and_the_ratios_and_makes_the_strongest_edge_1():
    edges = np.array([[0, 1], [2, 4]], np.float32)
    assert normalise(edges).tolist() == [[0, 0.25], [0.5, 1]]


def test_an_empty_map_stays_empty_in_every_kind():
    empty = np.zeros((7, 9), np.float32)
    assert not normalise(empty).any()
    for kind in KINDS:
        assert as_kind(empty, kind).shape == (7, 9)
        assert not as_kind(empty, kind).any()


def test_hysteresis_keeps_the_weak_part_of_a_strong_line_and_drops_a_weak_line():
    edges = np.zeros((30, 30), np.float32)
    edges[8, 2:15], edges[8, 15:28] = 0.9, 0.3  # one line, half of it weak
    edges[22, 2:28] = 0.3  # weak all along
    found = hysteresis(edges, low=0.2, high=0.6)
    assert found[8, 3:27].all()
    assert not found[22].any()


def test_thin_lines_are_one_pixel_wide_and_keep_the_soft_values():
    soft = ridge(np.pi / 2)
    thin = as_kind(soft, "thin", low=0.3)
    assert ((thin > 0).sum(axis=0)[3:-3] == 1).all()
    assert thin[20, 20] == 1


def test_binary_is_zero_or_one():
    assert set(np.unique(as_kind(ridge(0.3), "binary"))) == {0.0, 1.0}


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 5)])
def test_maps_too_small_for_a_gradient_pass_through(shape):
    edges = np.full(shape, 0.5, np.float32)
    assert np.array_equal(non_maximum_suppression(edges), edges)


def test_an_unknown_kind_and_crossed_thresholds_are_refused():
    with pytest.raises(SettingsError, match="soft, nms, thin, binary"):
        as_kind(ridge(0), "sharp")
    with pytest.raises(SettingsError, match="low <= high"):
        hysteresis(ridge(0), low=0.5, high=0.2)
