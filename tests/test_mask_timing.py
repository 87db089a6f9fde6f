"""What the benchmark says of masks: its dense form is the walk, its input is drawn, and what was reckoned is said."""

import numpy as np
import pytest
import torch

from tracedge.evaluation import mask_timing
from tracedge.evaluation.mask_timing import dense_rows, drawn_features, rough_masks, time_masks
from tracedge.evaluation.timing import Timing
from tracedge.propagation import PropagationSettings
from tracedge.proposals.maskcut import maskcut
from tracedge.walk import walk

SMALL_HW, FEW_TOKENS = (72, 96), (16, 20)
CPU = torch.device("cpu")


def test_multiplying_by_the_dense_rows_is_the_walk_that_it_is_compared_with():
    rng = np.random.default_rng(0)
    cells, seeds = rng.random((9, 12), dtype=np.float32) ** 2, rng.random((2, 9, 12), dtype=np.float32)
    settings = PropagationSettings(steps=6)
    dense = dense_rows(cells, 9 * 12, settings)
    maps = torch.from_numpy(seeds.reshape(2, -1).T.copy())
    for _ in range(settings.steps):
        maps = dense @ maps
    np.testing.assert_allclose(walk(cells, seeds, steps=6, tolerance=1e-9).reshape(2, -1).T, maps, atol=1e-5)
    assert torch.equal(dense_rows(cells, 5, settings), dense[:5])


def test_each_rough_mask_holds_two_objects_and_a_rim():
    edges, proposals = rough_masks(SMALL_HW)
    assert edges.shape == proposals.shape == SMALL_HW
    assert len(proposals) == 8
    assert all((each[edges == 0]).any() for each in proposals.masks)
    shared = [(one & other).sum() for one, other in zip(proposals.masks, np.roll(proposals.masks, -1, 0), strict=True)]
    assert min(shared) > 0  # each object is in two masks
    assert (rough_masks(SMALL_HW)[1].masks == proposals.masks).all()


def test_drawn_features_give_three_cuts():
    assert len(maskcut(drawn_features((30, 30)))) == 3


@pytest.fixture(scope="module")
def timings():
    return time_masks(CPU, 1, SMALL_HW, FEW_TOKENS)


def test_figures_and_rows_say_the_same_and_how_they_came_about(timings):
    figures = timings.figures
    bgp, dense, cuts = timings.rows.values()
    assert figures["bgp_ms"] == round(bgp.milliseconds, 1)
    assert figures["maskcut_ms"] == round(cuts.milliseconds, 1)
    assert figures["bgp_speedup"] == pytest.approx(dense.milliseconds / bgp.milliseconds, abs=0.05)
    assert dense.milliseconds > 256 * figures["bgp_dense_product_ms"] * 0.9
    assert figures["bgp_dense_rows"] == [18 * 24, 18 * 24]
    assert figures["bgp_dense_peak_mib"] == pytest.approx(4 * (18 * 24) ** 2 / 2**20, abs=0.2)  # the maps are small
    assert 0 < figures["bgp_peak_mib"] < 50
    assert "256 times" in timings.note
    assert "Not run in full" in timings.note


def test_where_memory_is_short_some_rows_are_multiplied_and_counted_for_all(monkeypatch):
    tokens = 18 * 24
    monkeypatch.setattr(mask_timing, "free_bytes", lambda device: 2 * 4 * tokens * 100)
    monkeypatch.setattr(mask_timing, "timed", lambda compute, device, repeats: Timing(10.0, 9.0, 12.0, None))
    timings = time_masks(CPU, 1, SMALL_HW, FEW_TOKENS)
    assert timings.figures["bgp_dense_rows"] == [100, tokens]
    assert f"100 of the {tokens} rows" in timings.note
    products = 256 * tokens / 100
    dense = timings.rows["BGP, dense walk (reckoned from one product)"]
    assert dense == Timing(10 * products + 10, 9 * products + 9, 12 * products + 12, None)
