"""Timing: the plain teacher is the same teacher, and the benchmark says what it timed."""

import json

import pytest
import torch
from typer.testing import CliRunner

import tiny_models
from tracedge.attention import FusedAttention, record_attention
from tracedge.backbones import load_backbone
from tracedge.cli import app
from tracedge.evaluation import bench
from tracedge.evaluation.timing import PerHeadMaps, plain_teacher, timed
from tracedge.teacher import EdgeTeacher


@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_maps_kept_head_by_head_give_the_same_fused_map(tiny_backbone, kind):
    backbone = tiny_backbone(kind)
    latents = torch.randn(1, backbone.space.channels, 8, 12, generator=torch.Generator().manual_seed(0))
    fused = []
    for reduction in (FusedAttention(), PerHeadMaps()):
        with torch.no_grad(), record_attention(backbone, (8, 12), reduction) as taken:
            backbone.denoise(latents, torch.zeros(1))
        fused.append(taken.result())
    assert fused[0][1] == fused[1][1]
    torch.testing.assert_close(fused[0][0], fused[1][0], atol=1e-6, rtol=1e-4)


def test_the_plain_teacher_and_the_teacher_agree():
    backbone = load_backbone("mini", device="cpu")
    teacher = EdgeTeacher(backbone, rule="argmax", size=48, stride=250, snap=False, early_stop=False)
    from tracedge.datasets.scenes import draw_scene

    image = draw_scene(3, 48).image
    view = teacher._view(image)
    divergence = plain_teacher(backbone, view.latents, view.noise, stride=250)
    expected = teacher(image).edges
    placed = view.fit.undo(divergence)[0]
    torch.testing.assert_close(placed / placed.max(), torch.from_numpy(expected.copy()), atol=2e-3, rtol=0)


def test_a_computation_is_run_once_more_than_it_is_timed():
    calls = []
    timing = timed(lambda: calls.append(1), torch.device("cpu"), repeats=3)
    assert len(calls) == 4
    assert timing.fastest <= timing.milliseconds <= timing.slowest
    assert timing.peak_mib is None


def test_the_benchmark_prints_and_writes_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "IMAGE_HW", (72, 96))
    monkeypatch.setattr(bench, "TOKENS_HW", (16, 20))
    report = tmp_path / "bench.json"
    arguments = ["bench", "--size", "32", "--stride", "400", "--repeats", "1", "--json", str(report)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    figures = json.loads(report.read_text())
    names = list(figures["rows"])
    assert names[0].startswith("plain teacher")
    assert any(name.startswith("one step") for name in names)
    assert figures["grid"] == [8, 8]
    assert all(name in done.output for name in names)
    for figure in ("bgp_ms", "bgp_dense_ms", "bgp_speedup", "bgp_peak_mib", "bgp_dense_peak_mib", "maskcut_ms"):
        assert figures[figure] > 0, figure
    for name in ("teacher_plain", "teacher", "student"):
        assert figures[f"{name}_ms"] > 0 and figures[f"{name}_peak_mib"] > 0
    said = figures["provenance"]
    assert said["teacher"]["seed"] == 0 and said["student"]["student"] and said["packages"]["torch"]
    assert figures["teacher_plain_peak_mib"] > figures["teacher_peak_mib"]  # per-head maps of all blocks
    for name in ("teacher", "student"):
        ratio = figures["teacher_plain_ms"] / figures[f"{name}_ms"]
        assert figures[f"{name}_speedup"] == pytest.approx(ratio, abs=0.05)
    for name in ("teacher_plain", "teacher", "step", "student"):
        within = figures["matmul_gflops"] * 1e6 * figures[f"{name}_ms"]
        share = figures[f"{name}_share_of_bound"]
        assert share == pytest.approx(figures[f"{name}_gflop"] * 1e9 / within, rel=0.1)
        low, high = figures[f"{name}_share_of_bound_spread"]
        assert low <= share <= high
    assert figures["teacher_plain_gflop"] == pytest.approx(3 * figures["step_gflop"], abs=0.03)  # t = 0, 400, 800
    for figure in ("edge_metrics_ms", "edge_metrics_peak_mib", "instance_metrics_ms", "matmul_gflops"):
        assert figures[figure] > 0, figure
    assert "72 x 96" in figures["bgp_note"]
    assert figures["bgp_note"] in done.output
    assert f"{figures['bgp_speedup']} times as fast" in done.output


def test_the_benchmark_leaves_masks_and_metrics_out_on_request(tmp_path):
    report = tmp_path / "bench.json"
    arguments = [
        "bench",
        "--size",
        "32",
        "--stride",
        "400",
        "--repeats",
        "1",
        "--no-plain",
        "--no-masks",
        "--no-metrics",
    ]
    done = CliRunner().invoke(app, [*arguments, "--json", str(report)])
    assert done.exit_code == 0, done.output
    assert not any("bgp" in key or "maskcut" in key or "metrics" in key for key in json.loads(report.read_text()))
