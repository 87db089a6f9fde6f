"""The bound: multiply-adds are counted as by hand, and a share is what they would take over what was taken."""

import pytest
import torch
import torch.nn.functional as F

from tracedge.evaluation.bound import bound_figures, forward_flops, time_matmul
from tracedge.evaluation.timing import Timing


def test_products_convolutions_and_attention_are_counted_as_by_hand():
    layer, filters = torch.nn.Linear(7, 11), torch.nn.Conv2d(3, 5, 3, padding=1)
    assert forward_flops(lambda: layer(torch.zeros(2, 7))) == 2 * 2 * 7 * 11
    assert forward_flops(lambda: filters(torch.zeros(1, 3, 8, 9))) == 2 * 5 * 3 * 9 * 8 * 9
    query, key = torch.zeros(2, 4, 6, 8), torch.zeros(2, 4, 10, 8)
    assert forward_flops(lambda: F.scaled_dot_product_attention(query, key, key)) == 2 * (2 * 2 * 4 * 6 * 10 * 8)
    assert forward_flops(lambda: torch.zeros(9).exp()) == 0


def test_the_peak_is_that_of_the_fastest_product():
    timing, gflops = time_matmul(torch.device("cpu"), torch.float32, repeats=2)
    assert gflops == pytest.approx(2 * 2048**3 / (timing.fastest / 1000) / 1e9)


def test_a_share_is_the_time_at_the_peak_over_the_time_taken():
    timings = {"student": Timing(20.0, 10.0, 40.0, None)}
    figures = bound_figures({"student": 10**9, "teacher": 7}, timings, gflops=100.0)  # 10 ms at the peak
    assert figures == {
        "matmul_gflops": 100.0,
        "student_gflop": 1.0,
        "student_share_of_bound": 0.5,
        "student_share_of_bound_spread": [0.25, 1.0],
    }
