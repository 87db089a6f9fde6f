"""Instance scores: equal to pycocotools, additive, defined where something is empty, and touching pairs counted by hand."""

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instance_answers import boxes, by_pycocotools, drawn_answers, noisy, scored, scores_of, with_ignored
from tracedge.errors import DataError
from tracedge.instances import Instances
from tracedge.metrics.instances import ImageInstances, InstanceScores, mean_best_iou, score_instances
from tracedge.metrics.touching import separated, touching_pairs


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_pycocotools(seed):
    images = drawn_answers(seed)
    stats = by_pycocotools(images)
    figures = scored(*images)
    assert [figures.ap, figures.ap50, figures.ar100] == pytest.approx([stats[0], stats[1], stats[8]], abs=1e-9)
    assert 0.05 < figures.ap < 0.95


@pytest.mark.parametrize("seed", range(3))
def test_scores_with_ignored_ground_equal_pycocotools(seed):
    images = with_ignored(drawn_answers(seed), seed)
    stats = by_pycocotools(images)
    figures = scored(*images)
    assert [figures.ap, figures.ap50, figures.ar100] == pytest.approx([stats[0], stats[1], stats[8]], abs=1e-9)
    assert figures.ap > scored(*((labels, found) for labels, found, _ in images)).ap
    assert figures.objects == sum(labels.max() for labels, _, _ in images)  # crowds are none


def test_shards_merged_in_order_equal_the_whole():
    images = with_ignored(drawn_answers(7, count=6), 7)
    whole = scores_of(images).compute()
    for cuts in ((2, 3), (0, 6), (1, 5)):
        shards = [scores_of(images[start:stop]) for start, stop in pairwise((0, *cuts, 6))]
        for shard in shards[1:]:
            shards[0].merge(shard)
        assert shards[0].compute() == whole
    assert (whole.images, whole.predictions) == (6, sum(len(found) for _, found, _ in images))


def test_counts_of_an_image_may_be_sent_as_json():
    (labels, found, ignore), *_ = with_ignored(drawn_answers(1, count=1), 1)
    image = score_instances(Instances.from_labels(labels), found, crowds=ignore[None])
    again = InstanceScores()
    again.add(ImageInstances(**json.loads(json.dumps(asdict(image)))))
    assert again.compute() == scored((labels, found, ignore))


def test_a_perfect_answer_scores_one_everywhere():
    labels = boxes((5, 5, 25, 25), (5, 25, 25, 50), (40, 40, 55, 70))
    figures = scored((labels, Instances.from_labels(labels)))
    assert (figures.ap, figures.ap50, figures.ar100, figures.boundary_ap) == (1, 1, 1, 1)
    assert (figures.touching_separated, figures.touching, figures.objects) == (1, 1, 3)


def test_a_mask_shifted_beyond_half_of_itself_scores_zero():
    labels = boxes((10, 10, 40, 40))
    near, far = (Instances(np.roll(labels == 1, shift, axis=1)[None]) for shift in (10, 11))
    figures = scored((labels, near))
    assert (figures.ap, figures.ap50, figures.ar100) == pytest.approx((0.1, 1, 0.1))  # IoU 20 / 40, the first of ten
    figures = scored((labels, far))
    assert (figures.ap, figures.ap50, figures.ar100, figures.boundary_ap) == (0, 0, 0, 0)


def test_predictions_where_nothing_is_true_have_no_score_alone_and_cost_precision_beside_others():
    labels = boxes((5, 5, 25, 25))
    found, nothing = Instances.from_labels(labels), np.zeros_like(labels)
    alone = scored((nothing, found))
    assert (alone.ap, alone.ar100, alone.boundary_ap, alone.touching_separated) == (None, None, None, None)
    assert (alone.objects, alone.predictions, alone.images) == (0, 1, 1)
    figures = scored((nothing, found), (labels, found))  # of equal scores the false one comes first
    assert (figures.ap, figures.ar100) == (pytest.approx(0.5), 1)


def test_images_without_predictions_count():
    labels = boxes((5, 5, 25, 25))
    one = scored((labels, Instances.from_labels(labels)), (labels, Instances.empty(labels.shape)))
    assert one.ar100 == pytest.approx(0.5)
    none = scored((labels, Instances.empty(labels.shape)))
    assert (none.ap, none.ar100, none.predictions) == (0, 0, 0)


def test_more_than_a_hundred_masks_are_cut_by_score():
    labels = boxes((5, 5, 25, 25))
    others = np.zeros((120, 60, 80), bool)
    others[np.arange(120), 50, np.arange(120) % 80] = True
    first = Instances(np.concatenate([labels[None] == 1, others]), np.r_[0.1, np.full(120, 0.9)])
    assert scored((labels, first)).ar100 == 0
    assert scored((labels, Instances(first.masks, np.r_[0.95, np.full(120, 0.9)]))).ar100 == 1


def test_what_is_not_among_the_best_hundred_keeps_nothing_apart():
    labels = boxes((5, 5, 25, 25), (5, 25, 25, 50))
    junk = np.zeros((100, 60, 80), bool)
    junk[np.arange(100), 50, np.arange(100) % 80] = True
    masks = np.concatenate([junk, Instances.from_labels(labels).masks])
    for right in (0.1, 1):  # among equals the earlier
        figures = scored((labels, Instances(masks, np.r_[np.ones(100), right, right])))
        assert (figures.touching_separated, figures.ar100, figures.touching) == (0, 0, 1)
    figures = scored((labels, Instances(masks[2:], np.r_[np.ones(98), 0.1, 0.1])))
    assert (figures.touching_separated, figures.ar100) == (1, 1)


def test_nothing_to_score_is_none_and_not_zero():
    figures = scored((np.zeros((8, 9), np.int32), Instances.empty((8, 9))))
    assert figures.ap is None
    assert figures.touching_separated is None
    assert InstanceScores().compute().ap is None


def test_classes_decide_which_pairs_touch():
    labels = boxes((5, 5, 25, 25), (5, 25, 25, 50))
    found = Instances.from_labels(labels)
    assert scored((labels, found), classes=["nut", "nut"]).touching == 1
    assert scored((labels, found), classes=["nut", "leaf"]).touching == 0
    with pytest.raises(DataError, match="one for each"):
        scored((labels, found), classes=["nut"])


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(DataError, match="rows, columns"):
        score_instances(Instances.empty((4, 5)), Instances.empty((5, 4)))


def test_touching_is_eight_pixels_within_two():
    near = boxes((5, 5, 13, 10), (5, 11, 13, 16))  # one column between them, eight rows long
    assert touching_pairs(near) == [(1, 2)]
    assert touching_pairs(boxes((5, 5, 12, 10), (5, 11, 12, 16))) == []  # seven rows
    assert touching_pairs(boxes((5, 5, 30, 10), (5, 12, 30, 16))) == []  # two columns: three pixels apart
    assert touching_pairs(near, ["nut", "nut"]) == [(1, 2)]
    assert touching_pairs(near, ["nut", "leaf"]) == []


def brute_force_pairs(labels):
    found = []
    for first in range(1, labels.max() + 1):
        for second in range(first + 1, labels.max() + 1):
            distance = np.linalg.norm(
                np.argwhere(labels == first)[:, None] - np.argwhere(labels == second)[None], axis=2
            )
            if max((distance.min(axis=1) <= 2).sum(), (distance.min(axis=0) <= 2).sum()) >= 8:
                found.append((first, second))
    return found


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_touching_pairs_equal_brute_force(seed):
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 20, (4, 2))
    labels = np.zeros((32, 32), np.int32)
    for number, (row, column) in enumerate(places, start=1):
        labels[row : row + 11, column : column + 9] = number
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) if (labels == 0).any() else labels
    assert touching_pairs(labels) == brute_force_pairs(labels)


def test_a_pair_is_apart_only_with_two_good_masks():
    labels = boxes((5, 5, 25, 25), (5, 25, 25, 45))
    truth = Instances.from_labels(labels).masks
    assert separated(truth, [(1, 2)], truth) == 1
    assert separated(truth, [(1, 2)], (labels > 0)[None]) == 0  # one mask for both
    assert separated(truth, [(1, 2)], (labels > 0)[None], iou=0.4) == 0  # though it fits either well enough
    assert separated(truth, [(1, 2)], truth[:1]) == 0
    poor = truth.copy()
    poor[1, :, 34:] = False  # IoU 0.45
    assert separated(truth, [(1, 2)], poor) == 0


def brute_best_iou(labels, found):
    truth = Instances.from_labels(labels).masks
    best = [max([0.0, *((one & mask).sum() / (one | mask).sum() for mask in found.masks)]) for one in truth]
    return sum(best) / len(best)


@pytest.mark.parametrize("seed", range(4))
def test_the_mean_best_iou_equals_brute_force_and_a_crowd_is_no_object(seed):
    for labels, found, ignore in with_ignored(drawn_answers(seed, count=3), seed):
        image = score_instances(Instances.from_labels(labels), found, crowds=ignore[None])
        assert mean_best_iou(image) == pytest.approx(brute_best_iou(labels, found))


def test_the_mean_best_iou_of_the_truth_is_one_of_nothing_zero_and_without_objects_none():
    labels = boxes((5, 5, 25, 25), (40, 40, 55, 70))
    truth, nothing = Instances.from_labels(labels), Instances.empty(labels.shape)
    everywhere = np.ones(labels.shape, bool)
    assert mean_best_iou(score_instances(truth, truth)) == 1
    assert mean_best_iou(score_instances(truth, Instances(np.roll(truth.masks[:1], 35, axis=1)))) == 0
    assert mean_best_iou(score_instances(truth, nothing)) == 0
    assert mean_best_iou(score_instances(nothing, truth)) is None
    assert mean_best_iou(score_instances(nothing, truth, crowds=everywhere[None])) is None


def brute_separated(labels, found, pairs):
    truth = Instances.from_labels(labels).masks
    apart = 0
    for pair in pairs:
        best = []
        for label in pair:
            ious = [(truth[label - 1] & mask).sum() / (truth[label - 1] | mask).sum() for mask in found.masks]
            best.append(max(range(len(ious)), key=lambda number, ious=ious: (ious[number], -number)) if ious else None)
            if not ious or max(ious) <= 0.5:
                break
        else:
            apart += best[0] != best[1]
    return apart


@pytest.mark.parametrize("seed", range(4))
def test_touching_pairs_kept_apart_equal_brute_force_over_shards(seed):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(4):
        labels = boxes(*((top, left, top + 12, left + 14) for top in (4, 17) for left in (3, 18, 33)))
        images.append((labels, noisy(np.where(rng.random() < 0.3, (labels + 1) // 2, labels), rng, by=1)))
    counts = [
        (len(brute_force_pairs(labels)), brute_separated(labels, found, brute_force_pairs(labels)))
        for labels, found in images
    ]
    shards = [scores_of(images[:1]), scores_of(images[1:])]
    shards[0].merge(shards[1])
    figures = shards[0].compute()
    touching, apart = np.sum(counts, axis=0)
    assert (figures.touching, figures.touching_separated) == (touching, apart / touching)
    assert 0 < apart < touching
