"""Edges placed on the picture's contours inside a token's width."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tracedge.placement import contrast, place_edges


def two_halves(column: int, size: int = 64) -> np.ndarray:
    image = np.full((size, size, 3), 60, np.uint8)
    image[:, column:] = (200, 120, 40)
    return image


def test_a_divergence_that_is_off_by_less_than_a_token_is_moved_onto_the_contour():
    image = two_halves(column=35)
    divergence = np.zeros((64, 64), np.float32)
    divergence[:, 28:36] = 1  # the token beside the contour
    placed = place_edges(image, gaussian_filter(divergence, 4), token=8)
    assert (np.abs(placed[5:-5].argmax(axis=1) - 34.5) <= 1).all()
    assert ((placed[5:-5] > 0.5 * placed.max()).sum(axis=1) <= 2).all()


def test_a_contour_that_attention_does_not_see_is_no_edge():
    placed = place_edges(two_halves(32), np.zeros((64, 64), np.float32), token=8)
    assert not placed.any()


def test_of_two_contours_the_one_with_more_divergence_is_stronger():
    image = np.full((64, 96, 3), 60, np.uint8)
    image[:, 32:64] = 160
    divergence = np.zeros((64, 96), np.float32)
    divergence[:, 24:40], divergence[:, 56:72] = 0.1, 2.0
    placed = place_edges(image, divergence, token=8)
    assert placed[10:50, 60:68].max() > 2 * placed[10:50, 28:36].max() > 0


def test_of_a_divergence_as_fine_as_the_picture_the_own_ridges_are_taken():
    divergence = np.full((64, 64), 0.1, np.float32)
    divergence[:, 19:22] = 0.3, 0.9, 0.3  # not where the picture has its contour
    placed = place_edges(two_halves(32), divergence, token=1)
    assert np.flatnonzero(placed[32]).tolist() == [20]
    assert placed[32, 20] == pytest.approx(0.8)


@pytest.mark.parametrize("token", [1, 4])
def test_a_picture_of_one_colour_has_no_edges_whatever_the_attention_says(token):
    divergence = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    assert place_edges(np.full((64, 64, 3), 90, np.uint8), divergence, token=token).max() == 0


def test_contrast_sees_colour_without_brightness():
    from skimage.color import lab2rgb

    lab = np.zeros((32, 32, 3))
    lab[..., 0], lab[:, :16, 1], lab[:, 16:, 1] = 60, -30, 30
    seen = contrast((lab2rgb(lab) * 255).round().astype(np.uint8), sigma=1.0)
    assert seen[8:24, 15:17].min() > 5
    assert seen[8:24, :8].max() < 0.5


@pytest.mark.parametrize("shape", [(1, 1), (2, 40)])
def test_pictures_too_small_for_a_gradient_have_no_edges(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert place_edges(image, np.ones(shape, np.float32), token=8).max() == 0


def test_a_contour_stands_or_falls_as_a_whole():
    image = np.full((96, 96, 3), 60, np.uint8)
    image[:, 32:] = 160
    image[8:12, 70:76] = 60  # a speck on its own
    divergence = np.zeros((96, 96), np.float32)
    divergence[:, 28:36] = 1.0
    divergence[40:56, 28:36] = 0.3  # attention is unsure for a while
    divergence[4:16, 66:80] = 0.3  # and as sure of the speck as of that part
    placed = place_edges(image, divergence, token=8)
    gap, speck = placed[44:52, 30:34].max(axis=1).min(), placed[6:14, 68:78].max()
    assert gap > 1.05 * speck > 0
