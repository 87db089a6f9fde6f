"""DiffCut on known features, and the features of a block of every family of tiny models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from token_groups import FAMILIES, group_features, same_partition, three_groups
from tracedge.backbones import load_backbone
from tracedge.rivals.diffcut import (
    best_split,
    block_output,
    cosine_affinity,
    encoder_block,
    group_similarity,
    recursive_cut,
)


def brute_ncut(affinity: np.ndarray, side: np.ndarray) -> float:
    cut = affinity[side][:, ~side].sum()
    return float(cut / affinity[side].sum() + cut / affinity[~side].sum())


def test_the_affinity_is_the_cosine_from_zero_to_one_to_a_power():
    features = group_features(three_groups(3, 4))
    rows = features.reshape(12, -1).astype(float)
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in rows] for a in rows])
    expected = ((cosines - cosines.min()) / (cosines.max() - cosines.min())) ** 10
    np.testing.assert_allclose(cosine_affinity(features), expected, atol=1e-5)
    assert (cosine_affinity(np.ones((2, 3, 4), np.float32)) == 1).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), st.integers(0, 99), st.integers(1, 100))
def test_a_split_costs_what_its_cut_costs_and_no_threshold_tried_is_cheaper(count, seed, thresholds):
    from tracedge.proposals.ncut import second_eigenvector

    half = np.random.default_rng(seed).random((count, count)) ** 3
    affinity = ((half + half.T) / 2).astype(np.float32)
    np.fill_diagonal(affinity, 1)
    side, cost = best_split(affinity, thresholds)
    assert side.any() and not side.all()
    assert cost == pytest.approx(brute_ncut(affinity.astype(float), side), rel=1e-4)
    vector = second_eigenvector(affinity)
    tried = np.linspace(vector.min(), vector.max(), thresholds + 2)[1:-1]
    assert cost <= min(brute_ncut(affinity.astype(float), vector > level) for level in tried) * (1 + 1e-4)


def test_known_groups_are_cut_apart_and_none_is_cut_through():
    groups = three_groups()
    found = recursive_cut(cosine_affinity(group_features(groups)))
    assert same_partition(found, groups)
    assert list(dict.fromkeys(found.tolist())) == [0, 1, 2]


def test_a_cheaper_cut_is_asked_for_and_less_is_cut():
    affinity = cosine_affinity(group_features(three_groups(), noise=0.25))
    counts = [recursive_cut(affinity, tau).max() + 1 for tau in (0.001, 0.5, 0.97)]
    assert counts[0] == 1 and counts[0] < counts[1] < counts[2]


def test_tokens_all_alike_are_one_group():
    assert not recursive_cut(cosine_affinity(np.ones((5, 6, 3), np.float32)), tau=0.99).any()


def test_groups_are_found_again_on_the_finer_grid():
    groups = three_groups()
    similarity = group_similarity(group_features(groups), groups.astype(np.int32), side=48)
    assert similarity.shape == (3, 36, 48)
    assert similarity.abs().max() <= 1 + 1e-6
    fine = groups.repeat(3, 0).repeat(3, 1)
    assert (similarity.argmax(0).numpy() == fine).mean() > 0.93  # all but the borders
    assert group_similarity(group_features(groups), groups.astype(np.int32), side=4).shape == (3, 12, 16)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_output_of_every_block_is_that_of_its_own_module(tiny_backbone, kind):
    """With one block's text-free output put beside what the network itself goes on with."""
    backbone = tiny_backbone(kind)
    latents = torch.randn(1, backbone.space.channels, 8, 12, generator=torch.Generator().manual_seed(1))
    for block in backbone.attention_blocks:
        kept = []
        handle = backbone.network.get_submodule(block).register_forward_hook(lambda *io, kept=kept: kept.append(io[2]))
        features = block_output(backbone, block, latents, torch.tensor([50.0]))
        handle.remove()
        output = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
        tokens = features.shape[0] * features.shape[1]
        image = output[0, -tokens:]  # text comes first where both are in one sequence (FLUX)
        torch.testing.assert_close(torch.from_numpy(features).reshape(tokens, -1), image)
        assert not backbone.network.get_submodule(block)._forward_hooks


def test_the_block_is_the_last_of_the_encoder_or_the_middle_of_a_transformer(tiny_backbone):
    assert encoder_block(tiny_backbone("sd15")).startswith("down_blocks.1.")
    assert encoder_block(tiny_backbone("sdxl")).startswith("down_blocks.1.")
    assert encoder_block(load_backbone("mini", device="cpu")) == "transformer_blocks.3.attn1"  # of 0 to 5


def test_a_hook_is_taken_off_when_the_pass_fails(tiny_backbone):
    backbone = tiny_backbone("sd15")
    block = encoder_block(backbone)
    with pytest.raises(RuntimeError):
        block_output(backbone, block, torch.zeros(1, 3, 8, 8), torch.tensor([50.0]))
    assert not backbone.network.get_submodule(block)._forward_hooks
