"""The random walk of BGP from basin to basin: what a walk over the pixels does in the long run, without a grid.

A grid of cells is blind for what is smaller than a few of them: an edge lies in each cell of a small object, and nothing moves
in it. Basins are as small as their objects, and inside of one a walk is soon everywhere. So a basin is one state: a pixel of it
leaves by as many of its steps as cross the border, and as rarely as the border's mean edge lets it, so that a gap counts for
its length only, as in `tracedge.regions`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array

from tracedge.regions import Regions
from tracedge.walk import csr, raised

CROSSING = 2 / (3 * np.pi)
"""x radius: how many steps cross a straight border, for each pixel of it, where a step ends anywhere in a disc."""


def basin_transition(
    regions: Regions, *, radius: float, beta: float, opaque: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """T between the B basins, in the two parts in which it is used.

    a_bc = radius x CROSSING x length of the border x (1 - min(wall / opaque, 1))^beta where b and c touch, wall the mean edge
    along their border; a_bb = area of b. All in pixels.

    Returns:
        A, sparse CSR float64 (B, B), symmetric; and its row sums (B,). T = A / sums[:, None].
    """
    through = 1 - np.minimum(regions.walls / max(opaque, 1e-9), 1)
    crossing = radius * CROSSING * regions.lengths * through**beta  # (P,)
    one, other = regions.touching.T
    own = np.arange(len(regions.areas))
    rows, columns = np.concatenate((one, other, own)), np.concatenate((other, one, own))
    affinity = coo_array((np.concatenate((crossing, crossing, regions.areas)), (rows, columns))).tocsr()
    parts = (affinity.indptr.astype(np.int32), affinity.indices.astype(np.int32), affinity.data)
    return csr(*map(torch.from_numpy, parts)), torch.from_numpy(affinity.sum(axis=1))


def basin_walk(
    regions: Regions,
    shares: NDArray[np.floating],
    *,
    radius: float = 20.0,
    beta: float = 10.0,
    opaque: float = 0.5,
    steps: int = 256,
    tolerance: float = 1e-5,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """T^steps applied to each of K rows of shares (K, B), in [0, 1]; float32 (K, B).

    Each value becomes a mean over the basins where a walk of `steps` from there ends; the mean of a row, weighted by the basins'
    areas and borders, is kept.

    Args:
        regions: of the edge map.
        shares: what each basin holds of each map, as `regions.counts(masks) / regions.areas`.
        radius: of one step, in pixels.
        beta: how much edges hinder it.
        opaque: mean edge of a border, in [0, 1], from which on nothing passes.
        steps, tolerance, device: as for `tracedge.walk.walk`.
    """
    affinity, sums = basin_transition(regions, radius=radius, beta=beta, opaque=opaque)
    starts, values = affinity.crow_indices(), affinity.values()
    transition = csr(starts, affinity.col_indices(), values / sums.repeat_interleave(starts.diff())).to(device)
    maps = torch.from_numpy(np.ascontiguousarray(shares.T, np.float64)).to(device)  # (B, K)
    return raised(transition, maps, steps, tolerance).T.float().cpu().numpy()
