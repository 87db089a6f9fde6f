"""Thinning: the same pixels as scikit-image's, whatever the shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label
from skimage import morphology

from tracedge.metrics.thinning import thin

EIGHT = np.ones((3, 3))
shapes = st.tuples(st.integers(1, 140), st.integers(1, 12))


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(bool, shapes))
def test_thinning_equals_scikit_image(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(thin(mask), morphology.thin(mask))


@pytest.mark.parametrize("seed", range(20))
def test_thinning_of_blobs_equals_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((rng.integers(2, 12), rng.integers(2, 12))) < rng.uniform(0.2, 0.9)
    mask = np.kron(coarse, np.ones((rng.integers(3, 14), rng.integers(3, 14)), bool))
    mask ^= rng.random(mask.shape) < 0.01
    lines = thin(mask)
    np.testing.assert_array_equal(lines, morphology.thin(mask))
    assert label(lines, EIGHT)[1] == label(mask, EIGHT)[1]


def test_thinning_leaves_its_input_alone() -> None:
    mask = np.ones((70, 9), bool)
    thin(mask)
    assert mask.all()


def test_an_empty_map_thins_to_an_empty_map() -> None:
    assert thin(np.zeros((0, 4), bool)).shape == (0, 4)
    assert not thin(np.zeros((65, 4), bool)).any()
