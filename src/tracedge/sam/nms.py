"""Non-maximum suppression of boxes, without torchvision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def box_iou(box: NDArray[np.number], boxes: NDArray[np.number]) -> NDArray[np.float64]:
    """(N,) intersection over union of a box (4,) with each of boxes (N, 4), all of them as `Instances.boxes`."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return shared / (areas + (box[2:] - box[:2]).prod() - shared)


def box_nms(boxes: NDArray[np.number], scores: NDArray[np.floating], iou: float) -> list[int]:
    """The numbers of those that stay, the highest score first: each removes what is lower and shares more than `iou` with it.

    Args:
        boxes: (N, 4), as `Instances.boxes`, none of them empty. scores: (N,); among equals the earlier counts as higher.

    >>> box_nms(np.array([[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]]), np.array([0.5, 0.9, 0.1]), 0.7)
    [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, others = int(order[0]), order[1:]
        kept.append(best)
        order = others[box_iou(boxes[best], boxes[others]) <= iou]
    return kept
