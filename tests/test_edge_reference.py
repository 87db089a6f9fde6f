"""ODS, OIS, AP, R50 and clDice equal the protocol written down a second time, see `edge_reference`."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.morphology import thin

from edge_reference import counted, scored
from tracedge.metrics.edges import EdgeProtocol, edge_scores, score_image


def image(seed, hw=(26, 33), annotators=1, unknown=False):
    """A soft map that follows the truth in parts, the truth of each annotator, and ignored ground."""
    rng = np.random.default_rng(seed)
    truths = np.stack([thin(gaussian_filter(rng.normal(size=hw), 3) > 0.02) for _ in range(annotators)])
    soft = gaussian_filter(truths[0].astype(float), 0.8) + gaussian_filter(rng.normal(size=hw), 1.2) * 0.4
    edges = np.clip(np.roll(soft, rng.integers(-1, 2, 2), (0, 1)), 0, 1).astype(np.float32) * np.float32(
        1 - 0.2 * (seed % 4)
    )
    ignore = gaussian_filter(rng.normal(size=hw), 4) > 0.06 if unknown else np.zeros(hw, bool)
    return edges, truths, ignore


def assert_equal_to_reference(images, protocol):
    counts = [score_image(edges, truths, ignore, protocol) for edges, truths, ignore in images]
    plain = [counted(edges, truths, ignore, protocol) for edges, truths, ignore in images]
    for one, rows in zip(counts, plain, strict=True):
        ours = (one.matched_predicted, one.predicted, one.matched_truth, [one.truth] * protocol.thresholds)
        np.testing.assert_array_equal(np.transpose(ours), rows[:, :4])
        ours = (one.skeleton_hit, one.skeleton, one.truth_hit, [one.truth] * protocol.thresholds)
        np.testing.assert_array_equal(np.transpose(ours), rows[:, 4:])
    figures, expected = edge_scores(counts), scored(plain)
    for name in ("ods", "ois", "ap", "r50"):
        assert getattr(figures, name) == pytest.approx(expected[name], abs=1e-12), name
    at = np.flatnonzero(protocol.levels == figures.cldice_threshold).item()
    assert abs(protocol.levels - figures.ods_threshold).min() == abs(figures.cldice_threshold - figures.ods_threshold)
    assert figures.cldice == pytest.approx(expected["cldice"][at], abs=1e-12)
    return figures


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_the_reference(seed):
    images = [image(10 * seed + number) for number in range(3)]
    protocol = EdgeProtocol(thresholds=9, tolerance=0.04, cldice_tolerance=0.03)
    figures = assert_equal_to_reference(images, protocol)
    assert 0.2 < figures.ods < figures.ois < 1 and 0.2 < figures.ap < 1
    assert 0.2 < figures.cldice < 1


@pytest.mark.parametrize("pixels", [0, 1, 1.5, 2, 3, 4.3])
def test_cldice_of_each_dilation_equals_the_reference(pixels):
    diagonal = float(np.hypot(26, 33))
    protocol = EdgeProtocol(thresholds=3, cldice_tolerance=(pixels + 1e-9) / diagonal)
    assert_equal_to_reference([image(1), image(2, unknown=True)], EdgeProtocol(**{**vars(protocol), "tolerance": 0}))


@pytest.mark.parametrize("pixels", [0, 1, 2, 3])
def test_cldice_is_one_up_to_the_dilation_and_zero_beyond(pixels):
    line = np.zeros((60, 80), bool)
    line[30, 10:70] = True
    protocol = EdgeProtocol(thresholds=1, cldice_tolerance=pixels / 100, thin_truth=False)  # the diagonal is 100
    for shift, expected in ((pixels, 1), (pixels + 1, 0)):
        edges = np.roll(line, shift, axis=0).astype(np.float32)
        assert edge_scores([score_image(edges, line, protocol=protocol)]).cldice == expected


@pytest.mark.parametrize("margin", [0, 0.03, 0.07])
@pytest.mark.parametrize("thin_truth", [True, False])
def test_ignored_ground_and_several_annotators_equal_the_reference(margin, thin_truth):
    images = [image(seed, annotators=seed, unknown=True) for seed in (1, 2, 3)]
    protocol = EdgeProtocol(7, tolerance=0, cldice_tolerance=0.03, ignore_margin=margin, thin_truth=thin_truth)
    figures = assert_equal_to_reference(images, protocol)
    assert 0 < figures.ods < 1


def test_empty_images_among_others_equal_the_reference():
    """Nothing predicted, nothing true, neither, and all ignored: in each sum they are what the reference says."""
    edges, truths, none = image(5)
    nothing, everything = np.zeros_like(truths), np.ones_like(none)
    protocol = EdgeProtocol(thresholds=5, tolerance=0.04)
    images = [(edges, truths, none), (edges, nothing, none), (0 * edges, truths, none), (0 * edges, nothing, none)]
    assert_equal_to_reference([*images, (edges, truths, everything)], protocol)
