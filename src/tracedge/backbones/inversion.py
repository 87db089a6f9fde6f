"""Inversion: the noisy latents that the model itself would make this image from, in place of random noise.

At x_s the model's prediction is read as the clean latents and the noise, (x_0, n), and the next latents are
x_t = add_noise(x_0, t, n). For a DDPM model that is DDIM inversion (Song et al., 2021, eq. 13 run backwards); for flow
matching it is Euler's step x_t = x_s + (sigma_t - sigma_s) v. It is deterministic, and each step needs the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from tracedge.backbones.protocol import Backbone
from tracedge.errors import SettingsError


def invert(backbone: Backbone, latents: Tensor, timesteps: Tensor) -> Iterator[tuple[float, Tensor]]:
    """The latents at each timestep, going up from the clean latents by the model's own predictions.

    One forward of the network for each step up; a list that begins with 0 gives the clean latents first, for free.

    Args:
        latents: (B, C, h, w) clean latents.
        timesteps: (T,) strictly rising, at least 0.

    Yields:
        (timestep, latents at it (B, C, h, w)), T times.

    Raises:
        SettingsError: the timesteps do not rise, or begin below 0.
    """
    steps = [float(step) for step in timesteps]
    if not steps or steps[0] < 0 or any(later <= sooner for sooner, later in pairwise(steps)):
        raise SettingsError(f"inversion goes up: expected timesteps that rise from 0 or more, got {steps}")
    return _climb(backbone, latents, steps)


def _climb(backbone: Backbone, latents: Tensor, steps: list[float]) -> Iterator[tuple[float, Tensor]]:
    here = torch.zeros(latents.shape[0])
    for step in steps:
        if step > float(here[0]):
            there = torch.full_like(here, step)
            with torch.no_grad():
                prediction = backbone.denoise(latents, here)
                clean, noise = backbone.process.clean_and_noise(latents, here, prediction)
                latents = backbone.process.add_noise(clean, there, noise)
            here = there
        yield step, latents
