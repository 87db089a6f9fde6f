"""ProMerge: objects of token features without a cut: prompt with a grid of tokens, prune by the background, merge.

Written from a description of the method (Li and Shin, "ProMerge: Prompt and Merge for Unsupervised Instance Segmentation",
ECCV 2024, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from tracedge.errors import SettingsError
from tracedge.proposals.maskcut import Features, Grid, Masks, checked_tokens
from tracedge.proposals.ncut import normalised

Rows = NDArray[np.float32]


def promerge(
    features: Features,
    *,
    stride: int = 4,
    threshold: float = 0.2,
    min_sides: int = 2,
    piece: float = 0.5,
    vote: float = 0.5,
    min_background: float = 0.1,
    max_background: float = 0.8,
    max_likeness: float = 0.1,
    merge_overlap: float = 0.5,
    touch_overlap: float = 0.1,
    touch_likeness: float = 0.1,
) -> Masks:
    """Objects of an image, from the features of its tokens.

    Areas and overlaps count tokens; the likeness of two masks is the product of their mean unit features.

    Args:
        features: float32 (h, w, D), one row of D numbers for each token.
        stride: every so many tokens, along both sides, one is a prompt: the mask of all tokens like it.
        threshold: cosine above which two tokens are alike, in [0, 1).
        min_sides: a mask that holds more than half of the grid's border on so many of its four sides is of the background.
        piece: a 4-connected piece of a mask is a proposal of its own if its area is at least this part of the piece's
            with the prompt.
        vote: where more than this part of the background masks agree is background.
        min_background: with less background than this part of the grid (or none) there are no objects.
        max_background: a proposal is dropped unless less than this part of what it adds is background.
        max_likeness: and unless its likeness to the background is below this.
        merge_overlap: a mask joins those larger ones that hold more than this part of it.
        touch_overlap, touch_likeness: or more than this part, if also their likeness is at least that.

    Returns:
        bool (K, h, w), largest first, none empty; they may overlap. K is 0 where there is no background to tell them from.

    Raises:
        SettingsError: other features, or a parameter out of range.

    >>> features = np.zeros((8, 12, 2), np.float32)
    >>> features[..., 0] = 1
    >>> features[3:6, 2:5] = features[3:6, 8:10] = [0, 1]
    >>> promerge(features).sum(axis=(1, 2)).tolist()
    [9, 6]
    """
    height, width, tokens = checked_tokens(features)
    if stride < 1 or not 0 <= threshold < 1 or not 1 <= min_sides <= 4:
        raise SettingsError(
            f"ProMerge needs stride >= 1, threshold in [0, 1) and min_sides from 1 to 4, got {stride}, {threshold}, {min_sides}."
        )
    parts = (piece, vote, min_background, max_background, merge_overlap, touch_overlap)
    if not all(0 <= part <= 1 for part in parts) or max(abs(max_likeness), abs(touch_likeness)) > 1:
        likenesses = max_likeness, touch_likeness
        raise SettingsError(f"ProMerge's parts lie in [0, 1], its likenesses in [-1, 1], got {parts} and {likenesses}.")
    unit = normalised(tokens)  # (N, D)

    # 1. A mask for each prompt: (P, h, w).
    prompts = np.arange(height * width).reshape(height, width)[::stride, ::stride].ravel()
    masks = (unit[prompts] @ unit.T > threshold).reshape(-1, height, width)

    # 2. What most of the masks at the border agree on is background.
    outside = _sides(masks) >= min_sides
    background = masks[outside].mean(axis=0) > vote if outside.any() else np.zeros((height, width), bool)
    if background.mean() < min_background or not background.any():
        return np.zeros((0, height, width), bool)

    # 3. The others in pieces, pruned, merged.
    proposals = in_pieces(masks[~outside], prompts[~outside], piece)
    accepted = prune(proposals, background, unit, max_background, max_likeness)
    return merge(accepted, unit, merge_overlap, touch_overlap, touch_likeness)


def _sides(masks: Masks) -> NDArray[np.int64]:
    """(P,) on how many of the grid's four sides each mask holds more than half of the border."""
    borders = (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1])
    return np.sum([border.mean(axis=1) > 0.5 for border in borders], axis=0)


def in_pieces(masks: Masks, prompts: NDArray[np.int64], part: float) -> Masks:
    """The 4-connected pieces of each mask, without those that are small beside the piece with the prompt."""
    pieces = []
    for mask, prompt in zip(masks, prompts, strict=True):
        labels, _ = label(mask)
        areas = np.bincount(labels.ravel())
        own = labels.flat[prompt]
        if own:  # a token of zero features is not even like itself
            large = np.flatnonzero(areas >= part * areas[own])
            pieces += [labels == number for number in large if number]
    return np.stack(pieces) if pieces else np.zeros((0, *masks.shape[1:]), bool)


def prune(proposals: Masks, background: Grid, unit: Rows, max_background: float, max_likeness: float) -> Masks:
    """From the smallest to the largest, those that add something, and something other than background."""
    means = _means(proposals, unit)
    likeness = means @ _means(background[None], unit)[0]
    taken = np.zeros_like(background)
    kept = []
    for number in np.argsort(proposals.sum(axis=(1, 2)), kind="stable"):
        new = proposals[number] & ~taken
        if not new.any() or background[new].mean() >= max_background or likeness[number] >= max_likeness:
            continue
        taken |= proposals[number]
        kept.append(number)
    return proposals[kept]


@dataclass
class _Cluster:
    mask: Grid
    mean: Rows


def merge(masks: Masks, unit: Rows, overlap: float, touch_overlap: float, touch_likeness: float) -> Masks:
    """From the largest to the smallest, each joins every cluster that it lies in or touches and is like, and joins them so."""
    clusters: list[_Cluster] = []
    for number in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        joined = _Cluster(masks[number], _means(masks[number : number + 1], unit)[0])
        apart = []
        for cluster in clusters:
            shared = cluster.mask[masks[number]].mean()
            alike = float(joined.mean @ cluster.mean) >= touch_likeness
            if shared > overlap or (shared > touch_overlap and alike):
                joined.mask = joined.mask | cluster.mask
            else:
                apart.append(cluster)
        if len(apart) < len(clusters):
            joined.mean = _means(joined.mask[None], unit)[0]
        clusters = [*apart, joined]
    found = np.array([cluster.mask for cluster in clusters], bool).reshape(-1, *masks.shape[1:])
    return found[np.argsort(-found.sum(axis=(1, 2)), kind="stable")]


def _means(masks: Masks, unit: Rows) -> Rows:
    """(P, D) mean unit feature inside each of P masks that are not empty; the means are not of unit length."""
    rows = masks.reshape(len(masks), len(unit)).astype(np.float32)
    return rows @ unit / rows.sum(axis=1, keepdims=True)
