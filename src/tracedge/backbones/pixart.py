"""PixArt-alpha and -Sigma: a diffusion transformer; self-attention of the image, cross-attention to the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tracedge.backbones.ddpm import DDPM
from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.latent import LatentBackbone, load_latent_space
from tracedge.backbones.loading import Place, load_model, scheduler_config
from tracedge.backbones.null_text import load_null_text

if TYPE_CHECKING:
    from diffusers import PixArtTransformer2DModel

ALPHA_TOKENS, SIGMA_TOKENS = 120, 300


def attention_blocks(network: PixArtTransformer2DModel) -> tuple[str, ...]:
    """attn1 of every block; attn2 attends to the text."""
    return tuple(f"transformer_blocks.{i}.attn1" for i in range(len(network.transformer_blocks)))


class PixArtBackbone(LatentBackbone):
    """A PixArt transformer as a `Backbone` (see backbones/protocol.py for what each member means)."""

    network: PixArtTransformer2DModel

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice, tuple[int, int]] | None:
        patch = self.network.config.patch_size
        grid = latent_hw[0] // patch, latent_hw[1] // patch
        return (slice(0, grid[0] * grid[1]), grid) if block in self.attention_blocks else None

    def denoise(self, latents: Tensor, timestep: Tensor) -> Tensor:
        text = self.null_text.repeat(latents.shape[0])
        both: Tensor = self.network(
            latents.to(self.device, self.dtype),
            encoder_hidden_states=text.embeds,  # (B, 120 or 300, D)
            encoder_attention_mask=text.mask,
            timestep=timestep.to(self.device),
            added_cond_kwargs=self._size_conditions(latents),
            return_dict=False,
        )[0]
        return both[:, : self.space.channels]  # the second half is the learned variance

    def _size_conditions(self, latents: Tensor) -> dict[str, Tensor | None]:
        """PixArt-alpha at 1024 px is told height, width and height / width."""
        if not self.network.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        batch, (height, width) = latents.shape[0], (side * self.space.factor for side in latents.shape[-2:])
        size = torch.tensor([height, width], device=self.device, dtype=self.dtype)
        aspect = torch.tensor([height / width], device=self.device, dtype=self.dtype)
        return {"resolution": size.repeat(batch, 1), "aspect_ratio": aspect.repeat(batch, 1)}


def load_pixart(files: PipelineFiles, *, name: str, settings: dict[str, object], where: Place) -> PixArtBackbone:
    """A pipeline whose network is a PixArtTransformer2DModel.

    Raises:
        BackboneError: parts are missing or do not fit.
    """
    from diffusers import PixArtTransformer2DModel

    process = DDPM.from_config(scheduler_config(files))
    tokens = SIGMA_TOKENS if files.index.get("_class_name") == "PixArtSigmaPipeline" else ALPHA_TOKENS
    null_text = load_null_text(files, "pixart", where=where, tokens=tokens)
    network = load_model(PixArtTransformer2DModel, files, "transformer", where)
    space = load_latent_space(
        files, where, network_channels=network.config.in_channels, latents_multiple_of=network.config.patch_size
    )
    return PixArtBackbone(
        network,
        space,
        process,
        null_text,
        attention_blocks=attention_blocks(network),
        px=int(network.config.sample_size) * space.factor,
        name=name,
        settings=settings,
    )
