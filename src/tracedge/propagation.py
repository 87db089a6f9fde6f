"""Boundary-guided propagation (BGP): masks are cut, grown and merged so that they end where the edges are (paper, 3.5).

1. cut        each mask falls apart where edges run through it
2. grow       each fragment walks at random, and rarely across an edge: M* = T^t (M o (1 - E)), see walk.py
3. to pixels  the walk's grid is left for the closed regions of the image, see regions.py: no moats along the edges
4. merge      what grew into the same thing is one thing: IoU > 0.5, until nothing changes
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label

from tracedge.errors import DataError, SettingsError
from tracedge.instances import Instances, Masks
from tracedge.objectness import CLOSED, boxes, on_border, shape_factor, small_factor
from tracedge.regions import Regions, closed_regions
from tracedge.settings import check_types
from tracedge.walk import max_pooled, mean_pooled, walk

Edges = NDArray[np.float32]


@dataclass(frozen=True)
class PropagationSettings:
    """What the paper leaves open, with our defaults (docs/experiments.md says how they were chosen).

    separate: what an edge cuts. "regions": masks are cut along the borders of closed regions, which bridges gaps of an edge;
    "components": connected components of what is below `level`, the paper's. level: edges of this strength cut, in [0, 1].
    grid: pixels to a cell of the walk, a side; edges are max-pooled to it. radius: of one step of the walk, in cells, beta:
    how much edges hinder it, steps: its length. tolerance: error of the walk that is allowed, for speed. keep: a region
    belongs to a mask where the walk left more than this share of the mask's largest value. merge_iou: masks that overlap
    more are one. min_area: smaller fragments and masks are dropped, in pixels. min_seed: so are masks grown from less than
    this share of them. judge: whether scores say how good a mask looks; otherwise they are the proposals' own.
    """

    separate: Literal["regions", "components"] = "regions"
    level: float = 0.15
    grid: int = 4
    radius: float = 5.0
    beta: float = 10.0
    steps: int = 256
    tolerance: float = 1e-5
    keep: float = 0.5
    merge_iou: float = 0.5
    min_area: int = 64
    min_seed: float = 0.1
    judge: bool = True

    def __post_init__(self) -> None:
        if self.separate not in ("regions", "components"):
            raise SettingsError(f'separate of the propagation is "regions" or "components", got {self.separate!r}')
        check_types(self)
        if min(self.level, self.beta, self.keep, self.merge_iou, self.min_area, self.min_seed) < 0:
            raise SettingsError(f"no setting of the propagation is below 0, got {self}")
        if min(self.grid, self.steps, self.radius) < 1 or self.tolerance <= 0:
            raise SettingsError("grid, steps and radius of the propagation are at least 1, tolerance above 0")
        if max(self.level, self.keep, self.merge_iou, self.min_seed) > 1:
            raise SettingsError("level, keep, merge_iou and min_seed of the propagation lie in [0, 1]")


def boundary_guided_propagation(
    edges: Edges,
    proposals: Instances,
    settings: PropagationSettings | None = None,
    *,
    regions: Regions | None = None,
    device: str | torch.device = "cpu",
) -> Instances:
    """Cut, grow and merge masks by edges.

    Args:
        edges: float32 (H, W) in [0, 1], 1 the strongest.
        proposals: masks of the same image, from any tool; they may overlap.
        settings: see `PropagationSettings`.
        regions: `closed_regions(edges)`, if the caller has them already.
        device: where the walk is done, the CPU or CUDA; the result is the same within the walk's tolerance.

    Returns:
        Instances of (H, W), in the order of the proposals that they come from. Score: the proposal's (of several merged, their
        mean weighted by area); if `judge`, times the share of the mask that its fragments covered before they grew, and times how
        much it looks like an object: the mean edge along its contour, and its shape (`tracedge.objectness`).

    Raises:
        DataError: edges that are no map in [0, 1], or of another size than the masks.
    """
    settings = settings or PropagationSettings()
    if edges.shape != proposals.shape:
        raise DataError(f"edges are {edges.shape}, masks {proposals.shape} (rows, columns): they must be of one image.")
    provenance = dict(proposals.settings) | {"propagation": asdict(settings)}
    regions = regions or closed_regions(edges)
    # 1. Cut: F fragments (F, H, W), and the proposal of each.
    fragments, parents = cut(proposals.masks, edges, regions, settings)
    if not len(fragments):
        return Instances.empty(proposals.shape, provenance)
    # 2. Grow.
    cells = max_pooled(edges, settings.grid)  # (h, w)
    seeds = mean_pooled(fragments, settings.grid) * (1 - cells)  # (F, h, w)
    different, which = distinct(seeds)
    grown = walk(
        cells,
        seeds[different],
        radius=settings.radius,
        beta=settings.beta,
        steps=settings.steps,
        tolerance=settings.tolerance,
        device=device,
    )[which]  # (F, h, w)
    # 3. From here a mask is a set of basins: bool (F, B).
    within = regions.shares(grown)
    members = within > settings.keep * np.maximum(within.max(axis=1, keepdims=True), 1e-6)
    sizes = fragments.sum(axis=(1, 2))
    # 4. Merge, and judge.
    groups = merged(members, regions.areas, settings.merge_iou)
    basins = np.stack([members[group].any(axis=0) for group in groups])  # (G, B)
    looks = _looks(basins, regions)
    masks, scores = [], []
    for group, inside, look in zip(groups, basins, looks, strict=True):
        mask = inside[regions.basins]  # (H, W)
        area = int(mask.sum())
        if area < max(settings.min_area, 1):  # also where a fragment lay on edges alone, and nothing grew
            continue
        seed = float((mask & fragments[group].any(axis=0)).sum() / area)
        if seed >= settings.min_seed:
            masks.append(mask)
            given = float(np.average(proposals.scores[parents[group]], weights=sizes[group]))
            scores.append(given * (seed * look if settings.judge else 1))
    if not masks:
        return Instances.empty(proposals.shape, provenance)
    return Instances(np.stack(masks), np.clip(scores, 0, 1, dtype=np.float32), provenance)


def _looks(members: NDArray[np.bool_], regions: Regions) -> NDArray[np.float64]:
    """(K,) how much each of K sets of basins (K, B) looks like an object, in [0, 1]."""
    first, last = boxes(regions)
    outside = members[..., None] == 0
    areas = members @ regions.areas
    shape = shape_factor(
        areas,
        members @ on_border(regions),
        np.where(outside, first.max(), first).min(axis=1),
        np.where(outside, 0, last).max(axis=1),
    )
    contrast, closed = regions.contrasts_of(members).T
    return contrast * closed**CLOSED * shape * small_factor(areas, regions.basins.size)


def cut(masks: Masks, edges: Edges, regions: Regions, settings: PropagationSettings) -> tuple[Masks, NDArray[np.int64]]:
    """Fragments (F, H, W) of masks (K, H, W), and the number of the mask that each comes from; small ones are dropped."""
    if settings.separate == "regions":
        region = regions.labels_at_level(settings.level)
        pieces = [np.where(mask, region + 1, 0) for mask in masks]
    else:
        pieces = [label(mask & (edges < settings.level))[0] for mask in masks]
    fragments, parents = [], []
    for number, piece in enumerate(pieces):
        areas = np.bincount(piece.ravel())
        for part in np.flatnonzero(areas >= max(settings.min_area, 1)):
            if part > 0:
                fragments.append(piece == part)
                parents.append(number)
    stacked = np.stack(fragments) if fragments else np.zeros((0, *edges.shape), bool)
    return stacked, np.array(parents, np.int64)


def distinct(maps: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of maps (F, h, w) that differ, and for each map which of those it equals: masks that overlap share fragments."""
    last = {each.tobytes(): place for place, each in enumerate(maps)}
    return np.unique([last[each.tobytes()] for each in maps], return_inverse=True)


def merged(members: NDArray[np.bool_], areas: NDArray[np.int64], iou: float) -> list[list[int]]:
    """Groups of F sets of basins (F, B) that merge: the pair with the largest IoU first, while it is above `iou`.

    areas: (B,) pixels of each basin. Groups are in the order of their first member.
    """
    sets = members.astype(np.float64) * np.sqrt(areas)  # products of rows are shared pixels
    groups = [[number] for number in range(len(members))]
    sizes = (sets**2).sum(axis=1)
    shared = sets @ sets.T
    ratio = np.triu(shared / np.maximum(sizes[:, None] + sizes[None] - shared, 1), 1)
    while ratio.size and ratio.max() > iou:
        one, other = np.unravel_index(ratio.argmax(), ratio.shape)
        sets[one] = np.maximum(sets[one], sets[other])
        groups[one] += groups[other]
        groups[other] = []
        sets[other] = 0
        sizes = (sets**2).sum(axis=1)
        with_one = sets @ sets[one]
        row = with_one / np.maximum(sizes + sizes[one] - with_one, 1)
        ratio[other] = ratio[:, other] = 0
        ratio[one, one + 1 :] = row[one + 1 :]
        ratio[:one, one] = row[:one]
    return [sorted(group) for group in groups if group]
