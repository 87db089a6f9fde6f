"""What models in a latent space share: the frozen VAE, made deterministic, and the parts they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.loading import Place, load_model
from tracedge.backbones.null_text import NullText
from tracedge.backbones.protocol import ForwardProcess
from tracedge.errors import BackboneError, SettingsError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


class LatentSpace:
    """latents = (mode of q(z | image) - shift) * scale, in fp32; the mode and not a sample, so that it is a function.

    factor: pixels of a latent's side. channels: of a latent. multiple_of: image sides must be multiples of this.
    """

    def __init__(self, vae: AutoencoderKL, *, latents_multiple_of: int) -> None:
        self.vae = vae
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(vae.config.latent_channels)
        self.multiple_of = self.factor * latents_multiple_of
        self.scale = float(vae.config.scaling_factor)
        self.shift = float(vae.config.shift_factor or 0.0)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to latents (B, C, H / factor, W / factor).

        Raises:
            SettingsError: not three channels, or a side that is not a multiple of `multiple_of`.
        """
        if images.ndim != 4 or images.shape[1] != 3 or any(side % self.multiple_of for side in images.shape[-2:]):
            raise SettingsError(
                f"expected images (B, 3, H, W) with sides that are multiples of {self.multiple_of}, "
                f"got {tuple(images.shape)}"
            )
        pixels = (images.to(self.vae.device, torch.float32) * 2 - 1).to(self.vae.dtype)
        mode = self.vae.encode(pixels).latent_dist.mode()  # (B, C, h, w)
        return (mode.float() - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) to images (B, 3, H, W), in [0, 1] where the latents are those of an image; not clamped.

        Differentiable: the weights are frozen, the latents need not be.
        """
        sample = self.vae.decode(
            (latents.to(self.vae.device, torch.float32) / self.scale + self.shift).to(self.vae.dtype)
        )
        return (sample.sample.float() + 1) / 2


class LatentBackbone:
    """The members of a `Backbone` (see protocol.py) that are the same for every model with a VAE and a text encoder.

    A family adds what differs: `image_tokens` and `denoise`.
    """

    def __init__(
        self,
        network: nn.Module,
        space: LatentSpace,
        process: ForwardProcess,
        null_text: NullText,
        *,
        attention_blocks: tuple[str, ...],
        px: int,
        name: str,
        settings: dict[str, object],
    ) -> None:
        self.network, self.space, self.process, self.null_text = network, space, process, null_text
        self.attention_blocks, self.px, self.multiple_of = attention_blocks, px, space.multiple_of
        self.name, self.settings = name, settings
        weight = next(network.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    def encode(self, images: Tensor) -> Tensor:
        """See `LatentSpace.encode`."""
        return self.space.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        """See `LatentSpace.decode`."""
        return self.space.decode(latents)


def load_latent_space(
    files: PipelineFiles, where: Place, *, network_channels: int, latents_multiple_of: int
) -> LatentSpace:
    """The VAE of a pipeline.

    Raises:
        BackboneError: it cannot be loaded, or its latents are not what the network takes (an inpainting model, say).
    """
    from diffusers import AutoencoderKL

    # VAEs of Stable Diffusion overflow in fp16, not in bf16, which has the range of fp32.
    dtype = torch.float32 if where.dtype == torch.float16 else where.dtype
    vae = load_model(AutoencoderKL, files, "vae", Place(where.device, dtype))
    space = LatentSpace(vae, latents_multiple_of=latents_multiple_of)
    if space.channels != network_channels:
        raise BackboneError(
            f"{files.source}: the network takes {network_channels} channels and the VAE gives {space.channels}: "
            "only text-to-image models can be used."
        )
    return space
