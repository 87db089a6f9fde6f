"""Boundary-guided propagation (BGP): masks are cut, grown and merged so that they end where the edges are (paper, 3.5).

1. cut        each mask falls apart where edges run through it
2. grow       each fragment walks at random, and rarely across an edge: M* = T^t (M o (1 - E)), see walk.py; or from basin to
              basin, see basin_walk.py
3. to pixels  the walk's grid is left for the closed regions of the image, see regions.py: no moats along the edges
4. merge      what grew into the same thing is one thing: IoU > 0.5, until nothing changes
5. stay       a mask with a better outline than what it became, and nothing that cuts it through, stays as it was given
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter

from tracedge.basin_walk import basin_walk
from tracedge.errors import DataError, SettingsError
from tracedge.instances import Instances, Masks, pairwise_intersections, pairwise_iou
from tracedge.objectness import SIZE, looks, strongest_split
from tracedge.regions import Regions, checked_map, closed_regions
from tracedge.settings import check_types
from tracedge.walk import max_pooled, mean_pooled, walk

Edges = NDArray[np.float32]


@dataclass(frozen=True)
class PropagationSettings:
    """What the paper leaves open, with our defaults (docs/experiments.md says how they were chosen).

    separate: what an edge cuts. "regions": masks are cut along the borders of closed regions, which bridges gaps of an edge;
    "components": connected components of what is below `level`, the paper's. level: edges of this strength cut, in [0, 1].
    walk: over what. "cells": of a grid, to which edges are max-pooled, the paper's, which only edges of 1 stop; "basins": each is
    one state, small objects are no less than large ones, a border of strength `level` lets 2^-beta of the steps through and one
    of 2 `level` none: what cuts is what stops, also if the edges are soft. grid: pixels to a cell, a side. radius: of one step
    of the walk, in cells, beta: how much edges hinder it, steps: its length. tolerance: error of the walk that is allowed, for
    speed. keep: a region belongs to a mask where the walk left more than this share of the mask's largest value. min_seed: and
    in which it left at least this much; masks grown from a smaller share of them are dropped. merge_iou: masks that overlap more
    are one.
    min_area: smaller fragments and masks are dropped, in pixels. judge: whether scores say how good a mask looks, and a proposal
    stays that looks better than what it became; otherwise scores are the proposals' own, and all of them are propagated, as in
    the paper. trust: share of its looks that a proposal keeps however strong the edges are that cut it through.
    """

    separate: Literal["regions", "components"] = "regions"
    level: float = 0.15
    walk: Literal["cells", "basins"] = "cells"
    grid: int = 4
    radius: float = 5.0
    beta: float = 10.0
    steps: int = 256
    tolerance: float = 1e-5
    keep: float = 0.5
    min_seed: float = 0.1
    merge_iou: float = 0.5
    min_area: int = 64
    judge: bool = True
    trust: float = 0.5

    def __post_init__(self) -> None:
        if self.separate not in ("regions", "components"):
            raise SettingsError(f'separate of the propagation is "regions" or "components", got {self.separate!r}')
        if self.walk not in ("cells", "basins"):
            raise SettingsError(f'walk of the propagation is "cells" or "basins", got {self.walk!r}')
        check_types(self)
        if min(self.level, self.beta, self.keep, self.merge_iou, self.min_area, self.min_seed, self.trust) < 0:
            raise SettingsError(f"no setting of the propagation is below 0, got {self}")
        if min(self.grid, self.steps, self.radius) < 1 or self.tolerance <= 0:
            raise SettingsError("grid, steps and radius of the propagation are at least 1, tolerance above 0")
        if max(self.level, self.keep, self.merge_iou, self.min_seed, self.trust) > 1:
            raise SettingsError("level, keep, merge_iou, min_seed and trust of the propagation lie in [0, 1]")


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
        much it looks like an object: the mean edge along its contour, and its shape (`tracedge.objectness`). Proposals that
        stay come last; those below `min_area` do not. Of judged masks that share more than `merge_iou` the best is kept.

    Raises:
        DataError: edges that are no map in [0, 1], or of another size than the masks.
    """
    settings = settings or PropagationSettings()
    if edges.shape != proposals.shape:
        raise DataError(f"edges are {edges.shape}, masks {proposals.shape} (rows, columns): they must be of one image.")
    edges, proposals = checked_map(edges), proposals.seen()
    provenance = dict(proposals.settings) | {"propagation": asdict(settings)}
    regions = regions or closed_regions(edges)
    found, origins, seeds = _propagated(edges, proposals, settings, regions, device)
    if not settings.judge:
        return Instances(found.masks, found.scores, provenance)
    scores = found.scores * seeds * looks(found, edges)
    # 5. What the edges do no better stays as it was given. What lies on another object is not what a mask became.
    areas, given_areas = found.areas, proposals.areas
    shared = pairwise_intersections(found.masks, proposals.masks)  # (G, K)
    on_it = origins * shared / np.minimum(areas[:, None], given_areas)
    became = on_it.T @ (scores * areas**SIZE)  # (K,)
    splits = strongest_split(regions, regions.counts(proposals.masks).T)[-1]
    as_given = proposals.scores * looks(proposals, edges, splits, settings.trust)
    stays = (as_given * given_areas**SIZE >= became) & (given_areas >= max(settings.min_area, 1))
    goes = (origins & ~stays).any(axis=1) & (scores > 0)
    masks = np.concatenate((found.masks[goes], proposals.masks[stays]))
    judged = np.concatenate((scores[goes], as_given[stays])).clip(0, 1).astype(np.float32)
    together = Instances(masks, judged, provenance)  # type: ignore[arg-type]  # as decimals there
    return together[best_of_alike(together, settings.merge_iou)]


