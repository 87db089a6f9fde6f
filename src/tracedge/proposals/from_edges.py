"""Instances straight from an edge map: those closed regions that look like objects, and none inside another.

The hierarchy of closed regions (`tracedge.regions`) holds each object that the edges close, among many that are none. An
object has a strong contour and nothing as strong that cuts it through; it is mostly solid, and does not run along the image's
border as background does. Each node gets a score from these; then the nodes that together explain most of the image are chosen,
by the hierarchy, exactly. Who can use masks that overlap also gets what was not chosen: a heap and the coins in it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import SettingsError
from tracedge.instances import Instances
from tracedge.objectness import (
    BALANCE,
    CLOSED,
    SIZE,
    boxes,
    gap_shares,
    on_border,
    shape_factor,
    small_factor,
    strongest_split,
)
from tracedge.regions import Regions, closed_regions
from tracedge.settings import check_types

MOST = 100
"""Masks of an image at most, where they may overlap: no metric of the field looks at more."""


@dataclass(frozen=True)
class FromEdgesSettings:
    """How regions are judged (docs/experiments.md says how the defaults were chosen).

    min_area, max_area: share of the image that an instance covers. min_contrast: mean edge along a contour, in [0, 1], below
    which there is no object. balance: power of the share that a border within cuts off, by which it counts less: a speck
    does not speak against an object. The others are powers, 0 leaves one out: inside, of 1 - strongest border within / contrast;
    weakest, of weakest side of the contour / contrast; closed, of the share of the contour on an edge; border, of the share
    of the contour that is not the image's border; extent, of area / bounding box; size, of the area, when a region is
    weighed against its parts (below 1 favours the parts); rank, of the area, when instances are ranked (small ones are
    oftener wrong).
    gaps: power of the share of the convex hull that several surer masks do not cut out of it, where masks do not overlap: ground
    between objects is what they bulge into.
    alternative: share of its score that a mask keeps which is no part of the best disjoint set, alike: IoU with a better mask
    from which on it is left out.
    """

    min_area: float = 0.0005
    max_area: float = 0.8
    min_contrast: float = 0.15
    balance: float = BALANCE
    inside: float = 1.0
    weakest: float = 0.15
    closed: float = CLOSED
    border: float = 2.0
    extent: float = 1.0
    size: float = SIZE
    rank: float = 0.25
    gaps: float = 3.0
    alternative: float = 0.7
    alike: float = 0.8

    def __post_init__(self) -> None:
        check_types(self)
        if min(vars(self).values()) < 0:
            raise SettingsError(f"no setting of masks from edges is below 0, got {self}")
        if not self.min_area < self.max_area <= 1:
            raise SettingsError("masks from edges need 0 <= min_area < max_area <= 1")
        if max(self.min_contrast, self.alternative, self.alike) > 1:
            raise SettingsError("min_contrast, alternative and alike of masks from edges lie in [0, 1]")


def instances_from_edges(
    edges: NDArray[np.float32],
    settings: FromEdgesSettings | None = None,
    *,
    overlapping: bool = False,
    regions: Regions | None = None,
) -> Instances:
    """Instances of an edge map, with no other source of masks.

    Args:
        edges: float32 (H, W) in [0, 1], 1 the strongest.
        settings: see `FromEdgesSettings`.
        overlapping: whether masks that hold others, or lie in them, are kept too, `MOST` in all.
        regions: `closed_regions(edges)`, if the caller has them already.

    Returns:
        Instances of (H, W), the best score first; unless `overlapping` they do not overlap. The score is the mean edge along the
        contour, less for what speaks against an object.

    Raises:
        DataError: edges that are no map in [0, 1].
    """
    settings = settings or FromEdgesSettings()
    regions = regions or closed_regions(edges)
    # 1. Judge every node of the hierarchy.
    scores = node_scores(regions, settings)  # (B + M,)
    # 2. The best set of nodes none of which lies in another; what is worth nothing alone is none of them.
    areas = regions.gathered(regions.areas)
    chosen = best_disjoint(regions, scores * (areas / areas[-1]) ** settings.size)
    scores = scores * small_factor(areas, regions.basins.size, settings.rank)
    nodes = _best_first(chosen, scores)
    if overlapping:
        others = _best_first(np.setdiff1d(np.arange(len(scores)), nodes), scores)
        several = unlike(regions, np.concatenate((nodes, others)), settings.alike)
        scores[others] *= settings.alternative
        nodes = _best_first(several[: max(MOST, len(nodes))], scores)
    # 3. Their pixels.
    provenance = {"proposals": "edges", **asdict(settings)}
    if not len(nodes):
        return Instances.empty(regions.basins.shape, provenance)
    masks = np.take(regions.members(nodes), regions.basins, axis=1)  # (K, H, W)
    found = Instances(masks, scores[nodes].clip(0, 1).astype(np.float32), provenance)
    if overlapping or not settings.gaps:
        return found
    # 4. Ground that objects close in comes last.
    less = (1 - gap_shares(found.masks)) ** settings.gaps
    return Instances(found.masks, (found.scores * less).astype(np.float32), provenance).sorted()


def _best_first(nodes: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Those of the nodes that have a score above 0, by falling score."""
    nodes = nodes[scores[nodes] > 0]
    return nodes[np.argsort(-scores[nodes], kind="stable")]


