"""FLUX.1 dev and schnell: a transformer over text and image tokens together, on latents packed two by two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tracedge.backbones import flow
from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.latent import LatentBackbone, load_latent_space
from tracedge.backbones.loading import Place, load_model
from tracedge.backbones.null_text import load_null_text

if TYPE_CHECKING:
    from diffusers import FluxTransformer2DModel

PX = 1024
PACK = 2  # a token is a patch of 2 x 2 latents
DEV_TOKENS, SCHNELL_TOKENS = 512, 256
GUIDANCE = 1.0


def attention_blocks(network: FluxTransformer2DModel) -> tuple[str, ...]:
    """The double blocks, then the single blocks; text tokens first, image tokens last in both."""
    double = [f"transformer_blocks.{i}.attn" for i in range(len(network.transformer_blocks))]
    return (*double, *(f"single_transformer_blocks.{i}.attn" for i in range(len(network.single_transformer_blocks))))


def pack(latents: Tensor) -> Tensor:
    """(B, C, h, w) to tokens (B, h/2 w/2, 4 C), row by row."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // PACK, PACK, width // PACK, PACK)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: Tensor, latent_hw: tuple[int, int]) -> Tensor:
    """The inverse of `pack`."""
    height, width = latent_hw
    patches = tokens.reshape(tokens.shape[0], height // PACK, width // PACK, -1, PACK, PACK)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(tokens.shape[0], -1, height, width)


def positions(grid_hw: tuple[int, int], device: torch.device) -> Tensor:
    """(h w, 3) the ids (0, row, column) of image tokens, for the rotary embedding; text tokens are all at (0, 0, 0)."""
    rows, columns = torch.meshgrid(*(torch.arange(side, device=device) for side in grid_hw), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


class FluxBackbone(LatentBackbone):
    """A FLUX.1 transformer as a `Backbone` (see backbones/protocol.py for what each member means).

    The dev model is told a guidance scale. It is 1 here, which means none: the null prompt is nothing to guide to.
    """

    network: FluxTransformer2DModel

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice, tuple[int, int]] | None:
        grid = latent_hw[0] // PACK, latent_hw[1] // PACK
        return (slice(query_length - grid[0] * grid[1], query_length), grid) if block in self.attention_blocks else None

    def denoise(self, latents: Tensor, timestep: Tensor) -> Tensor:
        batch, height, width = latents.shape[0], latents.shape[-2], latents.shape[-1]
        text = self.null_text.repeat(batch)
        guided = self.network.config.guidance_embeds
        tokens: Tensor = self.network(
            pack(latents.to(self.device, self.dtype)),  # (B, N, 4 C)
            encoder_hidden_states=text.embeds,  # (B, 512 or 256, D)
            pooled_projections=text.pooled,  # (B, P)
            timestep=timestep.to(self.device) / 1000,  # sigma; the network multiplies by 1000
            img_ids=positions((height // PACK, width // PACK), self.device),
            txt_ids=torch.zeros(text.embeds.shape[1], 3, device=self.device),
            guidance=torch.full((batch,), GUIDANCE, device=self.device) if guided else None,
            return_dict=False,
        )[0]
        return unpack(tokens, (height, width))


def load_flux(files: PipelineFiles, *, name: str, settings: dict[str, object], where: Place) -> FluxBackbone:
    """A pipeline whose network is a FluxTransformer2DModel.

    Raises:
        BackboneError: parts are missing or do not fit.
    """
    from diffusers import FluxTransformer2DModel

    files.require(["transformer"])
    config = FluxTransformer2DModel.load_config(files.folder / "transformer", local_files_only=True)
    tokens = DEV_TOKENS if config.get("guidance_embeds") else SCHNELL_TOKENS  # what each was distilled with
    null_text = load_null_text(files, "flux", where=where, tokens=tokens)
    network = load_model(FluxTransformer2DModel, files, "transformer", where)
    space = load_latent_space(
        files, where, network_channels=network.config.in_channels // PACK**2, latents_multiple_of=PACK
    )
    return FluxBackbone(
        network,
        space,
        flow,
        null_text,
        attention_blocks=attention_blocks(network),
        px=PX,
        name=name,
        settings=settings,
    )
