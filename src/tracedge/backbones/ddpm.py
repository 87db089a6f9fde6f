"""The forward process of DDPM models: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, a_t = prod_{s <= t} (1 - beta_s).

It is the same for a network that predicts the noise ("epsilon": SD1.5, SDXL, PixArt) and for one that predicts the
velocity v = sqrt(a_t) noise - sqrt(1 - a_t) x_0 ("v_prediction": SD2.1); they differ only in how a prediction is read.
In tracedge timestep 0 is the clean latent, a_0 = 1; the network is then given t = 0, where it was trained with a trace
of noise (a_0 = 0.9991 in Stable Diffusion).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tracedge.backbones import flow
from tracedge.errors import BackboneError, SettingsError

STEPS = 1000


class DDPM:
    """alphas_cumprod: (1000,) a_t as trained. prediction_type: "epsilon" or "v_prediction"."""

    def __init__(self, alphas_cumprod: Tensor, prediction_type: str) -> None:
        if prediction_type not in ("epsilon", "v_prediction") or alphas_cumprod.shape != (STEPS,):
            raise BackboneError(
                f"expected a model that predicts epsilon or v_prediction over {STEPS} steps, "
                f"got {prediction_type!r} over {len(alphas_cumprod)}"
            )
        self.prediction_type = prediction_type
        self.alphas = torch.cat([torch.ones(1), alphas_cumprod[1:].float()])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DDPM:
        """From the scheduler config of a pipeline, of whichever sampler: they share the names of the training noise.

        Raises:
            BackboneError: it has no betas (an EDM model, say), or predicts something else.
        """
        from diffusers import DDIMScheduler

        if "beta_schedule" not in config and "trained_betas" not in config:
            raise BackboneError(f"the scheduler {config.get('_class_name')} has no betas: not a DDPM model")
        names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
        known = {name: config[name] for name in (*names, "rescale_betas_zero_snr") if config.get(name) is not None}
        scheduler = DDIMScheduler(**known)
        return cls(scheduler.alphas_cumprod, str(config.get("prediction_type", "epsilon")))

    def timesteps(self, stride: int) -> Tensor:
        """(T,) 0, stride, 2 stride, ... below 1000."""
        return flow.timesteps(stride)

    def add_noise(self, latents: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """x_t of latents and noise (B, C, h, w) at whole timesteps (B,) in 0..999; rows at 0 come back clean."""
        signal, deviation = self._weights(timestep, latents)
        return signal * latents + deviation * noise.to(latents)

    def log_snr(self, timestep: Tensor) -> Tensor:
        """log(a_t / (1 - a_t)) at (T,) timesteps, +inf at 0."""
        alpha = self.alphas[_whole(timestep)].double()
        return (torch.log(alpha) - torch.log1p(-alpha)).float().to(timestep.device)

    def clean_and_noise(self, latents: Tensor, timestep: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """What a prediction at x_t, all (B, C, h, w), says of x_0 and of the noise.

        epsilon: noise = p, x_0 = (x_t - sqrt(1 - a) p) / sqrt(a).
        v: x_0 = sqrt(a) x_t - sqrt(1 - a) p, noise = sqrt(a) p + sqrt(1 - a) x_t.
        """
        signal, deviation = self._weights(timestep, latents)
        prediction = prediction.to(latents)
        if self.prediction_type == "epsilon":
            return (latents - deviation * prediction) / signal, prediction
        return signal * latents - deviation * prediction, signal * prediction + deviation * latents

    def _weights(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self.alphas[_whole(timestep)].reshape(-1, 1, 1, 1)
        return alpha.sqrt().to(like), (1 - alpha).sqrt().to(like)


def _whole(timestep: Tensor) -> Tensor:
    steps = timestep.detach().cpu().double()
    if bool((steps != steps.round()).any()) or bool((steps < 0).any()) or bool((steps >= STEPS).any()):
        raise SettingsError(f"the timesteps of a DDPM model are whole and from 0 to {STEPS - 1}, got {steps.tolist()}")
    return steps.long()
