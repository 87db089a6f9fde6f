"""The lattice is a Gaussian filter, the CRF is mean field on it, and masks snap to colours."""

from __future__ import annotations

import numpy as np
import pytest

from tracedge.crf import CrfSettings, refine_masks, refine_scores
from tracedge.errors import SettingsError
from tracedge.permutohedral import PermutohedralLattice, embedded

HW = 12, 16
DISC = (np.mgrid[:12, :16][0] - 6) ** 2 + (np.mgrid[:12, :16][1] - 8) ** 2 < 20


def picture(noise: float, seed: int = 0) -> np.ndarray:
    """An orange disc on blue, with noise of so many colour steps."""
    image = np.where(DISC[..., None], [200.0, 90, 60], [40, 80, 160])
    image += np.random.default_rng(seed).normal(size=image.shape) * noise
    return image.clip(0, 255).round().astype(np.uint8)


def noisy(mask: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    return mask ^ (np.random.default_rng(seed).random(mask.shape) < share)


def features(image: np.ndarray, sxy: float, srgb: float | None) -> np.ndarray:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    place = np.stack([rows, columns], axis=-1) / sxy
    return (place if srgb is None else np.concatenate([place, image / srgb], axis=-1)).reshape(rows.size, -1)


def gaussian(points: np.ndarray) -> np.ndarray:
    """(N, N), every pair of points."""
    return np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=-1) / 2)


def brute_force(image: np.ndarray, mask: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """Mean field with two channels and all pairs of pixels: the probability of being inside, (H, W)."""
    kernels = []
    for points, weight in (
        (features(image, settings.smooth_sxy, None), settings.smooth_weight),
        (features(image, settings.bilateral_sxy, settings.bilateral_srgb), settings.bilateral_weight),
    ):
        kernel = gaussian(points)
        root = np.diag(kernel.sum(axis=1) ** -0.5)
        kernels.append(weight * root @ kernel @ root)
    scores = np.stack([1 - mask.ravel(), mask.ravel()], axis=1).astype(float)
    unary = -np.log(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    share = np.exp(-unary)
    for _ in range(settings.iterations):
        energy = -unary + sum(kernel @ share for kernel in kernels)
        share = np.exp(energy - energy.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
    return share[:, 1].reshape(mask.shape)


def test_the_embedding_keeps_distances_and_lies_in_the_lattices_hyperplane():
    points = np.random.default_rng(0).normal(size=(7, 5))
    lifted = embedded(points)
    assert np.allclose(lifted.sum(axis=1), 0)
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    assert np.allclose(np.linalg.norm(lifted[:, None] - lifted, axis=-1), apart * 6 * (2 / 3) ** 0.5)


def test_with_points_everywhere_the_lattice_sums_like_the_gaussian_itself():
    """In two dimensions, away from the border (which has no corners beyond it): to 3 %."""
    points = features(np.zeros((32, 32, 3)), 3, None)
    values = np.random.default_rng(0).random((len(points), 2)).astype(np.float32)
    inner = np.zeros((32, 32), bool)
    inner[10:-10, 10:-10] = True
    ratio = (PermutohedralLattice(points)(values) / (gaussian(points) @ values))[inner.ravel()]
    assert abs(ratio - 1).max() < 0.03


@pytest.mark.parametrize("noise", [0, 3])
def test_means_over_colour_and_place_agree_with_all_pairs_of_pixels(noise):
    """Weighted means, in five dimensions: to 2 % on average."""
    points = features(picture(noise), 50, 5)
    values = np.random.default_rng(1).random((len(points), 3)).astype(np.float32)
    values[:, 0] = 1
    fast, exact = PermutohedralLattice(points)(values), gaussian(points) @ values
    relative = fast[:, 1:] / fast[:, :1] / (exact[:, 1:] / exact[:, :1])
    assert abs(relative - 1).mean() < 0.02


def test_channels_do_not_mix_and_the_filter_is_linear():
    lattice = PermutohedralLattice(features(picture(10), 20, 10))
    values = np.random.default_rng(2).random((192, 2)).astype(np.float32)
    both = lattice(values)
    assert np.array_equal(both[:, 1], lattice(values[:, 1:])[:, 0])
    assert np.allclose(lattice(values[:, :1] + 2 * values[:, 1:])[:, 0], both[:, 0] + 2 * both[:, 1], rtol=1e-5)


@pytest.mark.parametrize("noise", [0, 4, 8, 15, 30])
def test_the_crf_decides_as_mean_field_over_all_pairs_of_pixels_does(noise):
    """At least 97 % of the pixels, and all where the picture is clear."""
    image, mask = picture(noise, seed=noise), noisy(DISC, 0.2, seed=noise)
    ours, theirs = refine_masks(image, mask[None])[0], brute_force(image, mask, CrfSettings()) > 0.5
    assert (ours == theirs).mean() >= (1 if noise <= 4 else 0.97)


@pytest.mark.parametrize("iterations", [1, 3])
def test_smoothing_alone_is_exact_up_to_the_border(iterations):
    """With a strong pull each way many pixels are nearly undecided: a wrong normalisation or start would turn them."""
    settings = CrfSettings(iterations=iterations, smooth_weight=25, bilateral_weight=0)
    masks = np.random.default_rng(5).random((12, *HW)) < 0.5
    exact = np.stack([brute_force(picture(0), mask, settings) for mask in masks])
    sure = abs(exact - 0.5) > 1e-3
    assert sure.mean() > 0.99
    assert np.array_equal(refine_masks(picture(0), masks, settings)[sure], exact[sure] > 0.5)


def test_after_one_iteration_the_crf_still_decides_as_brute_force():
    """Before the fixed point, where a wrong weight or normalisation would show."""
    image, mask = picture(4), noisy(DISC, 0.35)
    settings = CrfSettings(iterations=1, smooth_weight=2, bilateral_sxy=6, bilateral_srgb=40, bilateral_weight=3)
    sure = abs(brute_force(image, mask, settings) - 0.5) > 0.02
    exact = brute_force(image, mask, settings) > 0.5
    assert sure.mean() > 0.9
    assert np.array_equal(refine_masks(image, mask[None], settings)[0][sure], exact[sure])


def test_a_noisy_mask_of_a_coloured_disc_snaps_to_the_disc():
    masks = np.stack([noisy(DISC, 0.2), noisy(~DISC, 0.2)])
    assert not np.array_equal(masks[0], DISC)
    assert np.array_equal(refine_masks(picture(2), masks), np.stack([DISC, ~DISC]))


def test_the_same_input_gives_the_same_masks_alone_and_in_a_crowd():
    rng = np.random.default_rng(3)
    masks = rng.random((5, *HW)) < 0.5
    image = picture(20)
    together = refine_masks(image, masks)
    assert together.shape == masks.shape
    assert together.dtype == bool
    assert np.array_equal(together, refine_masks(image, masks))
    assert np.array_equal(together, np.concatenate([refine_masks(image, mask[None]) for mask in masks]))


def test_without_a_kernel_the_other_works_alone_and_without_both_nothing_moves():
    mask = noisy(DISC, 0.2)[None]
    assert np.array_equal(refine_masks(picture(2), mask, CrfSettings(smooth_weight=0))[0], DISC)
    grey = np.full((*HW, 3), 128, np.uint8)
    smooth = CrfSettings(bilateral_weight=0)
    assert np.array_equal(refine_masks(picture(2), mask, smooth), refine_masks(grey, mask, smooth))
    assert np.array_equal(refine_masks(grey, mask, CrfSettings(smooth_weight=0, bilateral_weight=0)), mask)


def test_no_masks_in_no_masks_out():
    assert refine_masks(picture(0), np.zeros((0, *HW), bool)).shape == (0, *HW)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"iterations": 0}, "at least one iteration"),
        ({"bilateral_srgb": 0}, "above 0"),
        ({"smooth_weight": -1}, "at least 0"),
        ({"iterations": 2.5}, "whole number"),
        ({"smooth_sxy": float("nan")}, "a number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, said):
    with pytest.raises(SettingsError, match=said):
        CrfSettings(**options)


@pytest.mark.parametrize(
    ("image", "masks", "said"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((1, 4, 5), bool), "uint8"),
        (np.zeros((4, 5, 3)), np.zeros((1, 4, 5), bool), "uint8"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((1, 5, 4), bool), r"\(K, 4, 5\)"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((1, 4, 5), np.uint8), "bool"),
    ],
)
def test_images_and_masks_that_do_not_fit_are_refused(image, masks, said):
    with pytest.raises(SettingsError, match=said):
        refine_masks(image, masks)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (np.zeros(5), "features"),
        (np.zeros((0, 2)), "at least 1"),
        (np.full((3, 2), np.nan), "finite"),
        (np.eye(5) * 1e5, "wider"),
    ],
)
def test_features_that_a_lattice_cannot_hold_are_refused(points, said):
    with pytest.raises(SettingsError, match=said):
        PermutohedralLattice(points)


