"""Edge scores: known answers on small truths, and sums that do not depend on who counted."""

import dataclasses
import json
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter
from skimage.morphology import disk, thin

from tracedge.errors import DataError, SettingsError
from tracedge.metrics import edges as edge_metrics
from tracedge.metrics.curves import average_precision, best_on_curve, f_measure, recall_at_half_precision
from tracedge.metrics.edges import EdgeCounts, EdgeProtocol, EdgeScores, edge_scores, instance_boundaries, score_image
from tracedge.metrics.matching import match_edges, within_reach

NINE = EdgeProtocol(thresholds=9)


def line(row: int = 50, shape: tuple[int, int] = (100, 150)) -> np.ndarray:
    """A line across the map; the tolerance of this size is 1.35 pixels."""
    edges = np.zeros(shape, bool)
    edges[row] = True
    return edges


def as_map(edges: np.ndarray) -> np.ndarray:
    return edges.astype(np.float32)


def figures(edges: np.ndarray, truth: np.ndarray, **settings: object):
    return edge_scores([score_image(edges, truth, protocol=EdgeProtocol(**({"thresholds": 9} | settings)))])


def test_a_perfect_prediction_scores_one() -> None:
    scores = figures(as_map(line()), line())
    assert (scores.ods, scores.ois, scores.ap, scores.r50, scores.cldice) == (1, 1, 1, 1, 1)
    assert scores.images == 1


def test_a_line_shifted_within_the_tolerance_scores_one() -> None:
    scores = figures(as_map(line(51)), line())
    assert scores.ods == scores.ois == scores.cldice == 1


def test_a_line_shifted_beyond_the_tolerance_scores_zero() -> None:
    scores = figures(as_map(line(52)), line())
    assert scores.ods == scores.ois == scores.ap == scores.cldice == 0


def test_the_tolerance_grows_with_the_diagonal() -> None:
    shape = (480, 640)  # diagonal 800: 6 pixels
    assert figures(as_map(line(106, shape)), line(100, shape)).ods == 1
    assert figures(as_map(line(107, shape)), line(100, shape)).ods == 0


def test_doubled_edges_are_punished() -> None:
    doubled = figures(as_map(line(49) | line(51)), line())
    assert doubled.ods == pytest.approx(2 / 3)  # every true pixel found, half of the predicted ones have no partner
    assert doubled.cldice == 1  # clDice is tolerant and not one to one: it does not see them


def test_a_thick_band_is_thinned_before_it_is_matched() -> None:
    band = line(49) | line(50) | line(51)
    counts = score_image(as_map(band), line(), protocol=NINE)
    assert (counts.predicted <= 150).all()
    assert edge_scores([counts]).ods > 0.99


def test_strict_cldice_sees_a_shift_of_one_pixel() -> None:
    assert figures(as_map(line(51)), line(), cldice_tolerance=0).cldice == 0
    assert figures(as_map(line(50)), line(), cldice_tolerance=0).cldice == 1
    assert figures(as_map(line(51)), line(), cldice_tolerance=0).protocol.cldice_tolerance == 0


def test_cldice_equals_its_definition_by_dilation() -> None:
    rng = np.random.default_rng(2)
    truth = thin(instance_boundaries(np.kron(rng.integers(0, 3, (5, 6)), np.ones((20, 20), int))))
    predicted = instance_boundaries(np.kron(rng.integers(0, 3, (5, 6)), np.ones((20, 20), int)))
    protocol = EdgeProtocol(thresholds=1, cldice_tolerance=4.05 / float(np.hypot(*truth.shape)))
    counts = score_image(as_map(predicted), truth, protocol=protocol)
    skeleton = thin(predicted)
    assert counts.skeleton[0] == skeleton.sum()
    assert counts.skeleton_hit[0] == (skeleton & binary_dilation(truth, disk(4))).sum() > 0
    assert counts.truth_hit[0] == (truth & binary_dilation(skeleton, disk(4))).sum() > 0


