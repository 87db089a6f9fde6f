"""The walk from basin to basin: the same numbers as the dense matrix power, and nothing passes an opaque border."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedge.basin_walk import CROSSING, basin_transition, basin_walk
from tracedge.regions import closed_regions


def random_regions(seed, image_hw=(30, 40)):
    return closed_regions(np.random.default_rng(seed).random(image_hw, dtype=np.float32) ** 2)


def two_boxes(wall, image_hw=(40, 60)):
    """Two halves of a picture, and a wall between them."""
    edges = np.zeros(image_hw, np.float32)
    edges[:, image_hw[1] // 2] = wall
    return closed_regions(edges)


def dense_transition(regions, radius, beta, opaque):
    """Border by border."""
    affinity = np.diag(regions.areas.astype(float))
    for (one, other), length, wall in zip(regions.touching, regions.lengths, regions.walls, strict=True):
        passing = radius * CROSSING * length * (1 - min(wall / opaque, 1)) ** beta
        affinity[one, other] += passing
        affinity[other, one] += passing
    return affinity / affinity.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("radius", "beta", "opaque", "steps"), [(20, 10, 0.5, 256), (5, 2, 1, 7), (1, 1, 0.3, 1)])
def test_walk_equals_the_dense_walk(radius, beta, opaque, steps):
    regions = random_regions(0)
    shares = np.random.default_rng(1).random((3, len(regions.areas)))
    power = np.linalg.matrix_power(dense_transition(regions, radius, beta, opaque), steps)
    found = basin_walk(regions, shares, radius=radius, beta=beta, opaque=opaque, steps=steps, tolerance=1e-6)
    np.testing.assert_allclose(found, shares @ power.T, atol=2e-5)


def test_affinity_is_symmetric_and_its_sums_are_its_own():
    affinity, sums = basin_transition(random_regions(2), radius=20, beta=10, opaque=0.5)
    dense = affinity.to_dense().numpy()
    np.testing.assert_array_equal(dense, dense.T)
    np.testing.assert_allclose(dense.sum(axis=1), sums)


@given(seed=st.integers(0, 1000), opaque=st.floats(0, 1), steps=st.integers(1, 300))
@settings(deadline=None, max_examples=25)
def test_a_constant_stays_and_no_value_leaves_the_range(seed, opaque, steps):
    regions = random_regions(seed, (12, 15))
    shares = np.random.default_rng(seed).random((2, len(regions.areas)))
    shares[0] = 0.7
    found = basin_walk(regions, shares, opaque=opaque, steps=steps)
    np.testing.assert_allclose(found[0], 0.7, atol=1e-3)
    assert found.min() > shares.min() - 1e-3
    assert found.max() < shares.max() + 1e-3


@pytest.mark.parametrize(("wall", "passes"), [(0.5, False), (0.6, False), (0.25, True), (0.1, True)])
def test_nothing_passes_an_opaque_border(wall, passes):
    regions = two_boxes(wall)
    assert len(regions.areas) == 2
    found = basin_walk(regions, np.array([[1.0, 0.0]]), opaque=0.5, beta=5, steps=1000)
    assert (found[0, 1] > 0.05) == passes
    if not passes:
        assert found[0] == pytest.approx([1, 0], abs=1e-4)


def test_a_step_crosses_a_straight_border_as_often_as_points_thrown_at_random_do():
    rng, radius = np.random.default_rng(3), 20.0
    depth = rng.uniform(0, radius, 400_000)  # from the border
    angle, reach = rng.uniform(0, 2 * np.pi, depth.size), radius * np.sqrt(rng.random(depth.size))
    beyond = (reach * np.sin(angle) > depth).mean() * radius
    assert beyond == pytest.approx(radius * CROSSING, rel=0.02)


def test_one_basin_walks_nowhere():
    regions = closed_regions(np.zeros((8, 9), np.float32))
    assert basin_walk(regions, np.array([[0.4]]))[0, 0] == pytest.approx(0.4, abs=1e-4)
    assert basin_walk(regions, np.zeros((0, 1))).shape == (0, 1)