def best_of_alike(instances: Instances, iou: float) -> list[int]:
    """The numbers of those whose IoU with each one of a higher score that is kept is at most `iou`, ascending."""
    overlap = pairwise_iou(instances.masks, instances.masks)
    kept: list[int] = []
    for number in np.argsort(-instances.scores, kind="stable").tolist():
        if not (overlap[number, kept] > iou).any():
            kept.append(number)
    return sorted(kept)


def _propagated(
    edges: Edges, proposals: Instances, settings: PropagationSettings, regions: Regions, device: str | torch.device
) -> tuple[Instances, NDArray[np.bool_], NDArray[np.float64]]:
    """What K proposals become: G instances, from which proposals (G, K), and the share of each that its fragments covered."""
    # 1. Cut: F fragments (F, H, W), and the proposal of each.
    fragments, parents = cut(proposals.masks, edges, regions, settings)
    if not len(fragments):
        return Instances.empty(proposals.shape), np.zeros((0, len(proposals)), bool), np.zeros(0)
    # 2. Grow: from here a mask is a set of basins.
    members = _grown(fragments, edges, regions, settings, device)  # (F, B)
    # 3. To pixels, and 4. merge.
    groups = merged(members, regions.areas, settings.merge_iou)
    origins = np.zeros((len(groups), len(proposals)), bool)
    for origin, group in zip(origins, groups, strict=True):
        origin[parents[group]] = True
    given = np.stack([proposals.masks[origin].any(axis=0) for origin in origins])  # (G, H, W)
    masks = outlined(np.stack([members[group].any(axis=0) for group in groups]), given, regions)
    # What is small, or grew from next to nothing, is left out.
    areas, sizes = masks.sum(axis=(1, 2)), fragments.sum(axis=(1, 2))
    covered = [(mask & fragments[group].any(axis=0)).sum() for mask, group in zip(masks, groups, strict=True)]
    seeds = np.array(covered) / np.maximum(areas, 1)
    scores = np.array([_mean_score(proposals.scores[parents[group]], sizes[group]) for group in groups])
    kept = (areas >= max(settings.min_area, 1)) & (seeds >= settings.min_seed)
    return Instances(masks[kept], scores[kept]), origins[kept], seeds[kept]