def test_nothing_predicted_where_nothing_is_true_scores_one() -> None:
    empty = np.zeros((20, 30), bool)
    scores = figures(as_map(empty), empty)
    assert (scores.ods, scores.ois, scores.ap, scores.cldice) == (1, 1, 1, 1)


def test_one_side_empty_scores_zero() -> None:
    empty = np.zeros((100, 150), bool)
    for predicted, truth in ((empty, line()), (line(), empty)):
        scores = figures(as_map(predicted), truth)
        assert (scores.ods, scores.ois, scores.ap, scores.cldice) == (0, 0, 0, 0)


def test_an_empty_image_beside_a_full_one_adds_its_false_pixels() -> None:
    empty = np.zeros((100, 150), bool)
    scores = edge_scores([score_image(as_map(line()), truth, protocol=NINE) for truth in (line(), empty)])
    assert scores.ods == pytest.approx(2 / 3)
    assert scores.precision[0] == 0.5 and scores.recall[0] == 1


def test_ignored_predictions_are_no_false_alarms_and_ignored_truth_is_no_miss() -> None:
    ignore = np.zeros((100, 150), bool)
    ignore[60:] = True
    counts = score_image(as_map(line(50) | line(80)), line(50) | line(70), ignore, NINE)
    assert counts.truth == 150
    scores = edge_scores([counts])
    assert scores.ods == scores.cldice == 1


def test_false_alarms_beside_ignored_ground_are_forgiven_up_to_the_margin() -> None:
    """The border of an object with ground nobody labelled is no truth, but it is there."""
    ignore = np.zeros((100, 150), bool)
    ignore[71:75] = True
    near = score_image(as_map(line(50) | line(70)), line(50), ignore, NINE)
    assert near.predicted[0] == near.skeleton[0] == 150
    strict = score_image(as_map(line(50) | line(70)), line(50), ignore, dataclasses.replace(NINE, ignore_margin=0))
    assert strict.predicted[0] == strict.skeleton[0] == 300
    far = score_image(as_map(line(50) | line(69)), line(50), ignore, NINE)  # two pixels off, the margin is 1.35
    assert far.predicted[0] == far.skeleton[0] == 300


def test_the_truth_itself_scores_one_though_its_slanted_borders_run_in_steps() -> None:
    rows, columns = np.indices((90, 120))
    truth = instance_boundaries((rows + 2 * columns > 150).astype(int) + (np.hypot(rows - 30, columns - 80) < 25))
    scores = figures(as_map(truth), truth)
    assert scores.ods == scores.ois == scores.cldice == 1
    assert figures(as_map(truth), truth, cldice_tolerance=0).cldice == 1
    assert figures(as_map(truth), truth, thin_truth=False).ods < 0.95


def test_a_prediction_just_inside_ignored_ground_still_finds_the_truth_outside() -> None:
    ignore = np.zeros((100, 150), bool)
    ignore[51:] = True
    counts = score_image(as_map(line(51)), line(50), ignore, NINE)
    assert counts.matched_truth[0] == counts.predicted[0] == 150


def test_thresholds_are_taken_in_the_precision_of_the_map() -> None:
    for k in range(1, 100):
        edges = line() * np.float32(k / 100)
        found = score_image(edges, line()).predicted > 0
        assert found.sum() == k


def test_skipped_thresholds_equal_counted_ones() -> None:
    """A map of two strengths is thinned twice and must still be right at all of 99 thresholds."""
    counts = score_image(np.maximum(line(20) * np.float32(0.25), line(60) * np.float32(0.75)), line(20) | line(60))
    assert counts.predicted.tolist() == [300] * 25 + [150] * 50 + [0] * 24


