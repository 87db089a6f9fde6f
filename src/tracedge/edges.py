"""From a divergence map to edges: normalise, thin, suppress non-maxima, hysteresis.

Maps here are numpy arrays (H, W) at image resolution, larger meaning more of an edge.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import thin as morphological_thin

from tracedge.errors import SettingsError
from tracedge.settings import choose

Map = NDArray[np.float32]


def normalise(edges: Map) -> Map:
    """Scale to [0, 1] by the largest value; 0 stays 0, and an empty map stays empty."""
    largest = edges.max()
    return (edges / largest if largest > 0 else np.zeros_like(edges)).astype(np.float32)


def edge_direction(edges: Map, sigma: float = 2.0) -> NDArray[np.float32]:
    """(H, W) angle in radians of the normal of the ridge through each pixel; 0 points along the columns, pi / 2 down the rows.

    The main axis of the structure tensor (squared gradients, averaged over a Gaussian of `sigma` pixels): gradients on
    the two flanks of a ridge are opposite, their squares agree, so crest and flanks get the same normal.
    """
    down, right = np.gradient(gaussian_filter(edges.astype(np.float32), sigma / 2, mode="nearest"))
    down_down, down_right, right_right = (
        gaussian_filter(product, sigma, mode="nearest") for product in (down * down, down * right, right * right)
    )
    return (np.arctan2(2 * down_right, right_right - down_down) / 2).astype(np.float32)


def non_maximum_suppression(edges: Map, sigma: float = 2.0, multiplier: float = 1.01) -> Map:
    """Keep a pixel only where it is the largest along the normal of its ridge, one pixel to either side.

    multiplier: a pixel survives if multiplier x edge is at least both neighbours' values (bilinear), so that plateaus do.
    Values that survive are unchanged, so thresholds mean the same as before. (H, W) in, (H, W) out.
    """
    if min(edges.shape) < 3:
        return edges.copy()
    rows, columns = np.nonzero(edges > 0)  # the rest is 0 already
    angle, own = edge_direction(edges, sigma)[rows, columns], edges[rows, columns]
    down, right = np.sin(angle), np.cos(angle)
    keep = np.ones(len(rows), bool)
    for sign in (-1, 1):
        beside = map_coordinates(edges, (rows + sign * down, columns + sign * right), order=1, mode="nearest")
        keep &= multiplier * own >= beside
    ridges = np.zeros(edges.shape, np.float32)
    ridges[rows[keep], columns[keep]] = own[keep]
    return ridges


def hysteresis(edges: Map, low: float, high: float) -> NDArray[np.bool_]:
    """Pixels of the non-maximum-suppressed map over `low` that are 8-connected to one over `high`: (H, W) bool.

    Raises:
        SettingsError: unless 0 <= low <= high <= 1.
    """
    if not 0 <= low <= high <= 1:
        raise SettingsError(f"hysteresis needs 0 <= low <= high <= 1, got low {low} and high {high}")
    return np.asarray(apply_hysteresis_threshold(non_maximum_suppression(edges), low, high))


def _thinned(edges: Map, low: float, high: float) -> Map:
    """One-pixel lines through what is over `low`, with the values of the soft map."""
    return np.where(morphological_thin(edges >= low), edges, 0).astype(np.float32)


KINDS: dict[str, Callable[[Map, float, float], Map]] = {
    "soft": lambda edges, low, high: edges,
    "nms": lambda edges, low, high: non_maximum_suppression(edges),
    "thin": _thinned,
    "binary": lambda edges, low, high: hysteresis(edges, low, high).astype(np.float32),
}


def as_kind(edges: Map, kind: str, low: float = 0.15, high: float = 0.35) -> Map:
    """The soft map (H, W) in [0, 1] in another form, of the same size, float32 in [0, 1].

    kind: "soft" as it is; "nms" ridges only, values kept; "thin" one-pixel lines through what is over `low`, values
    kept; "binary" hysteresis between `low` and `high`, 0 or 1.

    Raises:
        SettingsError: an unknown kind, or thresholds out of order.
    """
    return choose("kind of edges", kind, KINDS)(edges, low, high)
