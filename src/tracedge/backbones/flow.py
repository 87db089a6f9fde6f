"""The forward process of flow matching: x_t = (1 - s) x_0 + s noise, s = sigma(t).

A model may shift its noise levels (SD3, FLUX): sigma = shift u / (1 + (shift - 1) u) with u the unshifted level. In
tracedge a timestep of such a model is 1000 sigma, that is *after* the shift, which is also what the network is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tracedge.errors import SettingsError


def timesteps(stride: int) -> Tensor:
    """(T,) 0, stride, 2 stride, ... below 1000."""
    if not 1 <= stride <= 500:
        raise SettingsError(f"the stride must be from 1 to 500 of the 1000 timesteps, got {stride}")
    return torch.arange(0, 1000, stride, dtype=torch.float32)


def add_noise(latents: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
    """(1 - s) latents + s noise; latents and noise (B, C, h, w), timestep (B,) in [0, 1000]."""
    sigma = (timestep.to(latents) / 1000).reshape(-1, 1, 1, 1)
    return (1 - sigma) * latents + sigma * noise.to(latents)


def log_snr(timestep: Tensor) -> Tensor:
    """2 log((1 - s) / s), +inf at s = 0."""
    sigma = timestep.double() / 1000
    return (2 * (torch.log1p(-sigma) - torch.log(sigma))).float()


def clean_and_noise(latents: Tensor, timestep: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
    """x_0 = x_t - s v and noise = x_t + (1 - s) v, of a velocity v = noise - x_0 predicted at x_t; all (B, C, h, w)."""
    sigma = (timestep.to(latents) / 1000).reshape(-1, 1, 1, 1)
    prediction = prediction.to(latents)
    return latents - sigma * prediction, latents + (1 - sigma) * prediction