def _mean_score(scores: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
    """One score stays as it is, to the last bit; a mean is written as short as float32 is, so that files stay readable."""
    if (scores == scores[0]).all():
        return float(scores[0])
    return float(str(np.float32(np.average(scores, weights=weights))))


def _grown(
    fragments: Masks, edges: Edges, regions: Regions, settings: PropagationSettings, device: str | torch.device
) -> NDArray[np.bool_]:
    """(F, B) the basins in which each of F fragments (F, H, W) ends up."""
    counts = regions.counts(fragments)  # (F, B)
    if settings.walk == "basins":
        within = basin_walk(
            regions,
            counts / regions.areas,
            radius=settings.radius * settings.grid,
            beta=settings.beta,
            opaque=min(2 * settings.level, 1),
            steps=settings.steps,
            tolerance=settings.tolerance,
            device=device,
        )  # (F, B)
    else:
        within = regions.shares(_over_cells(fragments, edges, settings, device))  # (F, B)
    most = within.max(axis=1, keepdims=True)
    members = (within > settings.keep * most) & (within >= settings.min_seed)
    lost = ~members.any(axis=1)  # cells: narrow ones, with an edge in each of theirs
    members[lost] = 2 * counts[lost] > regions.areas
    return members


def _over_cells(
    fragments: Masks, edges: Edges, settings: PropagationSettings, device: str | torch.device
) -> NDArray[np.float32]:
    """What the walk over the grid's cells makes of fragments (F, H, W): (F, h, w)."""
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
    )
    return grown[which]


def outlined(members: NDArray[np.bool_], given: Masks, regions: Regions) -> Masks:
    """Masks (G, H, W) of sets of basins (G, B).

    A pixel on the ridge between a mask and what is no mask belongs to whom the proposals give it: `given` (G, H, W). An edge map
    may mark the last pixel of an object, or the first one outside; only the proposals know.
    """
    masks: Masks = np.take(members, regions.basins, axis=1)
    held: NDArray[np.bool_] = np.take(members.any(axis=0), regions.basins)  # by any of them
    for number, of_proposals in enumerate(given):
        mask = masks[number]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            continue
        around = np.s_[max(rows[0] - 2, 0) : rows[-1] + 3, max(columns[0] - 2, 0) : columns[-1] + 3]
        inside, ridges = mask[around], regions.ridges[around]
        rim = ridges & maximum_filter(inside & ~ridges, 3) & maximum_filter(~inside & ~ridges, 3)
        inside[rim] = of_proposals[around][rim] & (inside | ~held[around])[rim]
    return masks


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
    different, which = np.unique(members, axis=0, return_inverse=True)  # equal ones are one at once
    which = which.ravel()
    order = np.unique(which, return_index=True)[1].argsort()  # of the first of each
    groups = [np.flatnonzero(which == number).tolist() for number in order.tolist()]
    sets = different[order] * np.sqrt(areas)  # products of rows are shared pixels
    sizes = (sets**2).sum(axis=1)
    shared = sets @ sets.T
    ratio = np.triu(shared / np.maximum(sizes[:, None] + sizes[None] - shared, 1), 1)
    while ratio.size and ratio.max() > iou:
        one, other = np.unravel_index(ratio.argmax(), ratio.shape)
        sets[one] = np.maximum(sets[one], sets[other])
        groups[one] += groups[other]
        groups[other] = []
        sets[other] = sizes[other] = 0
        with_one = sets @ sets[one]
        sizes[one] = with_one[one]
        row = with_one / np.maximum(sizes + sizes[one] - with_one, 1)
        ratio[other] = ratio[:, other] = 0
        ratio[one, one + 1 :] = row[one + 1 :]
        ratio[:one, one] = row[:one]
    return [sorted(group) for group in groups if group]