def test_soft_scores_of_two_classes_end_where_masks_do():
    """With odds of e to 1, a mask's own, both are the same iteration, in two channels or in one."""
    mask = noisy(DISC, 0.2)
    inside = 1 / (1 + np.exp(-np.where(mask, 1, -1)))
    scores = np.stack([1 - inside, inside]).astype(np.float32)
    settings = CrfSettings(iterations=5, bilateral_weight=2, smooth_weight=1)
    found = refine_scores(picture(10), scores, settings)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(found[1] > found[0], refine_masks(picture(10), mask[None], settings)[0])
    assert ((found[1] > found[0]) == DISC).mean() > (mask == DISC).mean()


def test_each_of_three_classes_takes_the_colour_that_most_of_it_has():
    image = np.repeat(np.array([[[250, 0, 0]] * 6 + [[0, 250, 0]] * 6 + [[0, 0, 250]] * 6], np.uint8), 8, axis=0)
    truth = np.repeat(np.arange(3), 6) * np.ones((8, 1), int)
    scores = np.where(truth == np.arange(3)[:, None, None], 0.6, 0.2).astype(np.float32)
    scores[:, 3:5, 2:4] = np.array([0.2, 0.2, 0.6], np.float32)[:, None, None]  # a wrong spot
    assert (scores.argmax(0) != truth).sum() == 4
    np.testing.assert_array_equal(refine_scores(image, scores, CrfSettings(iterations=3)).argmax(0), truth)


def test_scores_that_do_not_fit_the_image_are_refused():
    image = np.zeros((4, 5, 3), np.uint8)
    for scores in (np.zeros((2, 5, 4), np.float32), np.zeros((2, 4, 5)), np.zeros((0, 4, 5), np.float32)):
        with pytest.raises(SettingsError, match=r"expected scores as float32 \(K, 4, 5\)"):
            refine_scores(image, scores)
