"""`Fit`: an image resized and padded to a model's frame, and maps brought back onto its pixels.

Both ways use the half-pixel convention: sample i of n covers [i, i + 1) / n of the side. A map of any resolution
therefore lies over the frame without a shift, and what was at a place in the image comes back to that place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tracedge.errors import SettingsError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Fit:
    """The reversible way of one image size into a model's frame.

    The image is scaled, its aspect kept (to the nearest pixel), until its long side is `px`; then it is padded at the
    bottom and at the right to the next multiple of `multiple_of`. The padding is the image mirrored (and its last row
    or column repeated where the mirror is too short), so that it adds no edge of its own.

    Args:
        image_hw: (H, W) of the image, each at least 1.
        px: the side in pixels that the image is scaled to.
        multiple_of: height and width of the frame are multiples of this.
        side: which side becomes `px`, "long" (the frame is never much larger than px * px) or "short".

    Raises:
        SettingsError: a size below 1 or an unknown side.

    >>> fit = Fit((300, 400), px=512, multiple_of=64)
    >>> fit.scaled_hw, fit.padded_hw, fit.grid_hw(16)
    ((384, 512), (384, 512), (24, 32))
    """

    image_hw: tuple[int, int]
    px: int
    multiple_of: int = 1
    side: Literal["long", "short"] = "long"

    def __post_init__(self) -> None:
        if len(self.image_hw) != 2 or min(self.image_hw) < 1:
            raise SettingsError(f"image_hw must be (height, width), each at least 1, got {self.image_hw}.")
        if self.px < 1 or self.multiple_of < 1:
            raise SettingsError(
                f"px and multiple_of must be at least 1, got px={self.px} and multiple_of={self.multiple_of}."
            )
        if self.side not in ("long", "short"):
            raise SettingsError(f"side must be 'long' or 'short', got {self.side!r}.")

    @property
    def scaled_hw(self) -> tuple[int, int]:
        """(height, width) in pixels of the image inside the frame, before padding."""
        reference = max(self.image_hw) if self.side == "long" else min(self.image_hw)
        height, width = (max(1, _round_ratio(side * self.px, reference)) for side in self.image_hw)
        return height, width

    @property
    def padded_hw(self) -> tuple[int, int]:
        """(height, width) in pixels of the frame: what the model sees."""
        height, width = (-(-side // self.multiple_of) * self.multiple_of for side in self.scaled_hw)
        return height, width

    def grid_hw(self, patch: int) -> tuple[int, int]:
        """(rows, columns) of the frame in square patches of `patch` pixels.

        Raises:
            SettingsError: the frame is not a whole number of patches.
        """
        height, width = self.padded_hw
        if patch < 1 or height % patch or width % patch:
            raise SettingsError(
                f"a frame of {height} x {width} pixels is not whole patches of {patch}: "
                f"choose multiple_of (now {self.multiple_of}) as a multiple of the patch."
            )
        return height // patch, width // patch

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Scale (antialiased) and pad images to the frame.

        Args:
            images: float (B, C, H, W) with (H, W) = `image_hw`; for images C = 3 and values in [0, 1].

        Returns:
            (B, C, h, w) with (h, w) = `padded_hw`, of the same dtype and device; values stay in the input's range.

        Raises:
            SettingsError: another shape, or not a float tensor.
        """
        if images.ndim != 4 or tuple(images.shape[-2:]) != tuple(self.image_hw) or not images.is_floating_point():
            raise SettingsError(
                f"expected float images (B, C, {self.image_hw[0]}, {self.image_hw[1]}), "
                f"got {images.dtype} {tuple(images.shape)}."
            )
        from torch.nn import functional as F

        if self.scaled_hw != tuple(self.image_hw):
            # Turned on its side: torch 2.13 repeats the first row when what comes out is one column wide.
            turned = images.transpose(-2, -1) if self.scaled_hw[1] == 1 else images
            sides = self.scaled_hw[::-1] if self.scaled_hw[1] == 1 else self.scaled_hw
            scaled = F.interpolate(turned, sides, mode="bilinear", antialias=True)
            images = scaled.transpose(-2, -1) if self.scaled_hw[1] == 1 else scaled
        for dim, length in zip((-2, -1), self.padded_hw, strict=True):
            if images.shape[dim] != length:
                images = images.index_select(dim, _mirror(images.shape[dim], length, images.device))
        return images

    def undo(self, maps: torch.Tensor) -> torch.Tensor:
        """Cut the padding off maps of the frame and resample them onto the image's pixels.

        The cut falls where the image ends, inside a cell of a coarse map if need be. Coarser maps are interpolated
        linearly, finer ones averaged (a triangle filter, as in antialiased bilinear resizing); each weight is >= 0 and
        they sum to 1, so a constant stays that constant and a map in [0, 1] stays there.

        Args:
            maps: float (B, h', w') or (B, 1, h', w'), where h' : w' is as the frame's height : width.

        Returns:
            float32 (or float64, if that came) (B, H, W) with (H, W) = `image_hw` exactly.

        Raises:
            SettingsError: another shape, another proportion, or not a float tensor.
        """
        if maps.ndim == 4 and maps.shape[1] == 1:
            maps = maps[:, 0]
        self._check_maps(maps)
        import torch

        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        for axis, dim in enumerate((-2, -1)):
            span = maps.shape[dim] * self.scaled_hw[axis] / self.padded_hw[axis]
            maps = _resample(maps, dim, span, self.image_hw[axis])
        return maps

    def _check_maps(self, maps: torch.Tensor) -> None:
        if maps.ndim != 3 or not maps.is_floating_point():
            raise SettingsError(f"expected float maps (B, h, w) or (B, 1, h, w), got {maps.dtype} {tuple(maps.shape)}.")
        (rows, columns), (height, width) = maps.shape[-2:], self.padded_hw
        if rows * columns == 0 or rows * width != columns * height:
            raise SettingsError(
                f"maps of {rows} x {columns} do not lie over a frame of {height} x {width} pixels: "
                "expected the same proportion of height to width."
            )


