"""Attention as colours: tokens that attend alike look alike, to eyes that do not tell red from green as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

RGB = NDArray[np.uint8]
Parts = NDArray[np.floating[Any]]
"""Of an attention map of N tokens: (N, 3), its three first principal components."""

LAB = ((18, 92), (-58, 58), (-62, 62))
"""What the components become: lightness, blue to yellow, and last green to red, which not everybody sees. XYZ holds all of it."""
FAINT = 0.05  # a component whose spread is below this part of the first's is not stretched: it would be noise


@dataclass(frozen=True)
class AttentionStep:
    """One column of the figure: a timestep and the attention there, as colours (H, W, 3)."""

    timestep: float
    colours: RGB


def attention_colours(attention: Tensor, grid_hw: tuple[int, int], image_hw: tuple[int, int]) -> RGB:
    """An attention map (N, N) as a picture: tokens that attend alike get the same colour.

    The three first principal components of the square roots of the rows (the Hellinger geometry of distributions) become
    lightness, blue to yellow, and green to red, each stretched between its 2nd and 98th percentile. uint8 (H, W, 3) of the
    image's size.
    """
    return _coloured(attention_parts(attention), grid_hw, image_hw)


def attention_steps(
    parts: Mapping[float, Parts], like: float, grid_hw: tuple[int, int], image_hw: tuple[int, int]
) -> list[AttentionStep]:
    """The attention of one image at several timesteps, in colours that can be compared.

    Each step's components are turned to lie as near as they can to those at the timestep `like` (orthogonal Procrustes), since
    principal components come in any order and sign. So a colour that goes on from step to step is a thing that goes on.

    Args:
        parts: timestep -> `attention_parts` of its map. like: one of the timesteps.
        grid_hw: of the tokens. image_hw: of the image.
    """
    steps = []
    for timestep, own in parts.items():
        left, _, right = np.linalg.svd(own.T @ parts[like])
        steps.append(AttentionStep(timestep, _coloured(own @ (left @ right), grid_hw, image_hw)))
    return steps


def attention_parts(attention: Tensor) -> Parts:
    """(N, 3): the three first principal components of the square roots of an attention map's rows; zeros where N is smaller."""
    import torch

    rows = attention.float().clamp_min(0).sqrt()
    rows = rows - rows.mean(dim=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # pca_lowrank draws its start at random
        _, _, directions = torch.pca_lowrank(rows, q=min(6, *rows.shape), center=False, niter=4)
    parts: Parts = (rows @ directions[:, :3]).cpu().numpy()
    parts = parts * np.where(parts[np.abs(parts).argmax(axis=0), np.arange(parts.shape[1])] < 0, -1, 1)  # a fixed sign
    return np.pad(parts, ((0, 0), (0, 3 - parts.shape[1])))


def _coloured(parts: Parts, grid_hw: tuple[int, int], image_hw: tuple[int, int]) -> RGB:
    from skimage.color import lab2rgb

    low, high = np.percentile(parts, (2, 98), axis=0)
    spread = np.maximum(high - low, max(FAINT * float((high - low).max()), 1e-12))
    middle = (low + high) / 2
    shares = np.clip((parts - middle) / spread + 0.5, 0, 1)
    # In the order of CIE L*a*b*: the second component is blue to yellow, which is b.
    lab = [dark + (light - dark) * share for (dark, light), share in zip(LAB, shares.T, strict=True)]
    colours = lab2rgb(np.stack([lab[0], lab[2], lab[1]], axis=1))  # what no screen has becomes the nearest it has
    grid = Image.fromarray((colours.reshape(*grid_hw, 3) * 255).round().astype(np.uint8))
    return np.asarray(grid.resize((image_hw[1], image_hw[0]), Image.Resampling.NEAREST))
