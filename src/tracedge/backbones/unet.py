"""Stable Diffusion 1.5, 2.1 and XL: a U-Net whose self-attention runs on several grids."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tracedge.backbones.ddpm import DDPM
from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.latent import LatentBackbone, load_latent_space
from tracedge.backbones.loading import Place, load_model, scheduler_config
from tracedge.backbones.null_text import NullText, load_null_text
from tracedge.errors import BackboneError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


def attention_levels(network: UNet2DConditionModel) -> dict[str, int]:
    """Every self-attention module -> how many times its grid was halved, in the order of the forward pass.

    The model's own module order is down, up, mid; the forward pass goes down, mid, up. Level i of n runs in down block
    i, in up block n - 1 - i and, for the last, in the mid block.
    """
    deepest = len(network.down_blocks) - 1
    levels: dict[str, dict[str, int]] = {"down_blocks": {}, "mid_block": {}, "up_blocks": {}}
    for name, module in network.named_modules():
        if not name.endswith(".attn1") or module.is_cross_attention:
            continue
        stage, number = name.split(".")[:2]
        depth = {"down_blocks": lambda n: n, "mid_block": lambda _: deepest, "up_blocks": lambda n: deepest - n}[stage]
        levels[stage][name] = depth(int(number) if number.isdigit() else 0)
    return levels["down_blocks"] | levels["mid_block"] | levels["up_blocks"]


class UNetBackbone(LatentBackbone):
    """A Stable Diffusion U-Net as a `Backbone` (see backbones/protocol.py for what each member means)."""

    network: UNet2DConditionModel

    @cached_property
    def _levels(self) -> dict[str, int]:
        return attention_levels(self.network)

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice, tuple[int, int]] | None:
        if block not in self._levels:
            return None
        step = 2 ** self._levels[block]
        grid = -(-latent_hw[0] // step), -(-latent_hw[1] // step)  # a stride-2 convolution rounds up
        return slice(0, grid[0] * grid[1]), grid

    def denoise(self, latents: Tensor, timestep: Tensor) -> Tensor:
        text = self.null_text.repeat(latents.shape[0])
        prediction: Tensor = self.network(
            latents.to(self.device, self.dtype),
            timestep.to(self.device),
            encoder_hidden_states=text.embeds,  # (B, 77, D)
            added_cond_kwargs=self._size_conditions(latents, text),
            return_dict=False,
        )[0]
        return prediction

    def _size_conditions(self, latents: Tensor, text: NullText) -> dict[str, Tensor | None] | None:
        """SDXL is told the size of the image, that nothing was cropped, and the size to make."""
        if self.network.config.addition_embed_type is None:
            return None
        height, width = (side * self.space.factor for side in latents.shape[-2:])
        ids = torch.tensor([height, width, 0, 0, height, width], device=self.device, dtype=self.dtype)
        return {"text_embeds": text.pooled, "time_ids": ids.expand(latents.shape[0], -1)}


def load_unet(files: PipelineFiles, *, name: str, settings: dict[str, object], where: Place) -> UNetBackbone:
    """A pipeline whose network is a UNet2DConditionModel.

    Raises:
        BackboneError: parts are missing or do not fit, or the U-Net asks for conditions other than SDXL's.
    """
    from diffusers import UNet2DConditionModel

    process = DDPM.from_config(scheduler_config(files))
    null_text = load_null_text(files, "stable-diffusion", where=where)
    network = load_model(UNet2DConditionModel, files, "unet", where)
    config = network.config
    if config.addition_embed_type not in (None, "text_time") or config.class_embed_type or config.num_class_embeds:
        raise BackboneError(f"{files.source}: its U-Net asks for more than text and, as SDXL, sizes")
    space = load_latent_space(
        files, where, network_channels=config.in_channels, latents_multiple_of=2 ** (len(network.down_blocks) - 1)
    )
    return UNetBackbone(
        network,
        space,
        process,
        null_text,
        attention_blocks=tuple(attention_levels(network)),
        px=int(network.config.sample_size) * space.factor,
        name=name,
        settings=settings,
    )