@pytest.mark.parametrize(("pixels", "tolerances"), [(1, (0.02, 0.02)), (30_000, (0.02, 0.02)), (1 << 21, (0.01, 0.03))])
def test_cuts_counted_together_equal_cuts_counted_alone(monkeypatch, pixels: int, tolerances) -> None:
    monkeypatch.setattr(edge_metrics, "_PIXELS_AT_ONCE", pixels)
    rng = np.random.default_rng(4)
    edges = gaussian_filter(rng.random((70, 90)), 2)
    edges = ((edges - edges.min()) / np.ptp(edges)).astype(np.float32)
    truths = np.stack([instance_boundaries(np.kron(rng.integers(0, 3, (7, 9)), np.ones((10, 10), int))) for _ in "ab"])
    ignore = np.zeros((70, 90), bool)
    ignore[20:50, 30:60] = True
    protocol = EdgeProtocol(12, *tolerances, thin_truth=False)
    counts = score_image(edges, truths, ignore, protocol)
    matching, dice = (share * float(np.hypot(70, 90)) for share in tolerances)
    truths &= ~ignore
    charged = distance_transform_edt(~ignore) > protocol.ignore_margin * float(np.hypot(70, 90))
    for at, cut in enumerate(protocol.levels):
        lines = thin(edges >= np.float32(cut))
        pairs = [match_edges(lines, plane, matching) for plane in truths]
        matched = pairs[0][0] | pairs[1][0]
        hit = lines & np.any([distance_transform_edt(~plane) <= dice for plane in truths], axis=0)
        assert counts.predicted[at] == (lines & (matched | charged)).sum()
        assert counts.matched_predicted[at] == matched.sum()
        assert counts.matched_truth[at] == sum(of_truth.sum() for _, of_truth in pairs)
        assert counts.skeleton[at] == (lines & (hit | charged)).sum()
        assert counts.skeleton_hit[at] == hit.sum()
        assert counts.truth_hit[at] == sum(within_reach(plane, lines, dice).sum() for plane in truths)


def test_ods_is_one_threshold_for_all_and_ois_one_for_each() -> None:
    """One image needs a high threshold and the other a low one: OIS can, ODS cannot."""
    noisy = np.maximum(line(50) * np.float32(0.9), line(20) * np.float32(0.5))
    faint = line(50) * np.float32(0.3)
    scores = edge_scores([score_image(edges, line(50), protocol=NINE) for edges in (noisy, faint)])
    assert scores.ois == 1
    assert scores.ods == pytest.approx(0.8)  # P = 2/3, R = 1 at t <= 0.3


def test_non_maxima_are_suppressed_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    edges_module = ModuleType("tracedge.edges")
    edges_module.non_maximum_suppression = lambda edges: edges * line(50)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tracedge.edges", edges_module)
    both = as_map(line(20) | line(50))
    assert score_image(both, line(50), protocol=NINE).predicted[0] == 300
    assert score_image(both, line(50), protocol=dataclasses.replace(NINE, nms=True)).predicted[0] == 150


def test_an_image_where_nothing_is_found_takes_the_cut_with_the_fewest_false_pixels() -> None:
    hopeless = np.maximum(line(20) * np.float32(0.3), line(80) * np.float32(0.95))
    scores = edge_scores([score_image(edges, line(50), protocol=NINE) for edges in (as_map(line(50)), hopeless)])
    assert scores.ois == pytest.approx(0.5)  # of 300 predicted and 300 true pixels half are matched


def test_several_annotators_are_each_matched_and_a_prediction_needs_only_one() -> None:
    counts = score_image(as_map(line(20)), np.stack([line(20) | line(70), line(70)]), protocol=NINE)
    assert counts.truth == 450
    assert counts.matched_truth[0] == 150
    assert counts.matched_predicted[0] == counts.predicted[0] == 150


def test_f_measure_of_nothing_is_defined() -> None:
    precision, recall, f = f_measure([0, 0, 0, 3], [0, 5, 0, 4], [0, 0, 0, 3], [0, 0, 7, 6])
    assert precision.tolist() == [1, 0, 0, 0.75]
    assert recall.tolist() == [1, 0, 0, 0.5]
    assert f.tolist() == [1, 0, 0, pytest.approx(0.6)]