def _round_ratio(numerator: int, denominator: int) -> int:
    """Round half up in integers: floats would decide ties by their last bit."""
    return (2 * numerator + denominator) // (2 * denominator)


def _mirror(length: int, padded: int, device: torch.device) -> torch.Tensor:
    """Source index of each padded row: 0 .. length - 1, then back again, then row 0 for the rest."""
    import torch

    index = torch.arange(padded, device=device)
    return torch.where(index < length, index, (2 * (length - 1) - index).clamp(min=0))


def _resample(maps: torch.Tensor, dim: int, span: float, size: int) -> torch.Tensor:
    """Resample the first `span` cells (a float) along `dim` to `size` samples, with a triangle filter.

    Sample i stands at (i + 1/2) span / size - 1/2 in cells. The triangle is one cell wide each side for an enlargement
    and as wide as a sample for a reduction. Cells past the ends, and cells that are padding only, weigh nothing.
    """
    import torch

    step = span / size
    reach = max(1.0, step)
    last = math.ceil(span - 1e-9) - 1  # the last cell that holds some of the image
    centre = (torch.arange(size, dtype=torch.float64) + 0.5) * step - 0.5
    first = (centre - reach).ceil()
    taps = math.floor(2 * reach) + 1
    cells = first[:, None] + torch.arange(taps, dtype=torch.float64)  # (size, taps)
    weights = (1 - (cells - centre[:, None]).abs() / reach).clamp(min=0)
    weights = weights * ((cells >= 0) & (cells <= last))
    # In float64 on the CPU so far: not every device has it.
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(maps.device, maps.dtype)
    cells = cells.clamp(0, last).long().to(maps.device)
    shape = [1] * maps.ndim
    shape[dim] = size
    out = torch.zeros(1, dtype=maps.dtype, device=maps.device)
    for tap in range(taps):
        out = out + maps.index_select(dim, cells[:, tap]) * weights[:, tap].reshape(shape)
    return out
