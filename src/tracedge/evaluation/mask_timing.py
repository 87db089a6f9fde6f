"""How long masks take once edges or features are there: BGP, its dense form, and MaskCut's cuts, on drawn input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from tracedge.datasets.scenes import UNSEEN_SEED, draw_scene
from tracedge.evaluation.memory import free_bytes, peak_bytes
from tracedge.evaluation.timing import Timing, timed
from tracedge.instances import Instances
from tracedge.metrics.instance_boundaries import instance_boundaries
from tracedge.propagation import PropagationSettings, boundary_guided_propagation, cut, distinct
from tracedge.proposals.maskcut import maskcut
from tracedge.regions import closed_regions
from tracedge.walk import max_pooled, mean_pooled, transition_matrix, walk_device

IMAGE_HW = (480, 640)
TOKENS_HW = (60, 60)  # DINO's at patches of 8 pixels and 480 px, as MaskCut is run
_SEED = UNSEEN_SEED + 3  # ten objects
_MASKS = 8
_TOO_FAR = 4  # pixels by which a rough mask runs over its objects
_MIB = 2**20


@dataclass(frozen=True)
class MaskTimings:
    """rows: name -> `Timing`, as the table shows them. figures: the same by the keys of the JSON. note: how they came about."""

    rows: dict[str, Timing]
    figures: dict[str, Any]
    note: str


def time_masks(
    device: torch.device, repeats: int, image_hw: tuple[int, int], tokens_hw: tuple[int, int]
) -> MaskTimings:
    """BGP of eight rough masks as it is and in its dense form, and MaskCut's three cuts without network and CRF.

    The dense form is the paper's walk over cells, T a dense float32 matrix (N, N), multiplied by `steps` times. One product is
    timed, and counted `steps` times; the rest of BGP is timed with a walk of a single step. Where half of the free memory does
    not hold T, some of its rows are multiplied, and the time is counted for all of them.

    Args:
        device: of the walk, if it can be (`walk_device`). repeats: timed runs of each, after one to warm up.
        image_hw: of the edge map and masks, in pixels. tokens_hw: of MaskCut's grid.
    """
    device, settings = walk_device(device), PropagationSettings()
    edges, proposals = rough_masks(image_hw)
    features = drawn_features(tokens_hw)

    def propagate(steps: int) -> Instances:
        return boundary_guided_propagation(edges, proposals, replace(settings, steps=steps), device=device)

    # 1. BGP as it is, and with next to no walk.
    bgp = timed(lambda: propagate(settings.steps), device, repeats)
    bgp_peak = peak_bytes(lambda: propagate(settings.steps)) / _MIB
    rest = timed(lambda: propagate(1), device, repeats)
    # 2. One product with the dense T, or with as many of its rows as there is memory for.
    maps = torch.from_numpy(_seeds(edges, proposals, settings)).to(device)  # (N, K)
    tokens = len(maps)
    rows = min(tokens, max(1, free_bytes(device) // 2 // (4 * tokens)))
    cells = max_pooled(edges, settings.grid)
    product = _product(dense_rows(cells, rows, settings).to(device), maps, repeats)
    dense_peak = (4 * tokens * tokens + 2 * maps.nbytes) / _MIB  # T, and the maps before and after
    in_full = _scaled(product, settings.steps * tokens / rows, rest)
    # 3. MaskCut.
    cuts = timed(lambda: maskcut(features), torch.device("cpu"), repeats)
    cuts_peak = peak_bytes(lambda: maskcut(features)) / _MIB

    of = "all" if rows == tokens else f"{rows} of the"
    note = (
        f"BGP: {_MASKS} masks of a drawn scene, {image_hw[0]} x {image_hw[1]}, {maps.shape[1]} different fragments. Dense: one "
        f"product with {of} {tokens} rows of T took {product.milliseconds:.1f} ms; {settings.steps} times that for all rows, and "
        f"the rest of BGP. Not run in full."
    )
    figures = {
        "bgp_ms": round(bgp.milliseconds, 1),
        "bgp_dense_ms": round(in_full.milliseconds, 1),
        "bgp_speedup": round(in_full.milliseconds / bgp.milliseconds, 1),
        "bgp_peak_mib": round(bgp_peak, 1),
        "bgp_dense_peak_mib": round(dense_peak, 1),
        "bgp_dense_product_ms": round(product.milliseconds, 2),
        "bgp_dense_products": settings.steps,
        "bgp_dense_rows": [rows, tokens],
        "bgp_note": note,
        "maskcut_ms": round(cuts.milliseconds, 1),
        "maskcut_peak_mib": round(cuts_peak, 1),
    }
    shown = {
        f"BGP of {_MASKS} masks": bgp,
        "BGP, dense walk (reckoned from one product)": in_full,
        f"MaskCut, three cuts of {tokens_hw[0]} x {tokens_hw[1]} tokens": cuts,
    }
    return MaskTimings(shown, figures, note)


def drawn_scene(image_hw: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The middle (H, W) of a scene, H at most W: its picture (H, W, 3), and its labels."""
    height, width = image_hw
    scene, rows = draw_scene(_SEED, width), slice((width - height) // 2, (width - height) // 2 + height)
    return scene.image[rows], scene.labels[rows].astype(np.int32)


def rough_masks(image_hw: tuple[int, int]) -> tuple[NDArray[np.float32], Instances]:
    """The exact edges (H, W) of a drawn scene, and eight masks: two objects in each, and 4 pixels of what is around them.

    The n-th takes the n-th and the next largest object, the last one the largest again.
    """
    _, labels = drawn_scene(image_hw)
    areas = np.bincount(labels.ravel())
    largest = [number for number in np.argsort(-areas).tolist() if number > 0][:_MASKS]
    pairs = zip(largest, [*largest[1:], largest[0]], strict=True)
    masks = [binary_dilation(np.isin(labels, pair), iterations=_TOO_FAR) for pair in pairs]
    return instance_boundaries(labels).astype(np.float32), Instances(np.stack(masks))


def drawn_features(tokens_hw: tuple[int, int], depth: int = 768) -> NDArray[np.float32]:
    """Features (h, w, depth) of a grid with three discs: a direction for each of them and for the ground, and noise."""
    rng = np.random.default_rng(0)
    rows, columns = (np.arange(side) / side for side in tokens_hw)
    kind = np.zeros(tokens_hw, int)
    for number, (row, column, radius) in enumerate(((0.25, 0.33, 0.15), (0.67, 0.67, 0.2), (0.75, 0.17, 0.1)), start=1):
        kind[(rows[:, None] - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    directions = rng.standard_normal((4, depth))
    return (directions[kind] + 1.5 * rng.standard_normal((*tokens_hw, depth))).astype(np.float32)


def dense_rows(cells: NDArray[np.float32], count: int, settings: PropagationSettings) -> torch.Tensor:
    """The first `count` rows of T as a dense matrix, float32 (count, N); cells: the edges (h, w) on the walk's grid, N = h w."""
    affinity, sums = transition_matrix(cells, settings.radius, settings.beta)
    starts = affinity.crow_indices()[: count + 1].long()
    row = torch.repeat_interleave(torch.arange(count), starts.diff())
    kept = int(starts[-1])
    dense = torch.zeros(count, len(sums))
    dense[row, affinity.col_indices()[:kept].long()] = (affinity.values()[:kept] / sums[row]).float()
    return dense


def _seeds(edges: NDArray[np.float32], proposals: Instances, settings: PropagationSettings) -> NDArray[np.float32]:
    """What BGP lets walk, as (N, K): see `boundary_guided_propagation`."""
    fragments, _ = cut(proposals.masks, edges, closed_regions(edges), settings)
    seeds = mean_pooled(fragments, settings.grid) * (1 - max_pooled(edges, settings.grid))
    different, _ = distinct(seeds)
    return np.ascontiguousarray(seeds[different].reshape(len(different), -1).T)


def _product(dense: torch.Tensor, maps: torch.Tensor, repeats: int) -> Timing:
    """Of rows of T (R, N) with maps (N, K)."""
    return timed(lambda: dense @ maps, dense.device, repeats)


def _scaled(product: Timing, times: float, rest: Timing) -> Timing:
    """The time of `times` products and of the rest."""
    return Timing(
        times * product.milliseconds + rest.milliseconds,
        times * product.fastest + rest.fastest,
        times * product.slowest + rest.slowest,
        product.peak_mib,
    )
