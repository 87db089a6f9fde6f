"""Large images in overlapping tiles, and the maps of the tiles blended back without a seam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from tracedge.errors import SettingsError

Box: TypeAlias = tuple[int, int, int, int]  # (top, left, bottom, right) in pixels; bottom and right are exclusive


def tiles(image_hw: tuple[int, int], tile: int, overlap: int) -> list[Box]:
    """Cover an image with overlapping square tiles.

    Along each axis as few tiles as can be, evenly spaced, so that neighbours overlap by at least `overlap` and the last
    one ends at the border. A side shorter than `tile` has one tile of that side.

    Args:
        image_hw: (H, W) of the image, each at least 1.
        tile: side of a tile in pixels, at least 1.
        overlap: the least overlap of neighbours in pixels, 0 <= overlap < tile.

    Returns:
        Boxes (top, left, bottom, right), row by row; each pixel lies in at least one.

    Raises:
        SettingsError: a size below 1, or an overlap that is negative or not smaller than the tile.

    >>> tiles((4, 10), tile=6, overlap=2)
    [(0, 0, 4, 6), (0, 4, 4, 10)]
    """
    if min(image_hw) < 1 or not 0 <= overlap < tile:
        raise SettingsError(
            f"tiles need an image of at least 1 x 1 and 0 <= overlap < tile, got {image_hw}, tile={tile} "
            f"and overlap={overlap}."
        )
    rows, columns = (_spans(length, tile, overlap) for length in image_hw)
    return [(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def zoom_tiles(image_hw: tuple[int, int], zoom: int) -> list[Box]:
    """Tiles with a quarter of overlap that together show an image at `zoom` times the size that one view of it has.

    >>> zoom_tiles((100, 160), 2)
    [(0, 0, 80, 80), (0, 40, 80, 120), (0, 80, 80, 160), (20, 0, 100, 80), (20, 40, 100, 120), (20, 80, 100, 160)]
    """
    side = -(-max(image_hw) // zoom)
    return tiles(image_hw, side, side // 4)


def blend_tiles(tile_maps: Iterable[tuple[Box, np.ndarray]]) -> np.ndarray:
    """Blend the maps of overlapping tiles into one map.

    Each tile weighs by a raised cosine that is 1 at its centre and falls towards its borders, and each pixel is the
    weighted mean of the tiles over it: `sum_k w_k m_k / sum_k w_k`. The weights of a pixel therefore sum to 1: a
    constant stays that constant, values stay in the range of the maps, and where one tile is alone it is kept as it is.

    Args:
        tile_maps: pairs of a box, as `tiles` gives them, and its map, float (bottom - top, right - left). The image is
            as large as the boxes reach. Taken one after another, so that a generator need not hold all maps.

    Returns:
        float32 (H, W).

    Raises:
        SettingsError: no tiles, a map that is not of its box's size, or pixels that no tile covers.

    >>> halves = [((0, 0, 1, 3), np.zeros((1, 3))), ((0, 1, 1, 4), np.ones((1, 3)))]
    >>> (100 * blend_tiles(halves)).round().astype(int).tolist()
    [[0, 20, 80, 100]]
    """
    total, weight = np.zeros((0, 0)), np.zeros((0, 0))
    for box, tile_map in tile_maps:
        top, left, bottom, right = box
        if tile_map.shape != (bottom - top, right - left) or min(box) < 0 or tile_map.size == 0:
            raise SettingsError(
                f"the map of tile {box} must be of shape {(bottom - top, right - left)}, got {tile_map.shape}."
            )
        total, weight = _grown(total, bottom, right), _grown(weight, bottom, right)
        window = _raised_cosine(bottom - top)[:, None] * _raised_cosine(right - left)[None, :]
        total[top:bottom, left:right] += window * tile_map
        weight[top:bottom, left:right] += window
    if weight.size == 0 or weight.min() == 0:
        raise SettingsError(f"the tiles leave {int((weight == 0).sum())} pixels of {weight.shape} uncovered: give all.")
    return (total / weight).astype(np.float32)


def _spans(length: int, tile: int, overlap: int) -> Sequence[tuple[int, int]]:
    if length <= tile:
        return [(0, length)]
    steps = -(-(length - tile) // (tile - overlap))
    starts = [(length - tile) * step // steps for step in range(steps + 1)]
    return [(start, start + tile) for start in starts]


def _raised_cosine(length: int) -> np.ndarray:
    """sin^2 over the pixel centres: symmetric, largest in the middle and nowhere 0."""
    return np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2


def _grown(array: np.ndarray, height: int, width: int) -> np.ndarray:
    more = (max(0, height - array.shape[0]), max(0, width - array.shape[1]))
    return np.pad(array, ((0, more[0]), (0, more[1]))) if any(more) else array
