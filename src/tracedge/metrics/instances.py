"""Class-agnostic instance scores: AP, AP50, AR100, boundary AP, and touching pairs kept apart.

AP and AR are COCO's (IoU 0.50:0.05:0.95, 100 masks an image), computed by faster-coco-eval on one category; boundary AP takes
the smaller of the IoU of the masks and of the bands along their borders, 2 % of the diagonal wide (Cheng et al., 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.export.coco import CATEGORY, coco_records, coco_result
from tracedge.instances import Instances
from tracedge.metrics.touching import separated, touching_pairs


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


class InstanceScores:
    """Adds up images; `compute` scores them together, as one data set.

    Every image counts, with or without predictions. Masks are ranked over the whole data set by score; among equals the earlier
    image and the earlier mask come first, so that equal predictions have equal scores.
    """

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []
        self._pairs = self._separated = self._objects = 0

    def add(
        self,
        truth: Instances,
        found: Instances,
        *,
        ignore: NDArray[np.bool_] | None = None,
        classes: Sequence[object] | None = None,
    ) -> None:
        """One image.

        Args:
            truth: the objects that are there; their scores are not looked at.
            found: the prediction.
            ignore: bool (H, W), where nothing is known; a mask that lies there mostly is neither right nor wrong (COCO's crowd).
            classes: one for each object: touching pairs are then those of one class; None: any two.

        Raises:
            DataError: the prediction is of another size.
        """
        if found.shape != truth.shape:
            raise DataError(f"the truth is {truth.shape} and the prediction {found.shape} (rows, columns).")
        if classes is not None and len(classes) != len(truth):
            raise DataError(f"the truth has {len(truth)} objects and {len(classes)} classes: one for each is needed.")
        number = len(self._images) + 1
        image, objects = coco_records(truth, number, "image", len(self._truth) + 1)
        self._images.append(image)
        self._truth += objects
        if ignore is not None and (crowd := ignore & ~truth.masks.any(axis=0)).any():
            _, (unknown,) = coco_records(Instances(crowd[None]), number, "image", len(self._truth) + 1)
            self._truth.append({**unknown, "iscrowd": 1})
        ranked = coco_records(found[np.argsort(-found.scores, kind="stable")], number, "image")[1]
        self._found += [coco_result(record) for record in ranked]
        pairs = touching_pairs(Instances(truth.masks).to_labels().astype(np.int32), classes)
        self._objects += len(truth)
        self._pairs += len(pairs)
        self._separated += separated(truth.masks, pairs, found.masks)

    def compute(self) -> InstanceFigures:
        """The figures of all images added."""
        by_mask, by_border = self._evaluated("segm"), self._evaluated("boundary")
        return InstanceFigures(
            ap=_or_none(by_mask["AP_all"]),
            ap50=_or_none(by_mask["AP_50"]),
            ar100=_or_none(by_mask["AR_all"]),
            boundary_ap=_or_none(by_border["AP_all"]),
            touching_separated=self._separated / self._pairs if self._pairs else None,
            images=len(self._images),
            objects=self._objects,
            predictions=len(self._found),
            touching=self._pairs,
        )

    def _evaluated(self, kind: str) -> dict[str, float]:
        """COCO's twelve figures by name; those of no object are -1."""
        if not self._images:
            return dict.fromkeys(("AP_all", "AP_50", "AR_all"), -1.0)
        # Copies: the evaluation writes into its records, boxes among them, and results with boxes are judged by box area.
        truths, found = ([dict(record) for record in records] for records in (self._truth, self._found))
        dataset = {"images": self._images, "annotations": truths, "categories": [CATEGORY]}
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
