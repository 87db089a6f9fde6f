"""The walk of BGP: the same numbers as the dense matrix power, and no step through a wall."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedge.walk import max_pooled, mean_pooled, path_offsets, power_weights, shared_rows, transition_matrix, walk


def dense_transition(edges, radius, beta):
    """T as the paper has it, pixel pair by pixel pair."""
    height, width = edges.shape
    affinity = np.eye(height * width)
    for row in range(height):
        for column in range(width):
            for to_row in range(height):
                for to_column in range(width):
                    down, right = to_row - row, to_column - column
                    if (down, right) == (0, 0) or down**2 + right**2 >= radius**2:
                        continue
                    strongest = 0.0
                    for r in range(min(row, to_row), max(row, to_row) + 1):
                        for c in range(min(column, to_column), max(column, to_column) + 1):
                            if ((r - row) * right - (c - column) * down) ** 2 < down**2 + right**2:
                                strongest = max(strongest, edges[r, c])
                    affinity[row * width + column, to_row * width + to_column] = (1 - strongest) ** beta
    return affinity / affinity.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("radius", "beta", "steps"), [(5.0, 10.0, 256), (3.0, 4.0, 7), (1.5, 1.0, 1)])
def test_walk_equals_the_dense_walk(radius, beta, steps):
    rng = np.random.default_rng(0)
    edges = rng.random((7, 9), dtype=np.float32) ** 2
    masks = rng.random((3, 7, 9), dtype=np.float32)
    power = np.linalg.matrix_power(dense_transition(edges, radius, beta), steps)
    expected = (power @ masks.reshape(3, -1).T).T.reshape(masks.shape)

    found = walk(edges, masks, radius=radius, beta=beta, steps=steps, tolerance=1e-6)

    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_transition_matrix_is_symmetric_before_it_is_normalised():
    edges = np.random.default_rng(1).random((6, 5), dtype=np.float32)
    affinity, sums = transition_matrix(edges)
    dense = affinity.to_dense()
    torch.testing.assert_close(dense, dense.T)
    torch.testing.assert_close(dense.sum(dim=1), sums)
    np.testing.assert_allclose(dense / sums[:, None], dense_transition(edges, 5.0, 10.0), atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5), (9, 3), (1, 12), (12, 1)])
def test_rows_of_the_sparse_matrix_are_in_order_also_where_the_map_is_narrower_than_a_step(shape):
    edges = np.random.default_rng(1).random(shape, dtype=np.float32) ** 2
    affinity, sums = transition_matrix(edges)
    starts, columns = affinity.crow_indices().numpy(), affinity.col_indices().numpy()
    assert starts.dtype == columns.dtype == np.int32  # others are converted in each product
    for first, last in pairwise(starts):
        assert (np.diff(columns[first:last]) > 0).all()
    np.testing.assert_allclose(affinity.to_dense() / sums[:, None], dense_transition(edges, 5.0, 10.0), atol=1e-6)


def test_nothing_crosses_a_wall():
    edges = np.zeros((12, 20), np.float32)
    edges[:, 10] = 1
    left = np.zeros((1, 12, 20), np.float32)
    left[0, 2:5, 2:5] = 1
    grown = walk(edges, left)[0]
    assert np.abs(grown[:, 11:]).max() < 1e-4
    inside = grown[:, :10]
    assert inside.std() / inside.mean() < 0.25  # a long walk flattens what is closed


def test_a_constant_stays_constant():
    edges = np.random.default_rng(2).random((8, 8), dtype=np.float32)
    np.testing.assert_allclose(walk(edges, np.ones((1, 8, 8), np.float32)), 1, atol=1e-4)


@given(steps=st.integers(1, 400), tolerance=st.sampled_from([1e-2, 1e-4, 1e-8]), x=st.floats(-1, 1))
@settings(deadline=None)
def test_chebyshev_sum_is_the_power_within_its_tolerance(steps, tolerance, x):
    weights = power_weights(steps, tolerance)
    assert abs(np.polynomial.chebyshev.chebval(x, weights) - x**steps) <= tolerance + 1e-9


def test_256_steps_need_far_fewer_products():
    assert len(power_weights(256, 1e-5)) <= 80


def test_a_thin_edge_survives_pooling_whole():
    edges = np.zeros((9, 10), np.float32)
    edges[:, 6] = 0.7
    pooled = max_pooled(edges, 4)
    assert pooled.shape == (3, 3)
    np.testing.assert_allclose(pooled, [[0, 0.7, 0]] * 3)


def test_mean_pooling_counts_only_pixels_that_are_there():
    assert mean_pooled(np.ones((1, 5, 6), bool), 4).tolist() == [[[1.0, 1.0], [1.0, 1.0]]]


def test_a_straight_path_has_the_cells_between():
    paths = dict(path_offsets(4.0))
    assert paths[0, 3] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert len(dict(path_offsets(5.0))) == 34  # Ahn et al.'s


def test_maps_in_pieces_that_edges_close_walk_together_and_come_out_as_alone():
    edges = np.zeros((20, 30), np.float32)
    edges[:, 10] = edges[10, 10:] = 1  # three pieces
    edges[3, 5] = 0.5
    maps = np.random.default_rng(0).random((4, 20, 30), dtype=np.float32)
    maps[0, :, 10:] = maps[1, :, :11] = maps[1, 10:] = maps[2, :11] = maps[2, :, :11] = 0
    together = walk(edges, maps)
    alone = [walk(edges, each[None])[0] for each in maps]
    np.testing.assert_array_equal(together, np.stack(alone))
    number = np.where(np.arange(30) < 10, 0, 1) + np.zeros((20, 1), int)
    number[10:] += np.arange(30) >= 10
    rows, _ = shared_rows((maps * (edges < 1)).reshape(4, -1), number.ravel())
    assert rows.tolist() == [0, 0, 0, 1]


def test_no_maps_walk_nowhere():
    assert walk(np.zeros((5, 6), np.float32), np.zeros((0, 5, 6), np.float32)).shape == (0, 5, 6)
