"""DiffSeg and DiffCut on known attention, on known features, and on every family of tiny models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label
from typer.testing import CliRunner

from tracedge.attention import FusedAttention, block_probabilities, fused_attention, record_attention
from tracedge.backbones import load_backbone
from tracedge.criteria import kl
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import DataError, SettingsError
from tracedge.fit import Fit
from tracedge.rivals.diffcut import (
    DiffCut,
    DiffCutSettings,
    best_split,
    block_output,
    cosine_affinity,
    encoder_block,
    group_similarity,
    recursive_cut,
)
from tracedge.rivals.diffseg import DiffSeg, DiffSegSettings, _merged, merged_attention, symmetric_kl
from tracedge.rivals.segments import Segments, labels_of
from tracedge.rivals.zero_shot import SegmentProposer, zero_shot

FAMILIES = ("sd15", "sdxl", "pixart-sigma", "sd3", "sd35-medium", "flux-dev")


def photo(height: int = 43, width: int = 61) -> np.ndarray:
    image = np.full((height, width, 3), [40, 90, 160], np.uint8)
    image[height // 4 : height // 2, width // 5 : width // 2] = [230, 120, 30]
    image[height // 2 :, width // 2 :] = [30, 200, 60]
    return image


def three_groups(height: int = 12, width: int = 16) -> np.ndarray:
    """Group 0 above, 1 and 2 side by side below."""
    groups = np.zeros((height, width), int)
    groups[height // 3 :, : width // 2] = 1
    groups[height // 3 :, width // 2 :] = 2
    return groups


def group_attention(groups: np.ndarray, seed: int = 0) -> torch.Tensor:
    """Every token attends to its own group almost only, with some noise; rows sum to 1."""
    flat = torch.from_numpy(groups.ravel())
    noise = torch.rand(len(flat), len(flat), generator=torch.Generator().manual_seed(seed))
    attention = (flat[:, None] == flat) * (1 + noise) + 1e-4
    return attention / attention.sum(-1, keepdim=True)


def group_features(groups: np.ndarray, noise: float = 0.05) -> np.ndarray:
    """A direction of its own for each group, with some noise."""
    rng = np.random.default_rng(0)
    directions = np.eye(8, dtype=np.float32)[: groups.max() + 1]
    return (directions[groups] + noise * rng.normal(size=(*groups.shape, 8))).astype(np.float32)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(first.ravel(), second.ravel(), strict=True)}
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))


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


# DiffCut


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


# Both


@pytest.mark.parametrize("name", ["diffseg", "diffcut"])
@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("image_hw", [(43, 61), (64, 37)])
def test_every_family_gives_a_label_for_each_pixel_and_the_same_again(tiny_backbone, name, kind, image_hw):
    method = zero_shot(name, tiny_backbone(kind), px=32)
    found = method(photo(*image_hw))
    assert found.shape == image_hw and found.labels.dtype == np.int32
    assert np.array_equal(np.unique(found.labels), np.arange(1, len(found) + 1))
    assert np.array_equal(found.labels, method(photo(*image_hw)).labels)
    assert found.settings["method"] == name
    assert json.loads(json.dumps(dict(found.settings)))["px"] == 32


@pytest.mark.parametrize("name", ["diffseg", "diffcut"])
def test_the_mini_model_finds_the_parts_of_a_drawing(name):
    image = photo(96, 128)
    found = zero_shot(name, load_backbone("mini", device="cpu"))(image)
    truth = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)[1].reshape(96, 128)
    for part in range(3):
        pieces = found.instances().masks
        overlap = (pieces & (truth == part)).sum((1, 2)) / (pieces | (truth == part)).sum((1, 2))
        assert overlap.max() > 0.6


def test_labels_go_to_the_largest_map_in_the_order_of_their_pixels():
    maps = torch.zeros(4, 2, 2)
    maps[3, :, 0] = maps[1, :, 1] = 1
    maps[2, 1, 1] = 0.5  # nowhere the largest
    assert labels_of(maps, Fit((2, 2), 2)).tolist() == [[1, 2], [1, 2]]
    assert labels_of(torch.ones(3, 5, 7), Fit((5, 7), 14, 2)).tolist() == np.ones((5, 7)).tolist()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 999))
def test_masks_are_the_connected_pieces_the_largest_first(height, width, count, seed):
    labels = np.random.default_rng(seed).integers(1, count + 1, (height, width)).astype(np.int32)
    found = Segments(labels).instances()
    assert (found.masks.sum(0) == 1).all()
    assert (np.diff(found.areas) <= 0).all()
    assert len(found) == sum(label(labels == one)[1] for one in range(1, count + 1))
    for mask in found.masks:
        assert len(np.unique(labels[mask])) == 1 and label(mask)[1] == 1
    large = Segments(labels).instances(min_area=3)
    assert large.areas.tolist() == [area for area in found.areas.tolist() if area >= 3]


def test_edges_lie_where_segments_part():
    labels = np.ones((4, 6), np.int32)
    labels[:, 3:] = 2
    expected = np.zeros((4, 6), np.float32)
    expected[:, 2] = 1
    edges = Segments(labels).edges()
    assert edges.dtype == np.float32
    np.testing.assert_array_equal(edges, expected)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.int32), np.ones((2, 2)), np.ones(4, np.int32)])
def test_labels_that_are_none_are_refused(wrong):
    with pytest.raises(DataError, match=r"int32 \(H, W\)"):
        Segments(wrong)


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (DiffSegSettings, {"timestep": 1000}, "timestep lies in"),
        (DiffSegSettings, {"anchors": 0}, "anchors"),
        (DiffSegSettings, {"rounds": 0}, "rounds"),
        (DiffSegSettings, {"threshold": 0.0}, "threshold"),
        (DiffSegSettings, {"threshold": float("nan")}, "threshold"),
        (DiffSegSettings, {"threshold": "0.9"}, "threshold"),
        (DiffSegSettings, {"noise": 1}, "noise takes true or false"),
        (DiffCutSettings, {"timestep": -1}, "timestep lies in"),
        (DiffCutSettings, {"alpha": 0}, "alpha"),
        (DiffCutSettings, {"tau": 1.0}, "tau"),
        (DiffCutSettings, {"thresholds": 0}, "thresholds"),
        (DiffCutSettings, {"side": 0}, "side"),
        (DiffCutSettings, {"seed": 0.5}, "seed takes a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_named(kind, wrong, said):
    with pytest.raises(SettingsError, match=said):
        kind(**wrong)


def test_the_threshold_is_as_published_but_for_the_mini_model(tiny_backbone):
    assert DiffSeg(tiny_backbone("sd15")).provenance["parameters"]["threshold"] == 0.9
    assert DiffSeg(load_backbone("mini", device="cpu")).provenance["parameters"]["threshold"] == 0.7
    assert DiffSeg(load_backbone("mini", device="cpu"), DiffSegSettings(threshold=1.1)).settings.threshold == 1.1


def test_what_no_backbone_has_is_refused_before_any_work(tiny_backbone):
    backbone = tiny_backbone("sd15")
    with pytest.raises(SettingsError, match="no self-attention block 'nothing'"):
        DiffCut(backbone, block="nothing")
    for kind in (DiffSeg, DiffCut):
        with pytest.raises(SettingsError, match="at least 16"):
            kind(backbone, px=15)
    with pytest.raises(SettingsError, match="unknown rival 'maskcut'"):
        zero_shot("maskcut", backbone)


def test_masks_as_proposals_carry_what_they_depend_on(tiny_backbone):
    proposer = SegmentProposer(zero_shot("diffcut", tiny_backbone("sd15"), px=32))
    found = proposer(photo())
    assert found.shape == (43, 61) and (found.scores == 1).all()
    assert found.areas.min() >= 0.0005 * 43 * 61
    large = SegmentProposer(proposer.rival, min_area=0.2)(photo())
    assert large.areas.tolist() == [area for area in found.areas.tolist() if area >= 0.2 * 43 * 61]
    with pytest.raises(SettingsError, match="min_area"):
        SegmentProposer(proposer.rival, min_area=1)
    assert proposer.provenance["proposals"]["parameters"]["tau"] == 0.5
    assert proposer.provenance["proposals"]["block"] == encoder_block(tiny_backbone("sd15"))


# The command line


def run(*words: object):
    from tracedge.cli import app

    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    scene = draw_scene(5, 64)
    for name, array in (("images", scene.image), ("masks", scene.labels)):
        (folder / name).mkdir()
        Image.fromarray(array).save(folder / name / "5.png")
    return folder


def test_evaluate_edges_scores_the_borders_of_segments(scenes, tmp_path):
    report = tmp_path / "report.json"
    cheap = ("--no-rivals", "--thresholds", 3, "--workers", 1, "--json", report, "--size", 48)
    done = run("evaluate", "edges", "--truth", scenes, "--rival", "diffseg", "--rival", "diffcut", *cheap)
    assert done.exit_code == 0, done.output
    written = json.loads(report.read_text())
    assert [row["name"] for row in written["rows"]] == ["diffseg", "diffcut"]
    assert written["provenance"]["predictors"]["diffcut"]["px"] == 48
    unknown = run("evaluate", "edges", "--truth", scenes, "--rival", "sift")
    assert "unknown rival 'sift': choose one of diffseg, diffcut" in str(unknown.exception)


def test_evaluate_instances_and_segment_take_them_as_proposals(scenes, tmp_path):
    cheap = ("--size", 48)
    done = run("evaluate", "instances", "--truth", scenes, "--proposals", "diffseg", "--no-rivals", *cheap)
    assert done.exit_code == 0, done.output
    assert "| diffseg |" in done.output and "diffseg + BGP, our edges" in done.output
    done = run("segment", scenes / "images", "-o", tmp_path / "out", "--proposals", "diffcut", "--no-bgp", *cheap)
    assert done.exit_code == 0, done.output
    coco = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert coco["annotations"]
