"""The edge scores a second time, slow and plain: scikit-image's thinning, Kuhn's matching, sums and loops."""

from itertools import pairwise

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.morphology import thin


def largest_matching(predicted, truth, max_distance):
    """Kuhn's algorithm on an all-pairs distance table: slow, short, and nothing in common with the code under test.

    Predicted pixel -> true pixel, both numbers in the order of their maps.
    """
    left, right = np.argwhere(truth), np.argwhere(predicted)
    near = np.hypot(*(left[:, None] - right[None]).transpose(2, 0, 1)) <= max_distance
    owner: dict[int, int] = {}

    def place(vertex, tried):
        for other in np.flatnonzero(near[vertex]):
            if other not in tried:
                tried.add(other)
                if other not in owner or place(owner[other], tried):
                    owner[other] = vertex
                    return True
        return False

    for vertex in range(len(left)):
        place(vertex, set())
    return owner


def counted(edges, truths, ignore, protocol):
    """Of one image and each threshold: hit and all predicted, hit and all true pixels; then the same four of clDice.

    Which pixels a largest matching pairs is not fixed. So what is ignored or drawn by several is only fixed where nothing is left
    to choose: at a tolerance of 0.
    """
    diagonal = np.hypot(*edges.shape)
    truths = [(thin(plane) if protocol.thin_truth else plane) & ~ignore for plane in truths]
    forgiven = within(ignore, protocol.ignore_margin * diagonal)
    radius = protocol.cldice_tolerance * diagonal
    true = sum(plane.sum() for plane in truths)
    rows = []
    for k in range(1, protocol.thresholds + 1):
        lines = thin(edges >= np.float32(k / (protocol.thresholds + 1)))
        at = np.argwhere(lines)
        matched, found = set(), 0
        for plane in truths:
            pairs = largest_matching(lines, plane, protocol.tolerance * diagonal)
            matched |= {tuple(at[number]) for number in pairs}
            found += len(pairs)
        false = sum(tuple(pixel) not in matched and not forgiven[tuple(pixel)] for pixel in at)
        on_truth = lines & np.any([within(plane, radius) for plane in truths], axis=0)
        beside = (lines & ~on_truth & ~forgiven).sum()
        covered = sum((plane & within(lines, radius)).sum() for plane in truths)
        rows.append(
            (len(matched), len(matched) + false, found, true, on_truth.sum(), on_truth.sum() + beside, covered, true)
        )
    return np.array(rows, float)


def within(mask, radius):
    """Pixels at most so far from the mask."""
    return distance_transform_edt(~mask) <= radius if mask.any() else np.zeros(mask.shape, bool)


def ratios(hit, predicted, found, true):
    """Precision, recall and F; nothing predicted and nothing true is perfect, one of them alone is worth nothing."""
    if predicted == true == 0:
        return 1.0, 1.0, 1.0
    precision = hit / predicted if predicted else 0.0
    recall = found / true if true else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def scored(images):
    """ODS, OIS, AP and recall at half precision of the counts of several images, and clDice at each threshold."""
    whole = sum(images)
    curve = [ratios(*row[:4]) for row in whole]
    # ODS: the best F on the curve, which is straight in P and R between thresholds.
    ods = max(f for _, _, f in curve)
    for (p, r, _), (q, s, _) in pairwise(curve):
        for share in np.linspace(0, 1, 100):
            ods = max(ods, harmonic(p + share * (q - p), r + share * (s - r)))
    # OIS: each image at its own best threshold; of equal ones where the fewest predicted pixels are wrong.
    own = [min(image, key=lambda row: (-ratios(*row[:4])[2], row[1] - row[0]))[:4] for image in images]
    return {
        "ods": ods,
        "ois": ratios(*sum(own))[2],
        "ap": average_precision([(r, p) for p, r, _ in curve]),
        "r50": recall_at_half([(p, r) for p, r, _ in curve]),
        "cldice": [ratios(*row[4:])[2] for row in whole],
    }


def harmonic(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def average_precision(points):
    best: dict[float, float] = {}
    for recall, precision in points:
        best[recall] = max(precision, best.get(recall, 0.0))
    if len(best) == 1:
        ((recall, precision),) = best.items()
        return recall * precision
    return min(1.0, sum(on_polyline(sorted(best.items()), k / 100) for k in range(101)) / 100)


def recall_at_half(points):
    best: dict[float, float] = {}
    for precision, recall in points:
        best[precision] = max(recall, best.get(precision, 0.0))
    if max(best) < 0.5:
        return 0.0
    return best[min(best)] if min(best) >= 0.5 else on_polyline(sorted(best.items()), 0.5)


def on_polyline(points, at):
    """The height of a line through points at a place; 0 beside them."""
    for (x, y), (u, v) in pairwise(points):
        if x <= at <= u:
            return y + (v - y) * (at - x) / (u - x)
    return 0.0
