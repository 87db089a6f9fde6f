"""MaskCut: up to a few objects by repeated normalised cuts of token features.

Written from a description of the method (Wang, Girdhar, Yu, Misra, "Cut and Learn for Unsupervised Object Detection and
Instance Segmentation", CVPR 2023, section 3.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from tracedge.errors import SettingsError
from tracedge.proposals.ncut import Matrix, second_eigenvector, similarity_graph

Grid = NDArray[np.bool_]
Masks = NDArray[np.bool_]
Features = NDArray[np.float32]


def maskcut(
    features: Features,
    *,
    threshold: float = 0.15,
    count: int = 3,
    max_iou: float = 0.5,
    min_area: float = 0.01,
    epsilon: float = 1e-5,
) -> Masks:
    """Up to `count` disjoint objects of an image, from the features of its tokens.

    Each round cuts the graph of who is like whom (`similarity_graph`) in two at the mean of its second eigenvector, takes one
    side as the object, and of it the piece around the most outstanding token. What earlier rounds have found takes no part in
    later cuts.

    Args:
        features: float32 (h, w, D), one row of D numbers for each token.
        threshold: cosine above which two tokens are alike (MaskCut's published runs: 0.15), in [0, 1).
        count: rounds, at least 1.
        max_iou: a cut that shares more than this with the one before (intersection over union) is discarded.
        min_area: as is one of at most this part of the grid. The first cut is always kept.
        epsilon: weight of the edge between tokens that are not alike.

    Returns:
        bool (K, h, w), K from 0 to count, in the order found, disjoint, none empty. K is 0 where all tokens are alike.

    Raises:
        SettingsError: other features, or a parameter out of range.

    >>> features = np.zeros((6, 8, 2), np.float32)
    >>> features[..., 0] = 1
    >>> features[2:4, 3:6] = [0, 1]
    >>> maskcut(features, count=1).sum(axis=(1, 2)).tolist()
    [6]
    """
    height, width, tokens = checked_tokens(features)
    if count < 1 or not 0 <= max_iou <= 1 or not 0 <= min_area < 1:
        raise SettingsError(
            f"MaskCut needs count >= 1, max_iou in [0, 1] and min_area in [0, 1), got {count}, {max_iou}, {min_area}."
        )
    graph = similarity_graph(tokens, threshold, epsilon)
    painted, before = np.zeros((height, width), bool), np.zeros((height, width), bool)
    masks = []
    for number in range(count):
        # 1. The graph without what has been found: tokens of zero features, tied to all alike.
        graph[painted.ravel()] = epsilon
        graph[:, painted.ravel()] = epsilon
        if not (graph != graph[0, 0]).any():
            break  # nothing differs from anything

        # 2. The cut, and the object in it.
        mask = _object(graph, (height, width))

        # 3. Not once more what came before. It would come again, as nothing new has been painted.
        if number and (_iou(mask, before) > max_iou or mask.sum() <= min_area * mask.size):
            break
        masks.append(mask & ~painted)
        painted |= mask
        before = mask
    kept = [mask for mask in masks if mask.any()]
    return np.stack(kept) if kept else np.zeros((0, height, width), bool)


def _object(graph: Matrix, grid_hw: tuple[int, int]) -> Grid:
    """One cut: the side that is not the background, and of it the 4-connected piece around its most outstanding token."""
    vector = second_eigenvector(graph).reshape(grid_hw)
    side = vector > vector.mean()
    corners = int(side[[0, 0, -1, -1], [0, -1, 0, -1]].sum())
    # The vector's sign puts its largest component, the most outstanding token, above the mean. That side is the object, unless
    # it fills three corners, which objects seldom do.
    if corners >= 3:
        side, vector = ~side, -vector
    return piece_at(side, int(vector.argmax()))


def piece_at(mask: Grid, token: int) -> Grid:
    """The 4-connected piece of a mask (h, w) that holds the token of a flat index; empty if the mask does not."""
    pieces, _ = label(mask)
    number = pieces.flat[token]
    return np.asarray(pieces == number) & mask


def checked_tokens(features: Features) -> tuple[int, int, Features]:
    """h, w and the features (h, w, D) as rows (h w, D).

    Raises:
        SettingsError: not float32, not of three axes, not finite, or fewer than two tokens.
    """
    if (
        features.dtype != np.float32
        or features.ndim != 3
        or features.shape[0] * features.shape[1] < 2
        or not features.shape[2]
    ):
        raise SettingsError(
            f"expected token features as float32 (h, w, D) with at least two tokens, got {features.dtype} {features.shape}."
        )
    if not np.isfinite(features).all():
        raise SettingsError("expected finite token features; a network in half precision may have overflowed.")
    height, width, _ = features.shape
    return height, width, features.reshape(height * width, -1)


def _iou(first: Grid, second: Grid) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 0.0
