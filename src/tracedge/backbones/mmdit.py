"""Stable Diffusion 3 and 3.5: a transformer over image and text tokens together, trained by flow matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from tracedge.backbones import flow
from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.latent import LatentBackbone, load_latent_space
from tracedge.backbones.loading import Place, load_model
from tracedge.backbones.null_text import load_null_text

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel

T5_TOKENS = 256


def attention_blocks(network: SD3Transformer2DModel) -> tuple[str, ...]:
    """attn of every block (image tokens first, text last) and, where SD3.5-medium has it, attn2 (image tokens only)."""
    return tuple(
        f"transformer_blocks.{i}.{attention}"
        for i, block in enumerate(network.transformer_blocks)
        for attention in (("attn", "attn2") if block.attn2 is not None else ("attn",))
    )


class MMDiTBackbone(LatentBackbone):
    """A Stable Diffusion 3 transformer as a `Backbone` (see backbones/protocol.py for what each member means)."""

    network: SD3Transformer2DModel

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice, tuple[int, int]] | None:
        patch = self.network.config.patch_size
        grid = latent_hw[0] // patch, latent_hw[1] // patch
        return (slice(0, grid[0] * grid[1]), grid) if block in self.attention_blocks else None

    def denoise(self, latents: Tensor, timestep: Tensor) -> Tensor:
        text = self.null_text.repeat(latents.shape[0])
        prediction: Tensor = self.network(
            latents.to(self.device, self.dtype),
            encoder_hidden_states=text.embeds,  # (B, 77 + 256, D)
            pooled_projections=text.pooled,  # (B, P)
            timestep=timestep.to(self.device),  # 1000 sigma
            return_dict=False,
        )[0]
        return prediction


def load_mmdit(files: PipelineFiles, *, name: str, settings: dict[str, object], where: Place) -> MMDiTBackbone:
    """A pipeline whose network is an SD3Transformer2DModel.

    Raises:
        BackboneError: parts are missing or do not fit.
    """
    from diffusers import SD3Transformer2DModel

    null_text = load_null_text(files, "stable-diffusion-3", where=where, tokens=T5_TOKENS)
    network = load_model(SD3Transformer2DModel, files, "transformer", where)
    space = load_latent_space(
        files, where, network_channels=network.config.in_channels, latents_multiple_of=network.config.patch_size
    )
    return MMDiTBackbone(
        network,
        space,
        flow,
        null_text,
        attention_blocks=attention_blocks(network),
        px=int(network.config.sample_size) * space.factor,
        name=name,
        settings=settings,
    )
