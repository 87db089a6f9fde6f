"""How a picture lies in the square that SAM sees: pixels, coordinates and masks on the way in, logits on the way back.

SAM scales the long side to the square's and fills the rest, at the bottom and at the right; SAM 2 stretches both sides.
Everything follows the conventions of the published models, which `tracedge.fit` does not: nothing is mirrored into the rest, and
a coordinate is multiplied by the scale, (0, 0) being the first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tracedge.backbones.vision.pixels import Pixels
from tracedge.errors import SettingsError
from tracedge.instances import Masks

INSIDE, OUTSIDE = 10.0, -10.0
"""Logits of a mask that is given: what SAM 2 takes a mask's certain pixels for, 20 p - 10."""


@dataclass(frozen=True)
class Frame:
    """image_hw: (H, W) of the picture. px: side of the square. stretched: whether the picture fills it, its aspect lost.

    Raises:
        SettingsError: a side below 1.

    >>> Frame((300, 400), 1024, stretched=False).scaled_hw
    (768, 1024)
    """

    image_hw: tuple[int, int]
    px: int
    stretched: bool

    def __post_init__(self) -> None:
        if min(*self.image_hw, self.px) < 1:
            raise SettingsError(
                f"sides are at least 1 pixel, got a picture of {self.image_hw} in a square of {self.px}"
            )

    @property
    def scaled_hw(self) -> tuple[int, int]:
        """(height, width) of the picture inside the square."""
        return self._scaled(self.px)

    def pixels(self, image: NDArray[np.uint8], pixels: Pixels) -> Tensor:
        """float32 (1, 3, px, px) of a picture (H, W, 3): scaled bilinearly, standardised, the rest 0."""
        height, width = self.scaled_hw
        scaled = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        values = torch.from_numpy(scaled.copy()).permute(2, 0, 1)[None].float() / 255
        return F.pad(pixels.standardised(values), (0, self.px - width, 0, self.px - height))

    def coordinates(self, xy: NDArray[np.floating]) -> Tensor:
        """float32 (..., 2): x and y of the picture's pixels in the square."""
        scale = np.array(self.scaled_hw[::-1]) / np.array(self.image_hw[::-1])
        return torch.from_numpy((xy * scale).astype(np.float32))

    def logits_of(self, masks: Masks, side: int) -> Tensor:
        """float32 (K, 1, side, side): masks (K, H, W) as logits over the whole square, outside where it is empty."""
        height, width = self._scaled(side)
        logits = torch.full((len(masks), 1, side, side), OUTSIDE)
        for mask, found in zip(masks, logits, strict=True):
            share = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BILINEAR)
            found[0, :height, :width] += torch.from_numpy(np.asarray(share) / 255).float() * (INSIDE - OUTSIDE)
        return logits

    def enlarged(self, logits: Tensor) -> NDArray[np.float32]:
        """float32 (H, W): logits (h, w) of the whole square on the picture's pixels, bilinearly."""
        whole = logits.float()[None, None]
        if not self.stretched:
            whole = F.interpolate(whole, (self.px, self.px), mode="bilinear", align_corners=False)
            whole = whole[..., : self.scaled_hw[0], : self.scaled_hw[1]]
        return F.interpolate(whole, self.image_hw, mode="bilinear", align_corners=False)[0, 0].cpu().numpy()

    def _scaled(self, px: int) -> tuple[int, int]:
        if self.stretched:
            return px, px
        height, width = (max(1, int(side * (px / max(self.image_hw)) + 0.5)) for side in self.image_hw)
        return height, width
