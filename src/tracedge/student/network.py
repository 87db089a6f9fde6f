"""The student: one forward of the denoiser on the clean picture, and the decoder on what its attention says."""

from __future__ import annotations

from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracedge.attention import BlockCall, record_attention
from tracedge.backbones.protocol import Backbone
from tracedge.student.decoder import EdgeDecoder
from tracedge.student.divergences import BlockDivergences


class Student(nn.Module):
    """A backbone and an edge decoder as one module, so that a framework can wrap, move and cast them together.

    detail: pixels of the picture that the decoder sees for each pixel that the backbone sees, along a side.
    """

    def __init__(self, backbone: Backbone, decoder: EdgeDecoder, detail: int) -> None:
        super().__init__()
        self.backbone, self.detail = backbone, detail
        self.network, self.decoder = backbone.network, decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the edges (B, 1, H, W), and the denoiser's raw output (B, C, h, w), at t = 0.

        Args:
            images: (B, 3, H, W) in [0, 1], sides multiples of detail x the backbone's `multiple_of`.
        """
        with torch.no_grad():
            latents = self.backbone.encode(self.seen(images))
        divergences, prediction = read_divergences(self.backbone, latents)
        images = images.to(divergences.device, memory_format=torch.channels_last)  # convolutions are faster so
        return self.decoder(divergences, images), prediction

    def edges(self, images: Tensor) -> Tensor:
        """The logits alone, (B, 1, H, W): the forward ends as soon as the last block's attention has been seen."""
        divergences = last_divergences(self.backbone, self.backbone.encode(self.seen(images)))
        images = images.to(divergences.device, memory_format=torch.channels_last)
        logits: Tensor = self.decoder(divergences, images)
        return logits

    def seen(self, images: Tensor) -> Tensor:
        """The pictures at the backbone's resolution."""
        return F.avg_pool2d(images, self.detail) if self.detail > 1 else images


def read_divergences(backbone: Backbone, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Divergences (B, C, h, w) of one forward at t = 0 on clean latents, and the network's output."""
    with record_attention(backbone, (latents.shape[-2], latents.shape[-1]), BlockDivergences()) as taken:
        prediction = backbone.denoise(latents, torch.zeros(len(latents)))
    return taken.result(), prediction


def last_divergences(backbone: Backbone, latents: Tensor) -> Tensor:
    """The divergences of `read_divergences`, without what the network does after its last attention."""
    latent_hw = latents.shape[-2], latents.shape[-1]
    with record_attention(backbone, latent_hw, _UntilAllSeen(backbone)) as taken, suppress(_AllSeen):
        backbone.denoise(latents, torch.zeros(len(latents)))
    return taken.result()


class _AllSeen(Exception):  # noqa: N818 (not an error)
    """Ends a forward: there is nothing more to see."""


class _UntilAllSeen(BlockDivergences):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._left = len(backbone.attention_blocks)

    def add(self, call: BlockCall) -> None:
        super().add(call)
        self._left -= 1
        if self._left == 0:
            raise _AllSeen
