"""VisionEdges: ABDiv on a vision transformer's attention, by the same call and the same command lines as the teacher."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import tiny_vision
import tracedge
from tracedge.backbones.vision import VISION
from tracedge.cli import app
from tracedge.datasets.scenes import draw_scene
from tracedge.divergence import attention_boundary_divergence
from tracedge.errors import RunError, SettingsError
from tracedge.export.npz import read_npz
from tracedge.vision_edges import VisionEdges, vision_attention


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model of each sort: learned positions, rotary ones, and windows."""
    root = tmp_path_factory.mktemp("vision")
    return {kind: tiny_vision.save_tiny(kind, root / kind) for kind in ("dinov2", "dinov3_vit", "qwen2_5_vl")}


KINDS = ("dinov2", "dinov3_vit", "qwen2_5_vl")


def halves(height: int, width: int, at: int) -> np.ndarray:
    """Dark and reddish on the left of column `at`, light and bluish on the right."""
    image = np.full((height, width, 3), (60, 30, 20), np.uint8)
    image[:, at:] = (190, 200, 230)
    return image


def drawn(height: int, width: int) -> np.ndarray:
    """Soft colours all over, so that every size has edges to find."""
    row, column = np.mgrid[:height, :width] / 20
    waves = [np.sin(row + column * 0.3), np.cos(column - row * 0.2), np.sin(row * column / 7)]
    return ((np.stack(waves, axis=-1) + 1) * 127).astype(np.uint8)


def test_the_public_names_are_there():
    assert tracedge.VisionEdges is VisionEdges
    assert tracedge.VisionSettings().blocks is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hw", [(97, 61), (40, 130), (64, 64)])
def test_edges_are_of_the_images_size_in_0_to_1_without_a_timestep(tiny, kind, hw):
    edges = VisionEdges(tiny[kind], size=64, device="cpu")
    found = edges(drawn(*hw))
    assert found.shape == hw
    assert found.edges.max() == 1
    assert (found.timestep, found.timesteps, found.margin) == (None, (), None)
    assert found.settings["predictor"] == "vision"
    assert found.settings["size"] == 64
    assert found.settings["dtype"] == "float32"
    assert found.settings["backbone"]["source"] == str(tiny[kind].resolve())
    assert found.settings["blocks"] == list(edges.backbone.attention_blocks)
    json.dumps(edges.provenance)


