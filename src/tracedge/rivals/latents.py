"""The way into the model for rivals that take one pass: latents of one image at one timestep."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.backbones.noise import image_noise
from tracedge.backbones.protocol import Backbone
from tracedge.fit import Fit
from tracedge.images import content_hash


def latents_at(
    backbone: Backbone, image: NDArray[Any], px: int | None, timestep: float, *, noise: bool, seed: int
) -> tuple[Fit, Tensor, Tensor]:
    """How the image was fitted in, its latents (1, C, h, w), and the timestep (1,).

    Args:
        backbone: which encodes and, where asked, adds its noise.
        image: uint8 (H, W, 3).
        px: long side in pixels that the model sees; None: what it was made for.
        timestep: on the model's 0..999 scale.
        noise: whether the latents are noised to the timestep; otherwise the clean ones are given under its number.
        seed: of the noise; with the picture it decides the noise, as in `EdgeTeacher`.
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
    fit = Fit(image.shape[:2], px or backbone.px, backbone.multiple_of)
    latents = backbone.encode(fit.apply(pixels))
    at = torch.tensor([float(timestep)])
    if noise:
        drawn = image_noise(seed, content_hash(image), latents.shape).to(latents)
        latents = backbone.process.add_noise(latents, at, drawn)
    return fit, latents, at
