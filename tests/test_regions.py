"""Closed regions of edge maps: gaps do not leak, and the hierarchy is one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tracedge.errors import DataError
from tracedge.regions import closed_regions, ridges_filled


def wall(strength=1.0, gap=slice(0, 0)):
    edges = np.zeros((20, 30), np.float32)
    edges[:, 15] = strength
    edges[gap, 15] = 0
    return edges


def test_a_gap_in_a_wall_does_not_leak():
    labels = closed_regions(wall(gap=slice(8, 11))).labels_at_level(0.5)
    assert labels.max() == 1
    assert labels[0, 0] != labels[0, -1]
    assert len(np.unique(labels[:, :13])) == len(np.unique(labels[:, 18:])) == 1


def test_a_wall_gives_way_at_its_mean_strength():
    regions = closed_regions(wall(0.6, gap=slice(0, 5)))  # three quarters of it stand
    assert regions.at_level(0.40).max() == 1
    assert regions.at_level(0.50).max() == 0


def test_the_border_lies_on_the_wall():
    labels = closed_regions(wall()).labels_at_level(0.5)
    change = np.flatnonzero(labels[10, 1:] != labels[10, :-1])
    assert change.tolist() in ([14], [15])


@given(arrays(np.float32, (9, 11), elements=st.floats(0, 1, width=32)))
@settings(deadline=None, max_examples=40)
def test_the_hierarchy_is_nested_and_whole(edges):
    regions = closed_regions(edges)
    count = len(regions.areas)
    assert regions.areas.sum() == edges.size
    assert len(regions.merges) == count - 1  # all the image is one piece
    levels = regions.levels()
    assert (levels[regions.parents()] >= levels).all()
    assert regions.gathered(regions.areas)[-1] == edges.size
    coarse, fine = regions.at_level(0.7), regions.at_level(0.3)
    for region in range(fine.max() + 1):
        assert len(np.unique(coarse[fine == region])) == 1
    members = regions.members(np.arange(count + len(regions.merges)))
    assert (members @ regions.areas == regions.gathered(regions.areas)).all()


def test_contrast_is_the_mean_edge_along_a_contour():
    edges = np.zeros((30, 30), np.float32)
    edges[8:22, [8, 21]] = edges[[8, 21], 8:22] = 0.8
    regions = closed_regions(edges)
    inside = regions.basins[15, 15]
    assert regions.contrasts[inside] == pytest.approx(0.8, abs=0.01)


def test_shares_are_means_over_basins():
    regions = closed_regions(wall())
    half = np.zeros((1, 20, 30), np.float32)
    half[0, :10] = 1
    np.testing.assert_allclose(regions.shares(half)[0], 0.5, atol=1e-6)
    coarse = np.zeros((1, 2, 3), np.float32)
    coarse[0, 0] = 1
    np.testing.assert_allclose(regions.shares(coarse)[0], 0.5, atol=1e-6)


@pytest.mark.parametrize(
    "edges", [np.zeros((0, 4), np.float32), np.full((4, 4), np.nan, np.float32), np.zeros((4, 4), int)]
)
def test_what_is_no_edge_map_is_refused(edges):
    with pytest.raises(DataError, match="float map"):
        closed_regions(edges)


def test_values_outside_of_an_edge_map_are_named():
    with pytest.raises(DataError, match=r"0\.\.7"):
        closed_regions(np.array([[0, 7]], np.float32))


def test_what_is_connected_to_no_basin_is_not_filled():
    within = np.array([[True, True, False, True]])
    assert ridges_filled(np.array([[5, 0, 0, 0]], np.int32), within).tolist() == [[5, 5, 0, 0]]
