"""Edges finer than the token grid: placed on the picture's own contours, inside a token's width.

A token covers many pixels; the divergence says that a boundary runs near, the picture says where. Attention decides *whether*
a contour is an instance edge, the gradient only decides on *which pixel* it lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from tracedge.contours import halfway
from tracedge.edges import non_maximum_suppression

Map = NDArray[np.float32]


def place_edges(
    image: NDArray[np.uint8], divergence: Map, token: float, *, sigma: float = 1.5, power: float = 0.7
) -> Map:
    """Ridges of (contrast x (divergence - its median))^power, each lifted or lowered towards the mean of its contour.

    Neighbouring rows of attention differ a little everywhere, by their position alone: the median is that floor. A contour
    stands or falls as a whole: a pixel gets the geometric mean of its own strength and of its connected ridge's mean.

    Args:
        image: (H, W, 3) uint8.
        divergence: (H, W), ABDiv brought to the picture's pixels, >= 0.
        token: side of a token in pixels of the picture; below two pixels the divergence is fine enough by itself, and its
            own ridges are taken.
        sigma: smoothing of the picture in pixels before its gradient is taken.
        power: both factors spread over decades; below 1 the weak ones keep their order nearer to the strong ones.

    Returns:
        (H, W) float32, >= 0, one pixel wide, not normalised. All 0 for a picture of one colour, or narrower than 3 pixels.
    """
    if min(image.shape[:2]) < 3 or int(np.ptp(image, axis=(0, 1)).max()) <= 1:
        return np.zeros(image.shape[:2], np.float32)
    above = np.maximum(divergence - np.median(divergence), 0)
    if token < 2:
        return non_maximum_suppression(above.astype(np.float32))
    strength = (contrast(image, sigma) * above) ** power
    return halfway(non_maximum_suppression(strength.astype(np.float32)))


def contrast(image: NDArray[np.uint8], sigma: float) -> Map:
    """Gradient magnitude of the smoothed picture in CIE Lab, all channels together, per pixel: (H, W), L in [0, 100]."""
    lab = rgb2lab(image).astype(np.float32)
    power = np.zeros(image.shape[:2], np.float32)
    for channel in range(3):
        down, right = np.gradient(gaussian_filter(lab[..., channel], sigma, mode="nearest"))
        power += down**2 + right**2
    return np.sqrt(power)
