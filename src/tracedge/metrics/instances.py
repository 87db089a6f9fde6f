"""Class-agnostic instance scores: AP, AP50, AR100, boundary AP, and touching pairs kept apart.

AP and AR are COCO's (IoU 0.50:0.05:0.95, 100 masks an image), on one category (`instance_matches`); boundary AP takes the
smaller of the IoU of the masks and of the bands along their borders, 2 % of the diagonal wide (Cheng et al., 2021).

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
from faster_coco_eval.core import mask
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.export.coco import coco_records, coco_result
from tracedge.instances import Instances, Masks
from tracedge.metrics.instance_matches import Matches, Ranking, match_instances
from tracedge.metrics.touching import separated, touching_pairs

MOST = 100
"""Masks of an image that are evaluated, as COCO's figures have it."""


@dataclass(frozen=True)
class InstanceFigures:
    """The scores of a data set, each in [0, 1] or None where there is nothing to score.

    ap: mean over IoU 0.50 to 0.95; ap50: at 0.50; ar100: recall of the best 100 masks an image; boundary_ap: with boundary IoU.
    touching_separated: share of the touching pairs whose best masks, among the same 100 of an image, differ and both have an IoU
    above 0.5. images, objects, predictions, touching: how many there were.
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
        truth: the objects that are there; their scores are not looked at. One of no pixel (`blanks`) is missed by everybody.
        found: the prediction. A mask of no pixel is a false alarm, in its place among the best 100.
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
    best = np.argsort(-found.scores, kind="stable")[:MOST]
    ranked = found[best]
    results = [coco_result(record) for record in coco_records(ranked, 0, "image")[1]]
    pairs = touching_pairs(Instances(truth.masks, blanks=True).to_labels().astype(np.int32), classes)
    apart = int(separated(truth.masks, pairs, found.masks[np.sort(best)]))
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


@dataclass(frozen=True)
class ImageCounts:
    """What the figures ask of one image, without its outlines: of JSON's types, a few bytes a mask.

    objects, predictions, pairs, separated: how many; see `InstanceFigures`. scores: of the masks that are evaluated, the best
    first. by_mask, by_border: which of them fit. mean_best_iou: see there.
    """

    objects: int
    predictions: int
    pairs: int
    separated: int
    scores: tuple[float, ...]
    by_mask: Matches
    by_border: Matches
    mean_best_iou: float | None


def count_instances(image: ImageInstances) -> ImageCounts:
    """Match the masks of one image with its objects."""
    matches = {kind: match_instances(image.size, image.truth, image.found, kind) for kind in ("segm", "boundary")}
    return ImageCounts(
        objects=sum(not record["iscrowd"] for record in image.truth),
        predictions=image.predictions,
        pairs=image.pairs,
        separated=image.separated,
        scores=tuple(result["score"] for result in image.found),
        by_mask=matches["segm"],
        by_border=matches["boundary"],
        mean_best_iou=mean_best_iou(image),
    )


class InstanceScores:
    """Accumulator: `add` adds an image, `merge` the images of another one; `compute` scores them together, as one data set.

    Every image counts, with or without predictions. Masks are ranked over the whole data set by score; among equals the earlier
    image and the earlier mask come first, so that equal predictions have equal scores. A mask that is evaluated takes 24 bytes,
    an image none.
    """

    def __init__(self) -> None:
        self._by_mask, self._by_border = Ranking(), Ranking()
        self._counts = dict.fromkeys(("images", "objects", "predictions", "pairs", "separated"), 0)

    def add(self, image: ImageInstances | ImageCounts) -> None:
        """One image, as `score_instances` gives it, or as `count_instances` has counted it."""
        counts = count_instances(image) if isinstance(image, ImageInstances) else image
        self._by_mask.add(counts.scores, counts.by_mask)
        self._by_border.add(counts.scores, counts.by_border)
        for name in self._counts:
            self._counts[name] += 1 if name == "images" else getattr(counts, name)

    def merge(self, other: InstanceScores) -> None:
        """The images of another accumulator, after those that are here."""
        self._by_mask.merge(other._by_mask)
        self._by_border.merge(other._by_border)
        for name, count in other._counts.items():
            self._counts[name] += count

    def compute(self) -> InstanceFigures:
        """The figures of all images added.

        AP is the mean precision over `IOUS` and `RECALLS`, AP50 that at an IoU of 0.50, AR100 the mean over `IOUS` of the recall.
        """
        objects, pairs = self._counts["objects"], self._counts["pairs"]
        precision = most = by_border = None
        if objects:
            precision, most = self._by_mask.precision_and_recall(objects)
            by_border, _ = self._by_border.precision_and_recall(objects)
        return InstanceFigures(
            ap=_mean(precision),
            ap50=_mean(precision[0]) if precision is not None else None,
            ar100=_mean(most),
            boundary_ap=_mean(by_border),
            touching_separated=self._counts["separated"] / pairs if pairs else None,
            images=self._counts["images"],
            objects=objects,
            predictions=self._counts["predictions"],
            touching=pairs,
        )


def _mean(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(values.mean())
