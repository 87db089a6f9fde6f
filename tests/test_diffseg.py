"""DiffSeg on known attention, and the fused map by resolution that it reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from token_groups import group_attention, photo, same_partition, three_groups
from tracedge.attention import FusedAttention, block_probabilities, fused_attention, record_attention
from tracedge.criteria import kl
from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.rivals.diffseg import DiffSeg, DiffSegSettings, _merged, merged_attention, symmetric_kl

# The fused map by resolution


class Everything:
    """Keeps the head-averaged map of each block."""

    def __init__(self) -> None:
        self.maps: list[tuple[tuple[int, int], torch.Tensor]] = []

    def add(self, call) -> None:
        self.maps.append((call.grid_hw, block_probabilities(call, slice(None)).double()))


def bilinear_keys(row: np.ndarray, large: tuple[int, int]) -> np.ndarray:
    """One query's keys (h, w) on a larger grid, half-pixel, borders held, written out; then the sum is 1 again."""
    out = np.zeros(large)
    for i in range(large[0]):
        for j in range(large[1]):
            weights = []
            for at, small, side in ((i, row.shape[0], large[0]), (j, row.shape[1], large[1])):
                x = min(max((at + 0.5) * small / side - 0.5, 0), small - 1)
                low = int(x)
                weights.append([(low, 1 - x + low), (min(low + 1, small - 1), x - low)])
            out[i, j] = sum(row[a, b] * u * v for a, u in weights[0] for b, v in weights[1])
    return out / out.sum()


def test_by_resolution_each_grid_weighs_as_its_side_and_queries_are_repeated(tiny_backbone):
    backbone = tiny_backbone("sd15")
    latents, timestep = torch.randn(1, 4, 4, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([300.0])
    with torch.no_grad(), record_attention(backbone, (4, 8), Everything()) as seen:
        backbone.denoise(latents, timestep)
    fused, grid_hw = fused_attention(backbone, latents, timestep, by_resolution=True)
    grids = sorted({hw for hw, _ in seen.maps}, reverse=True)
    assert grid_hw == grids[0] == (4, 8) and len(grids) > 1

    expected, total = np.zeros((32, 32)), 0.0
    for hw in grids:
        mean = torch.stack([one[0] for grid, one in seen.maps if grid == hw]).mean(0).numpy().reshape(*hw, *hw)
        weight = (hw[0] * hw[1]) ** 0.5
        total += weight
        keys = np.array([[bilinear_keys(mean[i, j], grid_hw) for j in range(hw[1])] for i in range(hw[0])])
        for i in range(4):
            for j in range(8):
                expected[i * 8 + j] += weight * keys[i * hw[0] // 4, j * hw[1] // 8].ravel()
    np.testing.assert_allclose(fused[0].numpy(), expected / total, atol=1e-6)


def test_of_two_grids_the_larger_has_two_thirds_however_many_blocks_there_are():
    fusion = FusedAttention(by_resolution=True)
    small, large = torch.full((1, 1, 1), 2.0), torch.eye(4)[None].clone()  # two blocks of 1 x 1, one of 2 x 2
    fusion._sums, fusion._blocks = {(1, 1): small, (2, 2): large}, {(1, 1): 2, (2, 2): 1}
    fused, _ = fusion.result()
    torch.testing.assert_close(fused[0], (2 * torch.eye(4) + torch.full((4, 4), 0.25)) / 3)


def test_with_one_grid_both_rules_are_the_mean(tiny_backbone):
    backbone = tiny_backbone("pixart-sigma")
    latents = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    plain, _ = fused_attention(backbone, latents, torch.tensor([300.0]))
    weighted, _ = fused_attention(backbone, latents, torch.tensor([300.0]), by_resolution=True)
    torch.testing.assert_close(plain, weighted)


# DiffSeg


def test_the_distance_is_the_mean_of_both_divergences(monkeypatch):
    monkeypatch.setattr("tracedge.rivals.diffseg.CHUNK_ELEMENTS", 3 * 30)
    p, q = (torch.rand(size, 30, generator=torch.Generator().manual_seed(size)).softmax(-1) for size in (4, 7))
    expected = [[(kl(a, b, (5, 6)) + kl(b, a, (5, 6))) / 2 for b in q] for a in p]
    torch.testing.assert_close(symmetric_kl(p, q), torch.tensor(expected), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("rounds", [2, 3])
def test_three_blocks_of_attention_become_three_proposals(rounds):
    groups = three_groups()
    merged = merged_attention(group_attention(groups), (12, 16), rounds=rounds)
    assert merged.shape == (3, 12, 16)
    torch.testing.assert_close(merged.sum((1, 2)), torch.ones(3))
    assert same_partition(merged.argmax(0).numpy(), groups)


def test_one_round_gives_a_proposal_for_each_anchor_the_mean_of_what_is_near():
    groups = three_groups()
    groups[0] = groups[:, 0] = groups[6] = 3  # where no anchor is
    attention = group_attention(groups)
    merged = merged_attention(attention, (12, 16), anchors=2, rounds=1)
    anchors = [(3, 4), (3, 12), (9, 4), (9, 12)]  # the middles of quarters
    for one, (row, column) in zip(merged, anchors, strict=True):
        own = torch.from_numpy(groups == groups[row, column]).flatten()
        torch.testing.assert_close(one.flatten(), attention[own].mean(0))


def test_what_an_earlier_proposal_has_taken_is_not_taken_again():
    """Three rows, the middle one near both others, which are far from each other: the first takes it, the third stays."""
    rows = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.3, 0.4, 0.3]])
    near, far = symmetric_kl(rows[:1], rows[1:])[0].tolist()
    assert symmetric_kl(rows[1:2], rows[2:]).item() < (near + far) / 2
    merged = _merged(rows, (near + far) / 2)
    torch.testing.assert_close(merged, torch.stack([rows[:2].mean(0), rows[2]]))


