"""From attention to edges: divergence of a picture and of its tiles, on the picture's pixels, placed and in [0, 1].

Whatever was attended with, a diffusion model at its timestep or a vision transformer, comes out by this one way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tracedge.divergence import attention_boundary_divergence
from tracedge.edges import normalise
from tracedge.fit import Fit
from tracedge.placement import place_edges
from tracedge.tiling import blend_tiles, zoom_tiles

Image = NDArray[Any]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """One look at a picture or a tile: how it was fitted into the model's frame, its map (1, N, N), and the grid (h, w)."""

    fit: Fit
    attention: Tensor
    grid_hw: tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """How edges are read; see `tracedge.teacher.TeacherSettings`."""

    zoom: int | None = None
    neighbours: int = 4
    symmetric: bool = False
    snap: bool = True

    def divergence(self, look: Look) -> Map:
        """ABDiv on the pixels of what was looked at, (H, W)."""
        found = attention_boundary_divergence(
            look.attention, look.grid_hw, neighbours=self.neighbours, measure="kl", symmetric=self.symmetric
        )
        on_pixels: Map = look.fit.undo(found.cpu())[0].numpy()
        return on_pixels


def read_edges(image: Image, whole: Look, look: Callable[[Image], Look], size: int, reading: Reading) -> Map:
    """Edges of a picture (H, W, 3) uint8: float32 (H, W) in [0, 1].

    Args:
        whole: the look at the whole picture. look: how a tile of it is looked at.
        size: the long side that the model sees; pictures at least twice as long are zoomed into by default.
    """
    # 1. Divergence of the whole picture, and of its tiles where it is large enough.
    divergence = reading.divergence(whole)  # (H, W)
    zoom = reading.zoom or (2 if max(image.shape[:2]) >= 2 * size else 1)
    if zoom > 1:
        boxes = zoom_tiles((image.shape[0], image.shape[1]), zoom)
        tiles = [
            (box, reading.divergence(look(image[box[0] : box[2], box[1] : box[3]].copy()))) for box in boxes
        ]  # (top, left, bottom, right)
        divergence = (divergence + blend_tiles(tiles)) / 2

    # 2. On the picture's own contours, and in [0, 1].
    token = max(side / cells for side, cells in zip(image.shape[:2], whole.grid_hw, strict=True))
    return normalise(place_edges(image, divergence, token) if reading.snap else divergence)
