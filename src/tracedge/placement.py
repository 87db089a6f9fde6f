"""Edges finer than the token grid: placed on the picture's own contours, inside a token's width.

A token covers many pixels; the divergence says that a boundary runs near, the picture says where. Attention decides *whether*
a contour is an instance edge, the gradient only decides on *which pixel* it lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from tracedge.edges import non_maximum_suppression

Map = NDArray[np.float32]


def place_edges(
    image: NDArray[np.uint8], divergence: Map, token: float, *, sigma: float = 1.5, divergence_power: float = 0.5
) -> Map:
    """Ridges of contrast x divergence^divergence_power: zero between ridges, one pixel wide.

    Args:
        image: (H, W, 3) uint8.
        divergence: (H, W), ABDiv brought to the picture's pixels, >= 0.
        token: side of a token in pixels of the picture; below two pixels the divergence is fine enough by itself and comes
            back as it is.
        sigma: smoothing of the picture in pixels before its gradient is taken.
        divergence_power: divergence is in nats and spans decades; its root is nearer to how sure it is.

    Returns:
        (H, W) float32, >= 0, not normalised.
    """
    if token < 2 or min(image.shape[:2]) < 3:
        return divergence
    strength = contrast(image, sigma) * np.maximum(divergence, 0) ** divergence_power
    return non_maximum_suppression(strength.astype(np.float32))


def contrast(image: NDArray[np.uint8], sigma: float) -> Map:
    """Gradient magnitude of the smoothed picture in CIE Lab, all channels together, per pixel: (H, W), L in [0, 100]."""
    lab = rgb2lab(image).astype(np.float32)
    power = np.zeros(image.shape[:2], np.float32)
    for channel in range(3):
        down, right = np.gradient(gaussian_filter(lab[..., channel], sigma, mode="nearest"))
        power += down**2 + right**2
    return np.sqrt(power)