def test_the_threshold_decides_what_is_one():
    attention = group_attention(three_groups())
    assert len(merged_attention(attention, (12, 16), threshold=50.0)) == 1
    assert len(merged_attention(attention, (12, 16), anchors=4, threshold=1e-4)) == 16


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(2, 9), st.integers(1, 5), st.floats(0.01, 3), st.integers(0, 99))
def test_proposals_are_distributions_of_any_grid(height, width, anchors, threshold, seed):
    noise = torch.randn(height * width, height * width, generator=torch.Generator().manual_seed(seed))
    merged = merged_attention(noise.mul(3).softmax(-1), (height, width), anchors=anchors, threshold=threshold)
    assert 1 <= len(merged) <= min(anchors, height) * min(anchors, width)
    torch.testing.assert_close(merged.sum((1, 2)), torch.ones(len(merged)))


def test_attention_that_is_not_finite_or_of_another_grid_is_refused():
    attention = group_attention(three_groups())
    with pytest.raises(SettingsError, match="12 x 12 grid"):
        merged_attention(attention, (12, 12))
    attention[3, 4] = torch.nan
    with pytest.raises(SettingsError, match="finite"):
        merged_attention(attention, (12, 16))


def test_diffseg_gives_the_clean_latent_unless_asked_for_noise(tiny_backbone, monkeypatch):
    backbone, seen = tiny_backbone("sd15"), []
    denoise = type(backbone).denoise
    keep = lambda self, latents, timestep: seen.append((latents.clone(), timestep)) or denoise(self, latents, timestep)  # noqa: E731
    monkeypatch.setattr(type(backbone), "denoise", keep)
    DiffSeg(backbone, px=32)(photo())
    DiffSeg(backbone, DiffSegSettings(noise=True), px=32)(photo())
    (clean, first), (noisy, second) = seen
    pixels = torch.from_numpy(photo()).permute(2, 0, 1)[None] / 255
    expected = backbone.encode(Fit((43, 61), 32, backbone.multiple_of).apply(pixels))
    assert first == second == 300
    torch.testing.assert_close(clean, expected)
    assert not torch.allclose(noisy, expected)
