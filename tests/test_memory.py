"""The memory counter, and what the teacher holds at its worst moment."""

import numpy as np
import torch

from tracedge import EdgeTeacher, attention
from tracedge.backbones.mini import MiniBackbone, MiniConfig, build_mini
from tracedge.datasets.scenes import draw_scene
from tracedge.evaluation.memory import free_bytes, peak_bytes, peak_tensor_bytes
from tracedge.walk import transition_matrix


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


def test_the_parts_of_a_sparse_matrix_are_counted_once():
    affinity, _ = transition_matrix(np.zeros((8, 8), np.float32))
    ones = torch.ones(64, 2, dtype=torch.float64)
    assert peak_tensor_bytes(lambda: affinity @ ones) == ones.nbytes  # the product alone
    copies = peak_tensor_bytes(lambda: affinity.clone())
    assert copies == 4 * 65 + (4 + 8) * affinity.values().numel()


def test_arrays_and_tensors_are_added_up():
    peak = peak_bytes(lambda: (np.zeros(10_000), torch.zeros(10_000)))
    assert 120_000 <= peak < 140_000


def test_free_memory_is_some_of_what_there_is():
    assert 2**20 < free_bytes(torch.device("cpu")) < 2**50


def test_the_teacher_holds_a_small_multiple_of_one_map_and_never_the_heads_of_the_model(monkeypatch):
    monkeypatch.setattr(attention, "CHUNK_ELEMENTS", 2**16)
    torch.manual_seed(0)
    network = build_mini(MiniConfig(width=64, heads=4, depth=4, patch=4, grid=8))
    backbone = MiniBackbone(network, px=128, settings={"name": "tiny"})  # 1024 tokens, 16 heads in all
    image = draw_scene(1, 128).image
    one_map = 4 * 1024**2
    assert peak_tensor_bytes(lambda: EdgeTeacher(backbone, stride=200)(image)) < 8 * one_map