@pytest.mark.parametrize("kind", KINDS)
def test_without_snapping_edges_are_the_normalised_divergence_of_the_fused_map(tiny, kind):
    """At the model's own size nothing is resized: what comes out at the tokens' centres is equation 2."""
    edges = VisionEdges(tiny[kind], size=96, snap=False, device="cpu")
    patch, image = edges.backbone.patch, drawn(64, 96)
    attention, grid_hw = vision_attention(edges.backbone, torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    expected = attention_boundary_divergence(attention, grid_hw)[0].numpy()
    found = edges(image).edges
    middle = slice(patch // 2 - 1, None, patch), slice(patch // 2 - 1, None, patch)
    between = (found[middle] + found[1:, 1:][middle]) / 2  # the centre of an even patch lies between pixels
    assert np.corrcoef(between.ravel(), expected.ravel())[0, 1] > 0.99


def test_a_list_gives_what_each_image_gives_alone(tiny):
    edges = VisionEdges(tiny["qwen2_5_vl"], size=48, device="cpu")
    images = [drawn(40, 60), halves(50, 50, 20), drawn(40, 60)[::-1]]
    for alone, together in zip(map(edges, images), edges(images), strict=True):
        assert np.array_equal(alone.edges, together.edges)
    assert edges([]) == []


def test_chosen_blocks_are_averaged_and_others_refused(tiny):
    image = drawn(48, 64)
    every = VisionEdges(tiny["dinov2"], size=64, device="cpu")
    last = VisionEdges(every.backbone, size=64, blocks=(-1,))
    assert last.provenance["blocks"] == ["encoder.layer.2.attention"]
    assert not np.array_equal(every(image).edges, last(image).edges)
    shuffled = VisionEdges(every.backbone, size=64, blocks=(2, 0, -2))
    assert shuffled.provenance["blocks"] == every.provenance["blocks"]
    assert np.array_equal(every(image).edges, shuffled(image).edges)
    pixels = torch.rand(1, 3, 32, 40)
    maps = [vision_attention(every.backbone, pixels, (name,))[0] for name in every.backbone.attention_blocks]
    assert torch.allclose(torch.stack(maps[1:]).mean(0), vision_attention(every.backbone, pixels, every.blocks[1:])[0])
    with pytest.raises(SettingsError, match=r"has 3 blocks .* 0 to 2: there is no block 3"):
        VisionEdges(every.backbone, blocks=(0, 3))
    for wrong in ({"blocks": ()}, {"blocks": (1, 1)}, {"zoom": 0}, {"size": 4}, {"neighbours": 5}, {"timestep": 100}):
        with pytest.raises(SettingsError):
            VisionEdges(every.backbone, **wrong)


def test_large_pictures_are_read_in_tiles_too(tiny):
    image = drawn(128, 128)
    asked = [VisionEdges(tiny["dinov2"], size=32, zoom=zoom, snap=False, device="cpu")(image) for zoom in (None, 1, 2)]
    assert np.array_equal(asked[0].edges, asked[2].edges)
    assert not np.array_equal(asked[0].edges, asked[1].edges)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [16, 32, 48])
def test_two_flat_halves_part_at_their_border(tiny, kind, at):
    """Random weights follow the colours: the divergence is strongest within a token of the border, the edge stands on it."""
    edges = VisionEdges(tiny[kind], size=64, snap=False, device="cpu")
    divergence = edges(halves(48, 64, at)).edges.mean(axis=0)
    assert abs(int(divergence.argmax()) + 0.5 - at) <= edges.backbone.patch
    placed = VisionEdges(edges.backbone, size=64)(halves(48, 64, at)).edges
    assert abs(int(placed.mean(axis=0).argmax()) + 0.5 - at) <= 1


@pytest.fixture
def run():
    def invoke(*arguments: object):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Two drawn scenes with their masks."""
    for folder in ("images", "masks"):
        (tmp_path / "scenes" / folder).mkdir(parents=True)
    for seed in (1, 2):
        scene = draw_scene(seed, 64)
        Image.fromarray(scene.image).save(tmp_path / "scenes" / "images" / f"{seed}.png")
        Image.fromarray(scene.labels).save(tmp_path / "scenes" / "masks" / f"{seed}.png")
    return tmp_path / "scenes"


def test_edges_of_a_folder_by_a_vision_transformer(run, tiny, scenes, tmp_path):
    arguments = ("edges", scenes / "images", "-o", tmp_path / "out", "--backbone", tiny["qwen2_5_vl"], "--size", 48)
    result = run(*arguments, "--block", 0, "--block", -1, "--npz")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    done = [line for line in lines if line.get("status") == "ok"]
    assert [line["timestep"] for line in done] == [None, None]
    kept = read_npz(next((tmp_path / "out").glob("*.edges.npz")))
    assert kept.settings["blocks"] == ["blocks.1.attn", "blocks.3.attn"]
    with pytest.raises(RunError, match="blocks"):  # other blocks are other settings
        CliRunner().invoke(app, [*map(str, arguments), "--block", "0"], catch_exceptions=False)


def test_edges_and_instances_of_a_vision_transformer_are_scored(run, tiny, scenes, tmp_path):
    report = tmp_path / "report.json"
    given = ("--truth", scenes, "--backbone", tiny["dinov2"], "--size", 64, "--no-rivals", "--json", report)
    result = run("evaluate", "edges", *given, "--thresholds", 9, "--workers", 1, "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "ABDiv, dinov2" in result.output
    assert json.loads(report.read_text())["provenance"]["predictors"]["ABDiv, dinov2"]["predictor"] == "vision"
    result = run("evaluate", "instances", *given, "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "straight from our edges" in result.output
    assert json.loads(report.read_text())["provenance"]["edges"]["predictor"] == "vision"


@pytest.mark.parametrize(
    ("verb", "asked"),
    [
        (("edges", "-o", "out"), ("--timestep", "100")),
        (("edges", "-o", "out"), ("--rule", "argmax")),
        (("edges", "-o", "out"), ("--teacher",)),
        (("edges", "-o", "out"), ("--student", "somewhere")),
        (("evaluate", "edges"), ("--timestep", "100")),
        (("evaluate", "edges"), ("--ensemble", "2")),
        (("evaluate", "edges"), ("--student", "somewhere")),
        (("evaluate", "instances"), ("--teacher",)),
    ],
)
def test_what_a_vision_transformer_does_not_have_is_refused_before_anything_is_loaded(
    run, scenes, tmp_path, monkeypatch, verb, asked
):
    monkeypatch.chdir(tmp_path)
    pictures = (scenes / "images",) if verb[0] == "edges" else ("--truth", scenes)
    result = run(*verb, *pictures, "--backbone", "dinov2-giant", *asked)  # which is not in the cache
    assert result.exit_code != 0
    said = str(result.exception) + result.output
    assert f"{asked[0]} cannot be had with dinov2-giant" in said
    assert "no timesteps" in said


def test_blocks_are_asked_of_vision_transformers_alone(run, scenes, tmp_path):
    for more in ((), ("--backbone", "mini")):
        result = run("edges", scenes / "images", "-o", tmp_path / "out", "--block", 1, *more)
        assert "--block is for a vision transformer" in str(result.exception)
    result = run("evaluate", "edges", "--truth", scenes, "--block", 1)
    assert "give it with --backbone" in str(result.exception)
    result = run("inspect", next((scenes / "images").iterdir()), "-o", tmp_path, "--backbone", "clip-large14")
    assert "clip-large14 is a vision transformer" in str(result.exception)


def test_both_tables_are_listed(run):
    said = run("backbones").output
    assert said.index("flux-schnell") < said.index("vision transformers") < said.index("dinov2-base")
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    for name, row in VISION.items():
        assert row.hub_ids[0] in lines[name]
        assert row.licence in lines[name]
        assert (" yes " if row.gated else " no ") in lines[name]