def test_the_best_f_may_lie_between_two_thresholds() -> None:
    levels, precision, recall = np.array([0.25, 0.75]), np.array([0.2, 1.0]), np.array([1.0, 0.2])
    f, threshold = best_on_curve(levels, precision, recall)
    assert f == pytest.approx(0.6, abs=1e-4)
    assert threshold == pytest.approx(0.5, abs=0.01)


def test_of_equally_good_thresholds_the_lowest_is_taken() -> None:
    assert best_on_curve(np.array([0.25, 0.5, 0.75]), np.ones(3), np.ones(3)) == (1, 0.25)


def test_average_precision_is_a_sum_over_a_hundred_recalls() -> None:
    falling = average_precision(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0]))
    assert falling == pytest.approx(sum(1 - k / 100 for k in range(101)) / 100)
    half = average_precision(np.array([1.0, 1.0]), np.array([0.0, 0.5]))
    assert half == pytest.approx(0.51)
    assert average_precision(np.ones(2), np.array([0.0, 1.0])) == 1
    assert average_precision(np.array([0.2, 1.0, 1.0]), np.array([0.5, 0.5, 0.0])) == pytest.approx(0.51)
    assert average_precision(np.full(3, 0.5), np.full(3, 0.4)) == pytest.approx(0.2)


def test_recall_at_half_precision_is_interpolated() -> None:
    assert recall_at_half_precision(np.array([0.25, 0.75]), np.array([0.9, 0.5])) == pytest.approx(0.7)
    assert recall_at_half_precision(np.array([0.1, 0.4]), np.array([0.9, 0.5])) == 0
    assert recall_at_half_precision(np.array([0.6, 0.8]), np.array([0.9, 0.5])) == 0.9


@st.composite
def scored_images(draw: st.DrawFn) -> list[EdgeCounts]:
    images = []
    for _ in range(draw(st.integers(2, 5))):
        shape = draw(st.tuples(st.integers(2, 12), st.integers(2, 12)))
        edges = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([0, 0.25, 0.5, 1.0])))
        truth, ignore = draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))
        images.append(score_image(edges, truth, ignore, EdgeProtocol(5, tolerance=0.15)))
    return images


@settings(max_examples=60, deadline=None)
@given(scored_images(), st.randoms(use_true_random=False))
def test_merged_shards_equal_the_whole_to_the_bit(images: list[EdgeCounts], random) -> None:
    whole = edge_scores(images).as_dict()
    random.shuffle(images)
    cut = random.randint(0, len(images))
    shards = [EdgeScores(images[0].protocol), EdgeScores(images[0].protocol)]
    for at, one in enumerate(images):
        shards[at >= cut].add(one)
    shards[0].merge(shards[1])
    assert shards[0].compute().as_dict() == whole


@settings(max_examples=60, deadline=None)
@given(scored_images())
def test_scores_stay_between_zero_and_one(images: list[EdgeCounts]) -> None:
    scores = edge_scores(images)
    for name in ("ods", "ois", "ap", "r50", "cldice"):
        assert 0 <= getattr(scores, name) <= 1, name
    assert scores.ods >= f_measure(*[0, 1, 0, 1])[2]
    for one in images:
        alone = edge_scores([one])
        assert alone.ois <= alone.ods + 1e-9  # of one image, ODS is its best threshold, and interpolates besides


def test_update_equals_score_and_add() -> None:
    rng = np.random.default_rng(0)
    edges = gaussian_filter(rng.random((60, 80)), 2).astype(np.float32)
    truth = line(30, (60, 80))
    scores = EdgeScores(NINE)
    scores.update(edges, truth)
    assert scores.compute().as_dict() == edge_scores([score_image(edges, truth, protocol=NINE)]).as_dict()


def test_counts_survive_pickle_and_dict() -> None:
    counts = score_image(as_map(line()), line(), protocol=NINE)
    for copy in (pickle.loads(pickle.dumps(counts)), EdgeCounts(**vars(counts))):  # noqa: S301
        assert edge_scores([copy]).as_dict() == edge_scores([counts]).as_dict()
    json.dumps(edge_scores([counts]).as_dict())


