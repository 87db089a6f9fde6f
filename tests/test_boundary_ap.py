"""Boundary AP equals Cheng et al.'s boundary IoU and COCO's matching, both written down plainly; pycocotools has none."""

import numpy as np
import pytest

from instance_answers import boxes, by_pycocotools, drawn_answers, scored, with_ignored
from tracedge.instances import Instances

THRESHOLDS = np.linspace(0.5, 0.95, 10)


def band(mask):
    """The pixels of a mask within 2 % of the diagonal of its border; the border of the image is one too."""
    width = max(1, round(0.02 * np.hypot(*mask.shape)))
    inner = np.pad(mask, width)
    for _ in range(width):
        padded = np.pad(inner, 1)
        around = [
            padded[row : row + inner.shape[0], column : column + inner.shape[1]] for row, column in np.ndindex(3, 3)
        ]
        inner = np.logical_and.reduce(around)
    return mask & ~inner[width:-width, width:-width]


def mask_iou(found, true, crowd):
    shared = (found & true).sum()
    return shared / (found.sum() if crowd else (found | true).sum())


def boundary_iou(found, true, crowd):
    """The smaller of both; of a crowd that of the masks alone: how much of what was found lies in it."""
    if crowd:
        return mask_iou(found, true, crowd)
    one, other = band(found), band(true)
    return min(mask_iou(found, true, crowd), (one & other).sum() / (one | other).sum())


def average_precision(images, iou_of):
    """COCO's AP of one category: matched image by image, ranked over all, precision at 101 recalls."""
    tables = []
    for labels, found, *ignore in images:
        truths = [(mask, False) for mask in Instances.from_labels(labels).masks]
        if ignore and (crowd := ignore[0]).any():
            truths.append((crowd, True))
        ranked = sorted(range(len(found)), key=lambda number: -found.scores[number])[:100]
        ious = [[iou_of(found.masks[number], *truth) for truth in truths] for number in ranked]
        tables.append((found.scores[ranked].tolist(), ious, [crowd for _, crowd in truths]))
    return float(np.mean([precision_at(tables, threshold) for threshold in THRESHOLDS]))


def precision_at(tables, threshold):
    objects = sum(crowds.count(False) for _, _, crowds in tables)
    answers = []  # (score, whether it is right), crowds left out
    for scores, ious, crowds in tables:
        taken = set()
        for score, row in zip(scores, ious, strict=True):
            free = [
                (iou, -g) for g, iou in enumerate(row) if not crowds[g] and g not in taken and iou >= threshold - 1e-9
            ]
            if free:
                taken.add(-max(free)[1])
                answers.append((score, True))
            elif not any(crowd and iou >= threshold - 1e-9 for crowd, iou in zip(crowds, row, strict=True)):
                answers.append((score, False))
    right = np.array([one for _, one in sorted(answers, key=lambda answer: -answer[0])], bool)
    if not right.any():
        return 0.0
    recall = np.cumsum(right) / objects
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return np.mean([max([0.0, *precision[recall >= level - 1e-12]]) for level in np.linspace(0, 1, 101)])


@pytest.mark.parametrize("seed", range(3))
def test_boundary_ap_equals_the_plain_one(seed):
    images = drawn_answers(seed, count=5, by=1)
    figures = scored(*images)
    assert figures.boundary_ap == pytest.approx(average_precision(images, boundary_iou), abs=1e-9)
    assert 0.02 < figures.boundary_ap < figures.ap


@pytest.mark.parametrize("seed", range(3))
def test_boundary_ap_with_ignored_ground_equals_the_plain_one(seed):
    images = with_ignored(drawn_answers(seed, count=5, by=1), seed)
    assert scored(*images).boundary_ap == pytest.approx(average_precision(images, boundary_iou), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_plain_ap_of_masks_is_pycocotools_s(seed):
    """So the reference above may be trusted with the matching, which boundary AP shares."""
    images = with_ignored(drawn_answers(seed, count=5, by=1), seed)
    assert average_precision(images, mask_iou) == pytest.approx(by_pycocotools(images)[0], abs=1e-9)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_boundary_ap_is_that_of_the_boundary_iou(shift):
    labels = boxes((10, 10, 50, 60))
    found = Instances(np.roll(labels == 1, shift, axis=1)[None])
    iou = boundary_iou(labels == 1, found.masks[0], False)
    reached = sum(iou >= threshold - 1e-9 for threshold in THRESHOLDS) / 10
    assert scored((labels, found)).boundary_ap == pytest.approx(reached)


def test_a_mask_cut_off_by_the_image_has_a_boundary_there():
    labels = boxes((0, 0, 60, 40))
    shorter = boxes((0, 0, 57, 40)) == 1  # the same but for the band along the lower border
    figures = scored((labels, Instances(shorter[None])))
    expected = average_precision([(labels, Instances(shorter[None]))], boundary_iou)
    assert figures.boundary_ap == pytest.approx(expected) and figures.boundary_ap < figures.ap


def test_boundary_ap_of_the_truth_is_one_shifted_zero_and_of_nothing_none():
    labels = boxes((10, 10, 50, 60))
    assert scored((labels, Instances.from_labels(labels))).boundary_ap == 1
    shifted = scored((labels, Instances(np.roll(labels == 1, 6, axis=1)[None])))
    assert shifted.boundary_ap == 0 < shifted.ap
    assert scored((labels, Instances.empty(labels.shape))).boundary_ap == 0
    assert scored((np.zeros_like(labels), Instances.empty(labels.shape))).boundary_ap is None
