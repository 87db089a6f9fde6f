"""What COCO's figures ask of one image: which masks fit an object, at each IoU; a few bytes a mask instead of its outline.

Images are matched one by one, by COCO's rules on the IoU of faster-coco-eval. Their masks are then ranked over the data set.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from tracedge.export.coco import CATEGORY

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """The masks of an image at the ten IoUs, a number a mask, the best first: its bit k is for IOUS[k].

    hit: it is the mask of an object. dropped: it lies in a crowd, and is neither right nor wrong.
    """

    hit: tuple[int, ...]
    dropped: tuple[int, ...]


def match_instances(
    size: Sequence[int], truth: list[dict[str, Any]], found: list[dict[str, Any]], kind: str
) -> Matches:
    """Match the masks of an image with its objects.

    Each mask, the best first, takes the object left over that it overlaps most, if that is as much as is asked for; if there is
    none, a crowd, which may be taken again.

    Args:
        size: rows, columns.
        truth: COCO's records of the objects and the crowds.
        found: COCO's results, the best first, no more than are evaluated.
        kind: "segm", the IoU of masks, or "boundary", the smaller of it and that of the bands along their borders.

    Source: Lin et al., 2014; `COCOeval.evaluateImg` of pycocotools.
    """
    if not truth or not found:
        return Matches((0,) * len(found), (0,) * len(found))
    overlap, crowd = _overlap(size, truth, found, kind), np.array([bool(record["iscrowd"]) for record in truth])
    hit, dropped = np.zeros((2, len(found), len(IOUS)), bool)
    for k, least in enumerate(IOUS):
        free = ~crowd
        for mask in np.flatnonzero(overlap.max(axis=1) >= IOUS[0]):
            with_each = overlap[mask]
            for taken, among in ((hit, free), (dropped, crowd)):
                fits = among & (with_each >= min(least, 1 - 1e-10))
                if fits.any():
                    # Of equals the last, as COCO has it.
                    best = len(fits) - 1 - int(np.where(fits, with_each, -1)[::-1].argmax())
                    taken[mask, k] = True
                    free[best] = False
                    break
    return Matches(_packed(hit), _packed(dropped))


class Ranking:
    """Accumulator: `add` adds the masks of an image; `precision_and_recall` ranks those of all images by score.

    Among equals the earlier image and the earlier mask come first. A mask takes 12 bytes.
    """

    def __init__(self) -> None:
        self._scores, self._hit, self._dropped = array("d"), array("H"), array("H")

    def add(self, scores: Sequence[float], matches: Matches) -> None:
        """The masks of an image, and their scores."""
        self._scores.extend(scores)
        self._hit.extend(matches.hit)
        self._dropped.extend(matches.dropped)

    def merge(self, other: Ranking) -> None:
        """The masks of another one, after those that are here."""
        self._scores.extend(other._scores)
        self._hit.extend(other._hit)
        self._dropped.extend(other._dropped)

    def precision_and_recall(self, objects: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision (10, 101) at each IoU and each of RECALLS, and the greatest recall (10,); of `objects` objects, 1 or more.

        P(r) = max over ranks of recall >= r of hits / (hits + misses), 0 where no rank has it
        """
        order = np.argsort(-np.array(self._scores), kind="stable")
        hit, dropped = (_unpacked(np.array(flags, np.uint16)[order]) for flags in (self._hit, self._dropped))
        precision, most = np.zeros((len(IOUS), len(RECALLS))), np.zeros(len(IOUS))
        for k in range(len(IOUS)) if len(order) else ():
            hits, misses = np.cumsum(hit[:, k]), np.cumsum(~hit[:, k] & ~dropped[:, k])
            recall, exact = hits / objects, hits / np.maximum(hits + misses, 1)
            best_from_here = np.maximum.accumulate(exact[::-1])[::-1]
            at = np.searchsorted(recall, RECALLS, side="left")
            precision[k, at < len(recall)] = best_from_here[at[at < len(recall)]]
            most[k] = recall[-1]
        return precision, most


def _overlap(
    size: Sequence[int], truth: list[dict[str, Any]], found: list[dict[str, Any]], kind: str
) -> NDArray[np.float64]:
    """(masks, records of the truth): IoU, and with crowds the share of the mask that lies in it."""
    # Copies: the evaluation writes into its records.
    records = [{**record, "image_id": 1, "id": number} for number, record in enumerate(truth, start=1)]
    image = {"id": 1, "height": size[0], "width": size[1], "file_name": "image"}
    known = COCO({"images": [image], "annotations": records, "categories": [CATEGORY]}, print_function=_silent)
    results = known.loadRes([{**result, "image_id": 1} for result in found])
    evaluation = COCOeval_faster(known, results, iouType=kind, print_function=_silent, boundary_cpu_count=1)
    evaluation.evaluate()
    ((_, overlap),) = evaluation.ious.items()
    return np.asarray(overlap, np.float64).reshape(len(found), len(truth))


def _packed(flags: Flags) -> tuple[int, ...]:
    return tuple((flags @ (1 << np.arange(len(IOUS)))).tolist())


def _unpacked(numbers: NDArray[np.uint16]) -> Flags:
    return (numbers[:, None] >> np.arange(len(IOUS), dtype=np.uint16) & 1).astype(bool)


def _silent(*_: object) -> None:
    """faster-coco-eval tells what it does; nobody asked."""
