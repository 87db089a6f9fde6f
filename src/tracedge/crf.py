"""The dense CRF: masks snap to the picture's colours.

Every pair of pixels is connected (Kraehenbuehl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge
potentials", NIPS 2011). Pixels that are near, or near and alike in colour, are pulled to the same side; mean-field
iterations need only Gaussian filters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import SettingsError
from tracedge.permutohedral import PermutohedralLattice
from tracedge.settings import check_types

Image = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Values = NDArray[np.float32]  # (H, W)
Scores = NDArray[np.float32]  # (K, H, W)

_LEAST = np.float32(1e-6)  # a score of 0 can be outvoted


@dataclass(frozen=True)
class CrfSettings:
    """Two kernels: one smooths by place alone, one follows colour (the defaults are MaskCut's and ProMerge's).

    iterations: of mean field. smooth_sxy, bilateral_sxy: standard deviations in pixels. bilateral_srgb: standard deviation
    in 8-bit colour steps. smooth_weight, bilateral_weight: how much agreement with the kernel's mean counts.
    """

    iterations: int = 10
    smooth_sxy: float = 3
    smooth_weight: float = 7
    bilateral_sxy: float = 50
    bilateral_srgb: float = 5
    bilateral_weight: float = 10

    def __post_init__(self) -> None:
        check_types(self)
        if self.iterations < 1 or min(self.smooth_sxy, self.bilateral_sxy, self.bilateral_srgb) <= 0:
            raise SettingsError(f"a CRF needs at least one iteration and standard deviations above 0, got {self}.")
        if min(self.smooth_weight, self.bilateral_weight) < 0:
            raise SettingsError(f"the weights of a CRF are at least 0, got {self}.")


def refine_masks(image: Image, masks: Masks, settings: CrfSettings | None = None) -> Masks:
    """Each mask against its complement in a CRF of two classes over all pixels of the image.

    With U = -log softmax([1 - m, m]), K the kernel matrices and K^ = N^-1/2 K N^-1/2, N = diag(K 1), the iteration is
    Q <- softmax(-U + sum_m w_m K^_m Q) (Potts), and in the end each pixel takes its likelier class. A mask is soft: softmax of
    0 and 1 gives odds of only e to 1.

    The Gaussian over place is exact up to 4 standard deviations, that over place and colour is the permutohedral lattice's
    approximation. Masks do not know of each other and may overlap in the end; the same input gives the same bytes.

    Args:
        image: uint8 (H, W, 3).
        masks: bool (K, H, W), K may be 0.

    Returns:
        bool (K, H, W), in the order given; a mask may have become empty.

    Raises:
        SettingsError: other shapes or types, or colours too many for `bilateral_srgb` (far below 1).

    >>> picture = np.zeros((8, 12, 3), np.uint8)
    >>> picture[2:6, 3:9] = 200
    >>> rough = np.zeros((1, 8, 12), bool)
    >>> rough[0, 3:6, 2:9] = True
    >>> bool((refine_masks(picture, rough)[0] == (picture[..., 0] > 0)).all())
    True
    """
    settings = settings or CrfSettings()
    _check(image, masks)
    if not len(masks):
        return masks.copy()
    kernels = _kernels(image, settings)
    return np.stack([_mean_field(mask, kernels, settings.iterations) for mask in masks])


def refine_scores(image: Image, scores: Scores, settings: CrfSettings | None = None) -> Scores:
    """Soft scores of K classes in one CRF of all of them: Q <- softmax(log scores + sum_m w_m K^_m Q), as in `refine_masks`.

    Args:
        image: uint8 (H, W, 3).
        scores: float32 (K, H, W), not negative, each pixel's sum 1.

    Returns:
        float32 (K, H, W), each pixel's sum 1. A class whose score is 0 somewhere may have one there afterwards.

    Raises:
        SettingsError: other shapes or types.
    """
    settings = settings or CrfSettings()
    _check_image(image)
    if scores.dtype != np.float32 or scores.ndim != 3 or not len(scores) or scores.shape[1:] != image.shape[:2]:
        raise SettingsError(
            f"expected scores as float32 (K, {image.shape[0]}, {image.shape[1]}) like the image, got {scores.dtype} "
            f"{scores.shape}."
        )
    kernels = _kernels(image, settings)
    unary = np.log(np.maximum(scores, _LEAST))
    likely = scores
    for _ in range(settings.iterations):
        odds = unary + np.stack([sum(kernel(one) for kernel in kernels) for one in likely])
        odds -= odds.max(axis=0)
        likely = np.exp(odds)
        likely /= likely.sum(axis=0)
    return likely.astype(np.float32)


class _Kernel:
    """w K^ for one of the Gaussians: `filtered` is K up to a factor, which the normalisation cancels."""

    def __init__(self, filtered: Callable[[Values], Values], image_hw: tuple[int, int], weight: float) -> None:
        self._filtered = filtered
        self._root = 1 / np.sqrt(filtered(np.ones(image_hw, np.float32)) + np.float32(1e-20))  # N^-1/2
        self._weighted_root = np.float32(weight) * self._root

    def __call__(self, values: Values) -> Values:
        return self._weighted_root * self._filtered(values * self._root)


def _kernels(image: Image, settings: CrfSettings) -> list[_Kernel]:
    """Made once for all masks of an image."""
    image_hw = image.shape[0], image.shape[1]
    kernels = []
    if settings.smooth_weight:
        down, across = (_gaussian(side, settings.smooth_sxy) for side in image_hw)  # (H, H), (W, W)

        def smoothed(values: Values) -> Values:
            return np.asarray(down @ values @ across, np.float32)

        kernels.append(_Kernel(smoothed, image_hw, settings.smooth_weight))
    if settings.bilateral_weight:
        rows, columns = np.mgrid[: image_hw[0], : image_hw[1]]
        place = np.stack([rows, columns], axis=-1) / settings.bilateral_sxy
        features = np.concatenate([place, image / settings.bilateral_srgb], axis=-1)  # (H, W, 5)
        lattice = PermutohedralLattice(features.reshape(-1, 5))

        def followed(values: Values) -> Values:
            return lattice(values.ravel()).reshape(values.shape)

        kernels.append(_Kernel(followed, image_hw, settings.bilateral_weight))
    return kernels


def _gaussian(side: int, sigma: float) -> NDArray[np.float32]:
    """(side, side) exp(-(i - j)^2 / 2 sigma^2), 0 beyond 4 sigma; beyond the border there is nothing."""
    apart = np.arange(side)[:, None] - np.arange(side)
    within = abs(apart) <= int(4 * sigma + 0.5)
    return np.where(within, np.exp(-0.5 * (apart / sigma) ** 2), 0).astype(np.float32)


def _mean_field(mask: NDArray[np.bool_], kernels: list[_Kernel], iterations: int) -> NDArray[np.bool_]:
    """With two classes one channel will do: the log odds of being inside, of which Q_1 - Q_0 is tanh(odds / 2)."""
    unary = mask.astype(np.float32) * 2 - 1  # (H, W): log(e / 1) inside, log(1 / e) outside
    odds = unary
    for _ in range(iterations):
        inside = np.tanh(odds / 2)
        odds = sum((kernel(inside) for kernel in kernels), unary)
    return odds > 0


def _check(image: Image, masks: Masks) -> None:
    _check_image(image)
    if masks.dtype != bool or masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise SettingsError(
            f"expected masks as bool (K, {image.shape[0]}, {image.shape[1]}) like the image, got {masks.dtype} {masks.shape}."
        )


def _check_image(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise SettingsError(
            f"expected an image as uint8 (H, W, 3), got {image.dtype} {image.shape}: take it from load_image."
        )
