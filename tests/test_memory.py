"""The memory counter, and what the teacher holds at its worst moment."""

import torch

from tracedge import EdgeTeacher, attention
from tracedge.backbones.mini import MiniBackbone, MiniConfig, build_mini
from tracedge.datasets.scenes import draw_scene
from tracedge.evaluation.memory import peak_tensor_bytes


def test_the_peak_counts_what_lives_at_one_time_and_not_what_was_freed():
    def one_after_another():
        for _ in range(5):
            torch.zeros(1000)

    def together():
        return [torch.zeros(1000) for _ in range(5)]

    assert peak_tensor_bytes(one_after_another) == 4000
    assert peak_tensor_bytes(together) == 20000


def test_views_and_work_in_place_cost_nothing():
    def compute():
        kept = torch.zeros(1000)
        kept[:500].add_(1)
        return kept.view(10, 100)

    assert peak_tensor_bytes(compute) == 4000


def test_the_teacher_holds_a_small_multiple_of_one_map_and_never_the_heads_of_the_model(monkeypatch):
    monkeypatch.setattr(attention, "CHUNK_ELEMENTS", 2**16)
    torch.manual_seed(0)
    network = build_mini(MiniConfig(width=64, heads=4, depth=4, patch=4, grid=8))
    backbone = MiniBackbone(network, px=128, settings={"name": "tiny"})  # 1024 tokens, 16 heads in all
    image = draw_scene(1, 128).image
    one_map = 4 * 1024**2
    assert peak_tensor_bytes(lambda: EdgeTeacher(backbone, stride=200)(image)) < 8 * one_map
