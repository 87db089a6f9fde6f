"""From masks of the token grid to masks of the image: enlarged, snapped to the colours, holes filled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from scipy.ndimage import binary_fill_holes

from tracedge.crf import CrfSettings, refine_masks
from tracedge.errors import SettingsError
from tracedge.instances import resized_masks

Image = NDArray[np.uint8]
Masks = NDArray[np.bool_]


def tokens_to_masks(
    image: Image, grid_masks: Masks, crf: CrfSettings | None, *, min_iou: float = 0.5, px: int = 640
) -> Masks:
    """Masks of an image from masks of its tokens.

    Each token covers its part of the image; then the CRF moves the outline (None: it stays), and holes are filled. A mask is
    dropped where CRF and filling have left it with less than `min_iou` (intersection over union) of what it was, or empty.

    Args:
        image: uint8 (H, W, 3).
        grid_masks: bool (K, h, w), tokens that share the image evenly among them.
        crf: its standard deviations are in pixels of a picture of at most `px`.
        px: a picture whose long side is larger is made as small for all of this, and its masks are enlarged at the end.

    Returns:
        bool (L, H, W), L <= K, in the order given, none empty; they may overlap even where the grid's do not.

    Raises:
        SettingsError: other shapes or types, or a parameter out of range.

    >>> grid = np.eye(2, dtype=bool)[None]
    >>> tokens_to_masks(np.zeros((2, 6, 3), np.uint8), grid, None)[0].astype(int)
    array([[1, 1, 1, 0, 0, 0],
           [0, 0, 0, 1, 1, 1]])
    """
    if grid_masks.dtype != bool or grid_masks.ndim != 3 or 0 in grid_masks.shape[1:]:
        raise SettingsError(
            f"expected masks of the token grid as bool (K, h, w), got {grid_masks.dtype} {grid_masks.shape}."
        )
    if not 0 <= min_iou <= 1 or px < 16:
        raise SettingsError(f"min_iou lies in [0, 1] and px is at least 16, got {min_iou} and {px}.")
    small = _shrunken(image, px)
    masks = _nearest(grid_masks, small.shape[:2])
    refined = masks if crf is None else refine_masks(small, masks, crf)
    refined = np.array([binary_fill_holes(mask) for mask in refined], bool).reshape(masks.shape)
    if crf is not None:
        refined = refined[_same(masks, refined) >= min_iou]
    enlarged = resized_masks(refined, image.shape[:2])
    return enlarged[enlarged.any(axis=(1, 2))]


def _shrunken(image: Image, px: int) -> Image:
    longest = max(image.shape[:2])
    if longest <= px:
        return image
    height, width = (max(1, round(side * px / longest)) for side in image.shape[:2])
    return np.array(Pil.fromarray(image).resize((width, height), Pil.Resampling.LANCZOS))


def _nearest(masks: Masks, image_hw: tuple[int, ...]) -> Masks:
    """The token that holds each pixel's centre."""
    rows, columns = (
        (2 * np.arange(side) + 1) * cells // (2 * side) for side, cells in zip(image_hw, masks.shape[1:], strict=True)
    )
    return masks[:, rows[:, None], columns]


def _same(before: Masks, after: Masks) -> NDArray[np.float64]:
    """(K,) intersection over union of each mask with what became of it; 0 where both are empty."""
    shared, either = (before & after).sum(axis=(1, 2)), (before | after).sum(axis=(1, 2))
    return shared / np.maximum(either, 1)
