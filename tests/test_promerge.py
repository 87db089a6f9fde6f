"""ProMerge follows its description to the letter: prompts, background by vote, pieces, pruning, merging."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from drawn_features import DISCS, scene, sets
from tracedge.proposals.promerge import in_pieces, merge, promerge, prune


def slow_promerge(features: np.ndarray) -> list[np.ndarray]:
    """The description followed to the letter, mask by mask, in fp64."""
    height, width, _ = features.shape
    unit = features.astype(float) / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-5)
    mean = lambda mask: unit[mask].mean(axis=0)  # noqa: E731
    candidates, proposals = [], []
    for row in range(0, height, 4):
        for column in range(0, width, 4):
            mask = unit @ unit[row, column] > 0.2
            if sum(round(line.mean()) for line in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) >= 2:
                candidates.append(mask)
                continue
            pieces, count = label(mask)
            areas = [(pieces == number).sum() for number in range(1, count + 1)]
            proposals += [
                pieces == n for n in range(1, count + 1) if areas[n - 1] >= areas[pieces[row, column] - 1] / 2
            ]
    if not candidates or (background := np.mean(candidates, axis=0) > 0.5).mean() < 0.1:
        return []
    accepted, union = [], np.zeros((height, width), bool)
    for mask in sorted(proposals, key=np.sum):
        new = mask & ~union
        if new.any() and (new & background).sum() / new.sum() < 0.8 and mean(mask) @ mean(background) < 0.1:
            accepted.append(mask)
            union |= mask
    clusters: list[np.ndarray] = []
    for mask in sorted(accepted, key=np.sum, reverse=True):
        shared = [(mask & cluster).sum() / mask.sum() for cluster in clusters]
        joins = [
            part > 0.5 or (part > 0.1 and mean(mask) @ mean(c) >= 0.1) for part, c in zip(shared, clusters, strict=True)
        ]
        fused = np.any([mask, *(c for c, join in zip(clusters, joins, strict=True) if join)], axis=0)
        clusters = [c for c, join in zip(clusters, joins, strict=True) if not join] + [fused]
    return clusters


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.3, 0.9, 1.6, 2.2])
def test_promerge_is_its_description_followed_to_the_letter(noise, seed):
    features, _ = scene((24, 28), (*DISCS, (18, 6, 4)), noise=noise, seed=seed)
    ours = promerge(features)
    assert sets(ours) == sets(slow_promerge(features))
    areas = ours.sum(axis=(1, 2))
    assert (np.diff(areas) <= 0).all()
    assert np.array_equal(ours, promerge(features))


def test_promerge_splits_what_is_alike_but_apart():
    features, labels = scene(kinds=(1, 1), noise=0.3)
    assert sets(promerge(features)) == sets([labels == 1, labels == 2])


def test_a_piece_much_smaller_than_the_prompts_is_no_proposal():
    mask = np.zeros((1, 6, 12), bool)
    mask[0, 1:5, 1:5] = mask[0, 1:5, 7:9] = mask[0, 5, 11] = True  # 16, 8 and 1 tokens
    assert in_pieces(mask, np.array([13]), 0.5).sum(axis=(1, 2)).tolist() == [16, 8]
    assert in_pieces(mask, np.array([19]), 0.5).sum(axis=(1, 2)).tolist() == [16, 8]  # a prompt in the second
    assert in_pieces(mask, np.array([13]), 0.6).sum(axis=(1, 2)).tolist() == [16]
    assert in_pieces(mask, np.array([0]), 0.5).shape == (0, 6, 12)  # a prompt that is not in its own mask


def test_parts_of_one_object_that_share_tokens_are_merged_and_their_order_does_not_matter():
    rows = np.zeros((4, 1, 20), bool)
    for row, (start, stop) in zip(rows, ((0, 10), (6, 14), (15, 20), (13, 15)), strict=True):
        row[0, start:stop] = True
    unit = np.zeros((20, 3), np.float32)
    unit[:14, 0], unit[14:, 1] = 1, 1
    assert sets(merge(rows[:2], unit, 0.5, 0.1, 0.1)) == sets([rows[0] | rows[1]])  # half shared, and alike
    assert len(merge(rows[:2], unit, 0.5, 0.5, 0.1)) == 2  # exactly half is not more than half
    two = merge(rows[[0, 1, 2]], unit, 0.5, 0.1, 0.1)
    assert two.sum(axis=(1, 2)).tolist() == [14, 5]
    bridge = merge(rows[[2, 3, 1]], unit, 0.4, 0.1, 0.1)  # half of the bridge lies in one, none in the other
    assert sets(bridge) == sets([rows[1] | rows[3], rows[2]])
    assert sets(merge(rows[::-1], unit, 0.4, 0.1, 0.1)) == sets(merge(rows, unit, 0.4, 0.1, 0.1))


def test_proposals_that_add_nothing_or_only_background_or_look_like_it_are_pruned():
    masks = np.zeros((4, 1, 20), bool)
    masks[0, 0, 0:4] = masks[1, 0, 0:5] = masks[2, 0, 8:13] = masks[3, 0, 3:6] = True
    background = np.zeros((1, 20), bool)
    background[0, 9:] = True  # 4 of the 5 tokens of the third mask
    unit = np.zeros((20, 2), np.float32)
    unit[:9, 0], unit[9:, 1] = 1, 1
    kept = prune(masks, background, unit, 0.8, 1.0)
    assert sets(kept) == sets(masks[[0, 3]])  # the second adds nothing to the smaller ones
    assert len(prune(masks, background, unit, 0.81, 1.0)) == 3
    assert len(prune(masks, background, unit, 0.81, 0.5)) == 2  # the third is like the background


def test_without_a_vote_for_background_promerge_finds_nothing():
    rng = np.random.default_rng(0)
    assert promerge(rng.normal(size=(12, 16, 256)).astype(np.float32)).shape == (0, 12, 16)  # no mask holds a border
    features, _ = scene()
    assert len(promerge(features)) == 2
    assert promerge(features, min_background=0.9).shape == (0, 20, 28)
    assert promerge(np.ones((6, 7, 3), np.float32)).shape == (0, 6, 7)  # all is background
