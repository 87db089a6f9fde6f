"""Pictures of a size for a screen: large photos made smaller, each object with the number that it has in the table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.instances import Instances, resized_masks
from tracedge.visualize import instances_overlay
from tracedge.web.reading import RGB

LONGEST = 1024
"""Pixels of the long side of a picture on the page."""


def shown_hw(image_hw: tuple[int, int], longest: int = LONGEST) -> tuple[int, int]:
    """The size at which a photo (H, W) is shown: its own, or smaller.

    >>> shown_hw((300, 400)), shown_hw((3000, 4000))
    ((300, 400), (768, 1024))
    """
    scale = min(1.0, longest / max(image_hw))
    height, width = (max(1, round(side * scale)) for side in image_hw)
    return height, width


def shown(picture: RGB, longest: int = LONGEST) -> RGB:
    """A picture uint8, (H, W) or (H, W, 3), at the size at which it is shown."""
    height, width = shown_hw((picture.shape[0], picture.shape[1]), longest)
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def edges_picture(edges: NDArray[np.float32]) -> RGB:
    """Edges (H, W) in [0, 1] as grey, white the strongest: `round(255 edge)` where nothing has to be made smaller."""
    return shown(np.rint(edges * 255).astype(np.uint8))


def objects_picture(image: RGB, objects: Instances) -> RGB:
    """`instances_overlay` at the size at which it is shown; what is too small to be seen there keeps its number in the table."""
    hw = shown_hw(objects.shape)
    small = Instances(resized_masks(objects.masks, hw), objects.scores, blanks=True)
    return instances_overlay(shown(image), small)