def test_an_image_can_be_scored_in_a_spawned_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        counts = pool.submit(score_image, as_map(line()), line(), None, NINE).result()
    assert edge_scores([counts]).ods == 1


def test_counts_of_another_protocol_are_refused() -> None:
    scores = EdgeScores(NINE)
    with pytest.raises(SettingsError, match="cannot be added"):
        scores.add(score_image(as_map(line()), line(), protocol=dataclasses.replace(NINE, tolerance=0.01)))
    with pytest.raises(SettingsError, match="cannot be added"):
        scores.merge(EdgeScores())


def test_counts_that_cannot_be_are_refused() -> None:
    counts = score_image(as_map(line()), line(), protocol=NINE)
    with pytest.raises(DataError, match="matched_truth"):
        dataclasses.replace(counts, matched_truth=counts.matched_truth + 1)
    one_more = counts.matched_predicted + (np.arange(9) == 4)
    with pytest.raises(DataError, match="matched_predicted"):
        dataclasses.replace(counts, matched_predicted=one_more)
    with pytest.raises(DataError, match="skeleton_hit"):
        dataclasses.replace(counts, skeleton_hit=counts.skeleton_hit[:3])


@pytest.mark.parametrize(
    "wrong", [{"thresholds": 0}, {"tolerance": -0.1}, {"cldice_tolerance": 2}, {"ignore_margin": -1}]
)
def test_a_protocol_that_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        EdgeProtocol(**wrong)


@pytest.mark.parametrize(
    ("edges", "truth", "ignore"),
    [
        (np.zeros((4, 5), np.float32), np.zeros((5, 4), bool), None),
        (np.zeros((4, 5), np.float32), np.zeros((4, 5), np.uint8), None),
        (np.zeros((4, 5, 1), np.float32), np.zeros((4, 5), bool), None),
        (np.zeros((4, 5), np.float32), np.zeros((4, 5), bool), np.zeros((5, 4), bool)),
        (np.full((4, 5), 1.5, np.float32), np.zeros((4, 5), bool), None),
        (np.full((4, 5), -0.5, np.float32), np.zeros((4, 5), bool), None),
        (np.full((4, 5), np.nan, np.float32), np.zeros((4, 5), bool), None),
        (np.zeros((0, 5), np.float32), np.zeros((0, 5), bool), None),
    ],
)
def test_wrong_maps_are_refused(edges: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None) -> None:
    with pytest.raises(DataError):
        score_image(edges, truth, ignore)


def test_no_image_is_no_score() -> None:
    with pytest.raises(DataError, match="No image"):
        edge_scores([])


def test_boundaries_are_one_pixel_wide_and_never_the_frame() -> None:
    labels = np.zeros((7, 9), np.uint16)
    labels[2:5, 3:6] = 4
    expected = np.zeros((7, 9), bool)
    expected[1, 3:6] = expected[4, 3:6] = expected[2:5, 2] = expected[2:5, 5] = True
    np.testing.assert_array_equal(instance_boundaries(labels), expected)
    assert not instance_boundaries(np.full((7, 9), 3)).any()


def test_boundaries_with_void_or_ignored_pixels_are_no_truth() -> None:
    labels = np.array([[1, 1, 0, 2, 2, 3, 3]])
    assert np.flatnonzero(instance_boundaries(labels)).tolist() == [1, 2, 4]
    assert np.flatnonzero(instance_boundaries(labels, void=0)).tolist() == [4]
    assert np.flatnonzero(instance_boundaries(labels, labels == 3)).tolist() == [1, 2]


def test_boundaries_of_no_label_map_are_refused() -> None:
    with pytest.raises(DataError, match="integers"):
        instance_boundaries(np.zeros((3, 4)))
    with pytest.raises(DataError, match="one shape"):
        instance_boundaries(np.zeros((3, 4), int), np.zeros((4, 3), bool))