def unlike(regions: Regions, nodes: NDArray[np.int64], iou: float) -> NDArray[np.int64]:
    """Those of the nodes whose IoU with each one before them is below `iou`. Nodes lie in each other, or do not overlap."""
    parents = regions.parents()
    areas = regions.gathered(regions.areas)
    kept: dict[int, None] = {}
    around: set[int] = set()  # nodes that hold a kept one, and little else
    for node in nodes.tolist():
        alike = []
        above = int(parents[node])
        while above != node and areas[node] >= iou * areas[above] and above not in alike:
            alike.append(above)
            above = int(parents[above])
        if node not in around and not kept.keys() & alike:
            kept[node] = None
            around.update(alike)
    return np.array(list(kept), np.int64)


def node_scores(regions: Regions, settings: FromEdgesSettings) -> NDArray[np.float64]:
    """(B + M,) the score of each node in [0, 1], 0 for what is no object."""
    areas = regions.gathered(regions.areas)
    contrasts = np.maximum(regions.contrasts, 1e-6)
    within = np.minimum(strongest_split(regions, regions.areas, settings.balance) / contrasts, 1)
    weakest = np.minimum(regions.levels()[regions.parents()] / contrasts, 1)
    first, last = boxes(regions)
    shape = shape_factor(
        areas,
        regions.gathered(on_border(regions)),
        regions.gathered(first, np.minimum),
        regions.gathered(last, np.maximum),
        border=settings.border,
        extent=settings.extent,
    )
    scores = regions.contrasts * (1 - within) ** settings.inside * weakest**settings.weakest * shape
    scores *= regions.closed**settings.closed
    share = areas / areas[-1]
    possible = (
        (share >= settings.min_area) & (share <= settings.max_area) & (regions.contrasts >= settings.min_contrast)
    )
    return np.where(possible, scores, 0.0)


def best_disjoint(regions: Regions, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The nodes of the largest total value among all sets in which no node lies within another, ascending.

    A node is taken rather than its parts where it is worth at least as much as the best of them together.
    """
    count = len(regions.areas)
    best = values.copy()
    whole = np.ones(len(values), bool)
    for number, (one, other) in enumerate(regions.merges.tolist()):
        parts = best[one] + best[other]
        if parts > best[count + number]:
            best[count + number], whole[count + number] = parts, False
    chosen, open_nodes = [], [len(values) - 1]
    while open_nodes:
        node = open_nodes.pop()
        if whole[node]:
            chosen.append(node)
        else:
            open_nodes += regions.merges[node - count].tolist()
    return np.sort(np.array(chosen, np.int64))
