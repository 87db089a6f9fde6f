"""From counts to figures: F, and what is read off a precision-recall curve."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Curve = NDArray[np.float64]


def f_measure(
    hit_predicted: ArrayLike, predicted: ArrayLike, hit_truth: ArrayLike, truth: ArrayLike
) -> tuple[Curve, Curve, Curve]:
    """Precision, recall and their harmonic mean from counts.

        P = hit_predicted / predicted        R = hit_truth / truth        F = 2 P R / (P + R)

    Nothing predicted and nothing true is a perfect answer: P = R = F = 1. Only one of them empty: its ratio is 0, and
    so is F. F is 0 where P + R is.

    Args:
        hit_predicted, predicted, hit_truth, truth: counts, numbers or arrays of one shape.

    Returns:
        P, R and F, float64 in [0, 1], of that shape.

    >>> [float(part) for part in f_measure(3, 4, 3, 6)]
    [0.75, 0.5, 0.6]
    """
    hit_predicted, predicted, hit_truth, truth = np.broadcast_arrays(hit_predicted, predicted, hit_truth, truth)
    empty = (predicted == 0) & (truth == 0)
    precision = np.where(empty, 1.0, hit_predicted / np.maximum(predicted, 1))
    recall = np.where(empty, 1.0, hit_truth / np.maximum(truth, 1))
    return precision, recall, harmonic_mean(precision, recall)


def harmonic_mean(precision: Curve, recall: Curve) -> Curve:
    """2 P R / (P + R), and 0 where both are 0."""
    total = precision + recall
    return 2 * precision * recall / np.where(total > 0, total, 1.0)


def best_on_curve(levels: Curve, precision: Curve, recall: Curve) -> tuple[float, float]:
    """The largest F on a curve (K,) of thresholds, and the threshold where it is.

    Between neighbouring thresholds P, R and t are interpolated linearly at 100 points, ends included; of equal F the
    lowest threshold is taken.

    Source: Dollár and Zitnick, 2015, the edge-detection toolbox.
    """
    if levels.size == 1:
        return float(harmonic_mean(precision, recall)[0]), float(levels[0])
    share = np.linspace(0.0, 1.0, 100)

    def between(values: Curve) -> Curve:
        return (values[:-1, None] + np.diff(values)[:, None] * share).ravel()

    f = harmonic_mean(between(precision), between(recall))
    best = int(f.argmax())
    return float(f[best]), float(between(levels)[best])


def average_precision(precision: Curve, recall: Curve) -> float:
    """Sum of P at the recalls 0, 0.01 .. 1 over 100, at most 1.

    P is interpolated linearly over the measured recalls, of equal recalls the highest P counts, and recalls outside the
    measured ones add nothing. A curve of one recall only spans no interval; its AP is P R, the area below that point
    (the BSDS code leaves 0 there).
    """
    order = np.lexsort((-precision, recall))
    recalls, first = np.unique(recall[order], return_index=True)
    precisions = precision[order][first]
    if recalls.size == 1:
        return float(precisions[0] * recalls[0])
    sampled = np.interp(np.linspace(0.0, 1.0, 101), recalls, precisions, left=0.0, right=0.0)
    return min(1.0, float(sampled.sum()) / 100)


def recall_at_half_precision(precision: Curve, recall: Curve) -> float:
    """Recall where P is 0.5, interpolated over P; 0 if P never gets there, R at the lowest P if all are higher."""
    if precision.max() < 0.5:
        return 0.0
    order = np.lexsort((-recall, precision))
    precisions, first = np.unique(precision[order], return_index=True)
    return float(np.interp(0.5, precisions, recall[order][first]))
