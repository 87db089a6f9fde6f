"""Class-agnostic instance scores: AP, AP50, AR100, boundary AP, and touching pairs kept apart.

AP and AR are COCO's (IoU 0.50:0.05:0.95, 100 masks an image), computed by faster-coco-eval on one category; boundary AP takes
the smaller of the IoU of the masks and of the bands along their borders, 2 % of the diagonal wide (Cheng et al., 2021).

A crowd is COCO's: a region in which objects are not told apart, a record of its own with iscrowd = 1, uncut where objects lie in
it. A mask that fits no object is neither right nor wrong at an IoU threshold if at least that share of its area lies in one
crowd; boundary AP takes the same share of areas, not of bands. So crowds leave recall as it is and never lower AP. They are no
objects, and of no touching pair; a mask in a crowd may still be the best of an object. There is no ignoring pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask

from tracedge.errors import DataError
from tracedge.export.coco import CATEGORY, coco_records, coco_result
from tracedge.instances import Instances, Masks
from tracedge.metrics.touching import separated, touching_pairs

MOST = 100
"""Masks of an image that are evaluated, as COCO's figures have it."""


@dataclass(frozen=True)
class InstanceFigures:
    """The scores of a data set, each in [0, 1] or None where there is nothing to score.

    ap: mean over IoU 0.50 to 0.95; ap50: at 0.50; ar100: recall of the best 100 masks an image; boundary_ap: with boundary IoU.
    touching_separated: share of the touching pairs whose best masks differ and both have an IoU above 0.5. images, objects,
    predictions, touching: how many there were.
    """

    ap: float | None
    ap50: float | None
    ar100: float | None
    boundary_ap: float | None
    touching_separated: float | None
    images: int
    objects: int
    predictions: int
    touching: int


@dataclass(frozen=True)
class ImageInstances:
    """What one image adds to the scores: JSON's types, so that it can be sent, stored, and added in any process.

    size: rows, columns. truth: COCO's records of the objects, and after them of the crowds. found: results, the best
    first, no more of them than are evaluated. predictions: masks there were. pairs: touching objects; separated: those of them
    kept apart.
    """

    size: tuple[int, int]
    truth: list[dict[str, Any]]
    found: list[dict[str, Any]]
    predictions: int
    pairs: int
    separated: int


def score_instances(
    truth: Instances,
    found: Instances,
    *,
    crowds: Masks | None = None,
    classes: Sequence[object] | None = None,
) -> ImageInstances:
    """What one image adds to the scores.

    Args:
        truth: the objects that are there; their scores are not looked at.
        found: the prediction.
        crowds: bool (C, H, W), regions in which objects are not told apart, which may overlap each other and the objects; None:
            there is none.
        classes: one for each object: touching pairs are then those of one class; None: any two.

    Raises:
        DataError: the prediction or the crowds are of another size, or there are not as many classes as objects.
    """
    if found.shape != truth.shape:
        raise DataError(f"the truth is {truth.shape} and the prediction {found.shape} (rows, columns).")
    if crowds is not None and crowds.shape[1:] != truth.shape:
        raise DataError(f"crowds are masks (C, H, W) of the truth's size {truth.shape}, got {crowds.shape}.")
    if classes is not None and len(classes) != len(truth):
        raise DataError(f"the truth has {len(truth)} objects and {len(classes)} classes: one for each is needed.")
    objects = coco_records(truth, 0, "image")[1]
    if crowds is not None:
        regions = Instances(crowds[crowds.any(axis=(1, 2))])
        objects += [{**record, "iscrowd": 1} for record in coco_records(regions, 0, "image")[1]]
    ranked = found[np.argsort(-found.scores, kind="stable")[:MOST]]
    results = [coco_result(record) for record in coco_records(ranked, 0, "image")[1]]
    pairs = touching_pairs(Instances(truth.masks).to_labels().astype(np.int32), classes)
    apart = int(separated(truth.masks, pairs, found.masks))
    return ImageInstances(truth.shape, objects, results, len(found), len(pairs), apart)


def mean_best_iou(image: ImageInstances) -> float | None:
    """Mean over the objects of an image of the IoU of the mask that fits each best; None without objects. It ranks images."""
    objects = [record["segmentation"] for record in image.truth if not record["iscrowd"]]
    if not objects:
        return None
    if not image.found:
        return 0.0
    overlap = mask.iou([result["segmentation"] for result in image.found], objects, [0] * len(objects))
    return float(np.asarray(overlap).max(axis=0).mean())


class InstanceScores:
    """Accumulator: `add` adds an image, `merge` the images of another one; `compute` scores them together, as one data set.

    Every image counts, with or without predictions. Masks are ranked over the whole data set by score; among equals the earlier
    image and the earlier mask come first, so that equal predictions have equal scores.
    """

    def __init__(self) -> None:
        self._images: list[ImageInstances] = []

    def add(self, image: ImageInstances) -> None:
        """One image, as `score_instances` gives it."""
        self._images.append(image)

    def merge(self, other: InstanceScores) -> None:
        """The images of another accumulator, after those that are here."""
        self._images += other._images

    def compute(self) -> InstanceFigures:
        """The figures of all images added."""
        by_mask, by_border = self._evaluated("segm"), self._evaluated("boundary")
        pairs = sum(image.pairs for image in self._images)
        return InstanceFigures(
            ap=_or_none(by_mask["AP_all"]),
            ap50=_or_none(by_mask["AP_50"]),
            ar100=_or_none(by_mask["AR_all"]),
            boundary_ap=_or_none(by_border["AP_all"]),
            touching_separated=sum(image.separated for image in self._images) / pairs if pairs else None,
            images=len(self._images),
            objects=sum(not record["iscrowd"] for image in self._images for record in image.truth),
            predictions=sum(image.predictions for image in self._images),
            touching=pairs,
        )

    def _evaluated(self, kind: str) -> dict[str, float]:
        """COCO's figures of one kind of IoU, those that are asked for; those of no object are -1."""
        if not self._images:
            return dict.fromkeys(("AP_all", "AP_50", "AR_all"), -1.0)
        images: list[dict[str, Any]] = []
        truths: list[dict[str, Any]] = []
        found: list[dict[str, Any]] = []
        for number, image in enumerate(self._images, start=1):
            images.append({"id": number, "height": image.size[0], "width": image.size[1], "file_name": "image"})
            # Copies: the evaluation writes into its records, boxes among them.
            truths += [
                {**record, "image_id": number, "id": len(truths) + 1 + k} for k, record in enumerate(image.truth)
            ]
            found += [{**result, "image_id": number} for result in image.found]
        dataset = {"images": images, "annotations": truths, "categories": [CATEGORY]}
        truth = COCO(dataset, print_function=_silent)
        evaluation = COCOeval_faster(
            truth, truth.loadRes(found), iouType=kind, print_function=_silent, boundary_cpu_count=1
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return {"AP_all": evaluation.stats[0], "AP_50": evaluation.stats[1], "AR_all": evaluation.stats[8]}


def _or_none(value: float) -> float | None:
    return None if value < 0 else float(value)


def _silent(*_: object) -> None:
    """faster-coco-eval tells what it does; nobody asked."""
