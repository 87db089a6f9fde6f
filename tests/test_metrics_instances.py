"""Instance scores: equal to pycocotools, the known traps each shut, and touching pairs counted by hand."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.ndimage import binary_erosion

from tracedge.errors import DataError
from tracedge.export.coco import coco_records
from tracedge.instances import Instances, pairwise_iou
from tracedge.metrics.instances import InstanceScores, score_instances
from tracedge.metrics.touching import separated, touching_pairs


def boxes(*corners, shape=(60, 80)):
    labels = np.zeros(shape, np.int32)
    for number, (top, left, bottom, right) in enumerate(corners, start=1):
        labels[top:bottom, left:right] = number
    return labels


def scored(*images, **keywords):
    scores = InstanceScores()
    for labels, found in images:
        scores.add(score_instances(Instances.from_labels(labels), found, **keywords))
    return scores.compute()


def noisy(labels, rng):
    """Predictions near the truth, some of them wrong: masks shifted, halved or invented, with scores that repeat."""
    truth = Instances.from_labels(labels).masks
    masks = [
        np.roll(mask, tuple(rng.integers(-2, 3, 2)), (0, 1)) for mask in truth for _ in range(int(rng.integers(0, 3)))
    ]
    masks += [rng.random(labels.shape) > 0.9 for _ in range(int(rng.integers(0, 3)))]
    if not masks:
        return Instances.empty(labels.shape)
    return Instances(np.stack(masks), rng.choice([0.25, 0.5, 1.0], len(masks)))


def by_pycocotools(images):
    truths, results, annotations = [], [], []
    for number, (labels, found) in enumerate(images, start=1):
        image, records = coco_records(Instances.from_labels(labels), number, f"{number}.png", len(annotations) + 1)
        truths.append(image)
        annotations += records
        results += [
            {key: record[key] for key in ("image_id", "category_id", "segmentation", "score")}
            for record in coco_records(found, number, "x.png")[1]
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": truths,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "x"}],
            "info": {},
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_scores_equal_pycocotools():
    rng = np.random.default_rng(0)
    images = []
    for _ in range(8):
        corners = [
            (top, left, top + 12, left + 14) for top in (4, 24, 44) for left in (3, 20, 50) if rng.random() > 0.3
        ]
        labels = boxes(*corners)
        images.append((labels, noisy(labels, rng)))
    stats = by_pycocotools(images)
    figures = scored(*images)
    assert [figures.ap, figures.ap50, figures.ar100] == pytest.approx([stats[0], stats[1], stats[8]], abs=1e-9)
    assert 0.05 < figures.ap < 0.95


def test_a_perfect_answer_scores_one_everywhere():
    labels = boxes((5, 5, 25, 25), (5, 25, 25, 50), (40, 40, 55, 70))
    figures = scored((labels, Instances.from_labels(labels)))
    assert (figures.ap, figures.ap50, figures.ar100, figures.boundary_ap) == (1, 1, 1, 1)
    assert (figures.touching_separated, figures.touching, figures.objects) == (1, 1, 3)


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


def boundary_iou(first, second):
    """Cheng et al. (2021), pixel by pixel: bands of 2 % of the diagonal along each border, the image's border included."""
    width = max(1, round(0.02 * np.hypot(*first.shape)))
    bands = [
        mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0) for mask in (first, second)
    ]
    band = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    return min(band, float(pairwise_iou(first[None], second[None])[0, 0]))


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_boundary_ap_is_that_of_the_boundary_iou(shift):
    labels = boxes((10, 10, 50, 60))
    found = Instances(np.roll(labels == 1, shift, axis=1)[None])
    iou = boundary_iou(labels == 1, found.masks[0])
    reached = sum(iou >= threshold - 1e-9 for threshold in np.linspace(0.5, 0.95, 10)) / 10
    assert scored((labels, found)).boundary_ap == pytest.approx(reached)


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
    assert separated(truth, [(1, 2)], truth[:1]) == 0
    poor = truth.copy()
    poor[1, :, 34:] = False  # IoU 0.45
    assert separated(truth, [(1, 2)], poor) == 0
