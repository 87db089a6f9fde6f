"""Small truths and answers for the instance scores, and pycocotools' figures of them."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tracedge.export.coco import coco_records
from tracedge.instances import Instances
from tracedge.metrics.instances import InstanceScores, score_instances


def boxes(*corners, shape=(60, 80)):
    labels = np.zeros(shape, np.int32)
    for number, (top, left, bottom, right) in enumerate(corners, start=1):
        labels[top:bottom, left:right] = number
    return labels


def scored(*images, **keywords):
    """Figures of (labels, found), or of (labels, found, ignore)."""
    return scores_of(images, **keywords).compute()


def scores_of(images, **keywords):
    scores = InstanceScores()
    for labels, found, *ignore in images:
        known = {"crowds": ignore[0][None]} if ignore else {}
        scores.add(score_instances(Instances.from_labels(labels), found, **known, **keywords))
    return scores


def noisy(labels, rng, by=2):
    """Predictions near the truth, some of them wrong: masks shifted, doubled or invented, with scores that repeat."""
    truth = Instances.from_labels(labels).masks
    masks = [
        np.roll(mask, tuple(rng.integers(-by, by + 1, 2)), (0, 1))
        for mask in truth
        for _ in range(int(rng.integers(0, 3)))
    ]
    masks += [rng.random(labels.shape) > 0.9 for _ in range(int(rng.integers(0, 3)))]
    if not masks:
        return Instances.empty(labels.shape)
    return Instances(np.stack(masks), rng.choice([0.25, 0.5, 1.0], len(masks)))


def drawn_answers(seed, count=8, by=2):
    """Images of up to nine boxes each, and noisy answers, off by up to so many pixels."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        corners = [
            (top, left, top + 12, left + 14) for top in (4, 24, 44) for left in (3, 20, 50) if rng.random() > 0.3
        ]
        labels = boxes(*corners)
        images.append((labels, noisy(labels, rng, by)))
    return images


def with_ignored(images, seed):
    """The same with ignored ground over background and objects alike, and one more mask that lies there mostly."""
    rng = np.random.default_rng(seed)
    known = []
    for labels, found in images:
        ignore = np.zeros(labels.shape, bool)
        top, left = rng.integers(0, 40, 2)
        ignore[top : top + 16, left : left + 30] = True
        there = np.zeros(labels.shape, bool)
        there[top + 2 : top + 17, left + 1 : left + 20] = True
        known.append((labels, Instances.merge([found, Instances(there[None], [0.5])]), ignore))
    return known


def by_pycocotools(images):
    """Its twelve figures; ignored ground is a crowd, also where objects lie in it."""
    truths, results, annotations = [], [], []
    for number, (labels, found, *ignore) in enumerate(images, start=1):
        image, records = coco_records(Instances.from_labels(labels), number, f"{number}.png", len(annotations) + 1)
        truths.append(image)
        annotations += records
        if ignore and (crowd := ignore[0]).any():
            (record,) = coco_records(Instances(crowd[None]), number, "x.png", len(annotations) + 1)[1]
            annotations.append(record | {"iscrowd": 1})
        results += [
            {key: record[key] for key in ("image_id", "category_id", "segmentation", "score")}
            for record in coco_records(found, number, "x.png")[1]
        ]
    return evaluated_by_pycocotools(truths, annotations, results, [{"id": 1, "name": "x"}])


def evaluated_by_pycocotools(images, annotations, results, categories, use_categories=True):
    annotations, results = copy.deepcopy((annotations, results))  # it writes into them
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.params.useCats = int(use_categories)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats
