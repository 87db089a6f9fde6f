"""How good an edge map is: ODS, OIS, AP and clDice, as counts that add up over images and over processes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tracedge.errors import DataError, SettingsError
from tracedge.metrics.curves import Curve, average_precision, best_on_curve, f_measure, recall_at_half_precision
from tracedge.metrics.instance_boundaries import instance_boundaries as instance_boundaries
from tracedge.metrics.matching import FREE, match_pixels, within_reach
from tracedge.metrics.thinning import thin

Counts = NDArray[np.int64]

_PIXELS_AT_ONCE = 1 << 21  # of cuts counted together


@dataclass(frozen=True)
class EdgeProtocol:
    """The choices that make two scores comparable; counts of different protocols refuse to be added.

    Attributes:
        thresholds: K; an edge map E is cut at t = k / (K + 1), k = 1..K, by ``E >= t`` in float32.
        tolerance: how far apart paired pixels may lie, as a fraction of the image diagonal (640 x 480: 6 px).
        cldice_tolerance: clDice dilates both sides by a disc of this fraction of the diagonal; 0 is the strict clDice.
        ignore_margin: false alarms up to this fraction of the diagonal from ignored ground are forgiven. The border of
            an object with ground nobody labelled is no truth, yet it is there, and a good detector finds it a little to
            either side: with a margin of 0 half of such pixels are charged.
        thin_truth: thin the truth as predictions are thinned. BSDS has a truth that is thin already; the one-sided
            borders of a label map run in steps on slanted lines, and thinning takes a sixth of their pixels, misses else.
        nms: suppress non-maxima of E across the edge first. For soft, thick maps; leave it out for maps already thin.
    """

    thresholds: int = 99
    tolerance: float = 0.0075
    cldice_tolerance: float = 0.0075
    ignore_margin: float = 0.0075
    thin_truth: bool = True
    nms: bool = False

    def __post_init__(self) -> None:
        if self.thresholds < 1:
            raise SettingsError(f"thresholds is a number of cuts, 1 or more; got {self.thresholds}.")
        for name in ("tolerance", "cldice_tolerance", "ignore_margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is a fraction of the diagonal in [0, 1]; got {getattr(self, name)}.")

    @property
    def levels(self) -> Curve:
        """(K,) the thresholds, ascending."""
        return np.arange(1, self.thresholds + 1) / (self.thresholds + 1)

    def nearest(self, threshold: float) -> int:
        """Which of `levels` is nearest to a threshold, of two that are as near the lower; from 0."""
        return int(np.abs(self.levels - threshold).argmin())


STANDARD = EdgeProtocol()
BSDS = EdgeProtocol(thin_truth=False, ignore_margin=0.0)
"""The benchmark of BSDS500 to the letter: truth that is thin already is left as it is, and nothing is forgiven."""


@dataclass(frozen=True, eq=False)
class EdgeCounts:
    """What one image adds to the scores: plain integers, so they can be pickled, stored and summed in any order.

    ``EdgeCounts(**vars(counts))`` is the same counts again. All arrays are (K,) int64, one entry a threshold.

    Attributes:
        protocol: the choices they were counted under.
        truth: true pixels; with several annotators the sum over them.
        predicted: predicted pixels that count (see ``score_image`` for the ignored ones).
        matched_predicted: predicted pixels paired with a true one; with several annotators, of any of them.
        matched_truth: true pixels paired with a predicted one.
        skeleton, skeleton_hit: pixels of the thinned prediction; those inside the dilated truth.
        truth_hit: true pixels inside the dilated prediction.
    """

    protocol: EdgeProtocol
    truth: int
    predicted: Counts
    matched_predicted: Counts
    matched_truth: Counts
    skeleton: Counts
    skeleton_hit: Counts
    truth_hit: Counts

    def __post_init__(self) -> None:
        limits = {"matched_predicted": self.predicted, "matched_truth": self.truth}
        limits |= {"skeleton_hit": self.skeleton, "truth_hit": self.truth}
        for name, limit in limits.items():
            part = getattr(self, name)
            if part.shape != (self.protocol.thresholds,) or (part < 0).any() or (part > limit).any():
                raise DataError(
                    f"{name} must be ({self.protocol.thresholds},) and between 0 and its whole; got {part}."
                )


@dataclass(frozen=True, eq=False)
class EdgeFigures:
    """The scores of a data set. All lie in [0, 1], larger is better; the curves are (K,).

    Attributes:
        images: how many were counted.
        ods: F at the best threshold common to all images; ``ods_threshold`` is that threshold.
        ois: F of the summed counts when each image takes its own best threshold.
        ap: mean precision over 101 recalls.
        r50: recall at precision 0.5, 0 where no threshold is as precise.
        cldice: centre-line Dice at ``cldice_threshold``, the threshold nearest to ``ods_threshold``.
        thresholds, precision, recall: the curve.
        protocol: the choices it was all counted under, clDice's radius among them.
    """

    images: int
    ods: float
    ods_threshold: float
    ois: float
    ap: float
    r50: float
    cldice: float
    cldice_threshold: float
    thresholds: Curve
    precision: Curve
    recall: Curve
    protocol: EdgeProtocol

    def as_dict(self) -> dict[str, Any]:
        """The same as numbers, lists and one nested dict: ready for JSON."""
        plain = {name: part.tolist() if isinstance(part, np.ndarray) else part for name, part in vars(self).items()}
        return plain | {"protocol": vars(self.protocol)}


class EdgeScores:
    """Accumulator: ``update`` adds an image, ``merge`` adds another accumulator, ``compute`` divides.

    >>> truth = np.zeros((32, 32), bool)
    >>> truth[16] = True
    >>> scores = EdgeScores()
    >>> scores.update(truth.astype(np.float32), truth)
    >>> scores.compute().ods
    1.0
    """

    def __init__(self, protocol: EdgeProtocol = STANDARD) -> None:
        self.protocol = protocol
        self.images = 0
        self._truth = 0
        self._sums = np.zeros((6, protocol.thresholds), np.int64)
        self._best = np.zeros(4, np.int64)  # counts of each image at its own best threshold

    def update(
        self, edges: NDArray[np.float32], truth: NDArray[np.bool_], ignore: NDArray[np.bool_] | None = None
    ) -> None:
        """Score one image and add it; arguments as in ``score_image``."""
        self.add(score_image(edges, truth, ignore, self.protocol))

    def add(self, counts: EdgeCounts) -> None:
        """Add one image that was scored elsewhere, in another process for instance."""
        self._require(counts.protocol)
        self.images += 1
        self._truth += counts.truth
        self._sums += np.stack(_columns(counts))
        self._best += _best_of(counts)

    def merge(self, other: "EdgeScores") -> None:
        """Add all images of another accumulator; the order of merging does not change a bit of the scores."""
        self._require(other.protocol)
        self.images += other.images
        self._truth += other._truth
        self._sums += other._sums
        self._best += other._best

    def compute(self) -> EdgeFigures:
        """The scores of all images so far, by the formulas of ``edge_scores``.

        Raises:
            DataError: no image was added.
        """
        if self.images == 0:
            raise DataError("No image was scored: there is nothing to divide by.")
        levels = self.protocol.levels
        predicted, matched_predicted, matched_truth, skeleton, skeleton_hit, truth_hit = self._sums
        precision, recall, _ = f_measure(matched_predicted, predicted, matched_truth, self._truth)
        ods, ods_threshold = best_on_curve(levels, precision, recall)
        at = self.protocol.nearest(ods_threshold)
        ois = f_measure(*self._best)[2]
        dice = f_measure(skeleton_hit[at], skeleton[at], truth_hit[at], self._truth)[2]
        return EdgeFigures(
            images=self.images,
            ods=ods,
            ods_threshold=ods_threshold,
            ois=float(ois),
            ap=average_precision(precision, recall),
            r50=recall_at_half_precision(precision, recall),
            cldice=float(dice),
            cldice_threshold=float(levels[at]),
            thresholds=levels,
            precision=precision,
            recall=recall,
            protocol=self.protocol,
        )

    def _require(self, protocol: EdgeProtocol) -> None:
        if protocol != self.protocol:
            raise SettingsError(f"These counts follow {protocol}, this score {self.protocol}: they cannot be added.")


def edge_scores(counts: Iterable[EdgeCounts]) -> EdgeFigures:
    """ODS, OIS, AP and clDice of scored images; the functional twin of ``EdgeScores``.

    With sums over all images at one threshold

        P = matched_predicted / predicted        R = matched_truth / truth        F = 2 P R / (P + R)
        ODS = max F, P and R interpolated linearly at 100 points between neighbouring thresholds
        OIS = F of the counts summed at each image's own best threshold (of equals the one with fewest false pixels)
        AP = sum of P at recalls 0, 0.01 .. 1, interpolated linearly, nothing outside the measured recalls, / 100, <= 1
        clDice = 2 Tp Ts / (Tp + Ts), Tp = skeleton_hit / skeleton, Ts = truth_hit / truth

    Empty cases: nothing predicted and nothing true: every score is 1. One of them empty: F and clDice are 0 there.
    A map of one recall only, as a binary one, spans no interval to interpolate over: its AP is P R (BSDS: 0).

    Raises:
        DataError: no counts at all.
        SettingsError: counts of different protocols.

    Source: Arbelaez et al., 2011; Dollár and Zitnick, 2015 (interpolation); Shit et al., 2021 (clDice).
    """
    scores: EdgeScores | None = None
    for one in counts:
        scores = scores or EdgeScores(one.protocol)
        scores.add(one)
    return (scores or EdgeScores()).compute()


def score_image(
    edges: NDArray[np.float32],
    truth: NDArray[np.bool_],
    ignore: NDArray[np.bool_] | None = None,
    protocol: EdgeProtocol = STANDARD,
) -> EdgeCounts:
    """Count one image: cut the map at each threshold, thin it, match it with the truth. A plain function, for pools.

    Args:
        edges: (H, W) strength in [0, 1].
        truth: (H, W) bool, lines one pixel wide, or (A, H, W) of A annotators, each of them matched on its own.
        ignore: (H, W) bool. True pixels in it are left out. A predicted pixel in it, or within ``ignore_margin`` of it,
            counts if it is matched with a true pixel, and is otherwise dropped: it is no false alarm. For clDice alike,
            with "inside the dilated truth" for "matched".
        protocol: thresholds, tolerances, what is thinned and suppressed.

    Returns:
        EdgeCounts.

    Raises:
        DataError: shapes that differ, strengths outside [0, 1] or not finite, a truth that is not boolean.
    """
    truths, ignore = _checked(edges, truth, ignore)
    if protocol.thin_truth:
        truths = np.stack([thin(plane) for plane in truths])
    truths &= ~ignore
    edges = edges.astype(np.float32, copy=False)
    if protocol.nms:
        from tracedge.edges import non_maximum_suppression

        edges = non_maximum_suppression(edges)
    # The number of thresholds a pixel reaches: cut k keeps the pixels with level >= k.
    level = np.searchsorted(protocol.levels.astype(np.float32), edges, side="right")
    occurs = np.bincount(level.ravel(), minlength=protocol.thresholds + 1)
    new = np.append(True, occurs[1 : protocol.thresholds] > 0)  # no pixel between two cuts: the same map again
    cuts = 1 + np.flatnonzero(new)
    ground = _Ground(truths, ignore, protocol)
    together = max(1, _PIXELS_AT_ONCE // edges.size)
    rows = [ground.count(level, cuts[first : first + together]) for first in range(0, cuts.size, together)]
    return EdgeCounts(protocol, int(truths.sum()), *np.concatenate(rows)[np.cumsum(new) - 1].T.copy())


class _Ground:
    """What all cuts of an image are counted against: the truth, where it is near, and what is forgiven."""

    def __init__(self, truths: NDArray[np.bool_], ignore: NDArray[np.bool_], protocol: EdgeProtocol) -> None:
        diagonal = float(np.hypot(*ignore.shape))
        self._truths = truths
        self._tolerance = protocol.tolerance * diagonal
        self._radius = protocol.cldice_tolerance * diagonal
        self._in_truth = np.any([_distance_from(plane) <= self._radius for plane in truths], axis=0)
        self._charged = _distance_from(ignore) > protocol.ignore_margin * diagonal

    def count(self, level: NDArray[np.intp], cuts: NDArray[np.intp]) -> Counts:
        """(len(cuts), 6): predicted, matched_predicted, matched_truth, skeleton, skeleton_hit, truth_hit of each cut.

        The cuts lie one below the other in one tall map, further apart than any reach: thinned and matched in one go.
        """
        height, width = level.shape
        step = height + 1 + int(max(self._tolerance, self._radius))
        tall = np.zeros((len(cuts), step, width), np.bool_)
        np.greater_equal(level, cuts[:, None, None], out=tall[:, :height])
        lines = thin(tall.reshape(-1, width))
        cut, pixel = np.divmod(np.flatnonzero(lines), step * width)
        found = np.zeros((6, len(cuts)), np.int64)
        matched = np.zeros(cut.size, np.bool_)
        for plane in self._truths:
            tall[:, :height] = plane
            stacked = tall.reshape(-1, width)
            owner, partner, in_reach = match_pixels(lines, stacked, self._tolerance)
            if self._radius != self._tolerance:
                in_reach = within_reach(stacked, lines, self._radius)[stacked]
            matched |= owner != FREE
            found[2] += (partner != FREE).reshape(len(cuts), -1).sum(1)  # each cut is asked for all true pixels
            found[5] += in_reach.reshape(len(cuts), -1).sum(1)
        hit, charged = self._in_truth.ravel()[pixel], self._charged.ravel()[pixel]
        for row, chosen in ((0, matched | charged), (1, matched), (3, hit | charged), (4, hit)):
            found[row] = np.bincount(cut[chosen], minlength=len(cuts))
        return found.T


def _checked(
    edges: NDArray[np.float32], truth: NDArray[np.bool_], ignore: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """A copy of the truth as (A, H, W), and the ignore map; raises at the door."""
    if edges.ndim != 2 or truth.dtype != np.bool_ or truth.ndim not in (2, 3) or truth.shape[-2:] != edges.shape:
        raise DataError(
            f"Expected edges (H, W) and truth (H, W) or (A, H, W) bool of one size, "
            f"got edges {edges.shape} and truth {truth.dtype} {truth.shape}."
        )
    if edges.size == 0 or not (edges.min() >= 0 and edges.max() <= 1):  # so written, NaN is refused too
        raise DataError("Edges must be a non-empty map of strengths in [0, 1]; normalise it before scoring.")
    if ignore is None:
        ignore = np.zeros(edges.shape, bool)
    elif ignore.shape != edges.shape:
        raise DataError(f"edges {edges.shape} and ignore {ignore.shape} must have one shape.")
    return truth.reshape(-1, *edges.shape).copy(), ignore.astype(bool)


def _distance_from(plane: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(H, W) the distance in pixels to the nearest True; infinite where there is none."""
    return distance_transform_edt(~plane) if plane.any() else np.full(plane.shape, np.inf)


def _columns(counts: EdgeCounts) -> tuple[Counts, ...]:
    return (
        counts.predicted,
        counts.matched_predicted,
        counts.matched_truth,
        counts.skeleton,
        counts.skeleton_hit,
        counts.truth_hit,
    )


def _best_of(counts: EdgeCounts) -> Counts:
    """matched_predicted, predicted, matched_truth, truth at the image's best threshold.

    Of equal F the cut with the fewest false pixels: an image nothing of which can be found is then not charged with all
    that the lowest cut predicts.
    """
    _, _, f = f_measure(counts.matched_predicted, counts.predicted, counts.matched_truth, counts.truth)
    best = np.lexsort((counts.predicted - counts.matched_predicted, -f))[0]
    return np.array(
        [counts.matched_predicted[best], counts.predicted[best], counts.matched_truth[best], counts.truth], np.int64
    )
