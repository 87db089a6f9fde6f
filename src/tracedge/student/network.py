"""The student: one forward of the denoiser on the clean picture, and the decoder on what its attention says."""

from __future__ import annotations

from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracedge.attention import BlockCall, record_attention
from tracedge.backbones.protocol import Backbone
from tracedge.student.decoder import EdgeDecoder
from tracedge.student.reading import Reading, blocks_of_values


class Student(nn.Module):
    """A backbone and an edge decoder as one module, so that a framework can wrap, move and cast them together.

    detail: pixels of the picture that the decoder sees for each pixel that the backbone sees, along a side. values: how
    many blocks' values are read besides the divergences of all.
    """

    def __init__(self, backbone: Backbone, decoder: EdgeDecoder, detail: int, values: int = 0) -> None:
        super().__init__()
        self.backbone, self.detail, self.values = backbone, detail, values
        self.network, self.decoder = backbone.network, decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, predict: bool = True) -> tuple[Tensor, Tensor | None]:
        """Logits of the edges (B, 1, H, W), and the denoiser's raw output (B, C, h, w), at t = 0.

        Args:
            images: (B, 3, H, W) in [0, 1], sides multiples of detail x the backbone's `multiple_of`.
            predict: whether the raw output is asked for; else None. What is given must reach a loss: frameworks that
                train in several processes wait for the gradient of all that it depends on.
        """
        with torch.no_grad():
            latents = self.backbone.encode(self.seen(images))
        reading, prediction = read_attention(self.backbone, latents, self.values)
        images = images.to(reading.device, memory_format=torch.channels_last)  # convolutions are faster so
        return self.decoder(reading, images), prediction if predict else None

    def edges(self, images: Tensor) -> Tensor:
        """The logits alone, (B, 1, H, W): the forward ends as soon as the last block's attention has been seen."""
        reading = read_until_last(self.backbone, self.backbone.encode(self.seen(images)), self.values)
        images = images.to(reading.device, memory_format=torch.channels_last)
        logits: Tensor = self.decoder(reading, images)
        return logits

    def seen(self, images: Tensor) -> Tensor:
        """The pictures at the backbone's resolution."""
        return F.avg_pool2d(images, self.detail) if self.detail > 1 else images


def read_attention(backbone: Backbone, latents: Tensor, values: int) -> tuple[Tensor, Tensor]:
    """The reading (B, C, h, w) of one forward at t = 0 on clean latents, and the network's output."""
    reading = Reading(blocks_of_values(backbone.attention_blocks, values))
    with record_attention(backbone, (latents.shape[-2], latents.shape[-1]), reading) as taken:
        prediction = backbone.denoise(latents, torch.zeros(len(latents)))
    return taken.result(), prediction


def read_until_last(backbone: Backbone, latents: Tensor, values: int) -> Tensor:
    """The reading of `read_attention`, without what the network does after its last attention."""
    latent_hw = latents.shape[-2], latents.shape[-1]
    with record_attention(backbone, latent_hw, _UntilAllSeen(backbone, values)) as taken, suppress(_AllSeen):
        backbone.denoise(latents, torch.zeros(len(latents)))
    return taken.result()


class _AllSeen(Exception):  # noqa: N818 (not an error)
    """Ends a forward: there is nothing more to see."""


class _UntilAllSeen(Reading):
    def __init__(self, backbone: Backbone, values: int) -> None:
        super().__init__(blocks_of_values(backbone.attention_blocks, values))
        self._left = len(backbone.attention_blocks)

    def add(self, call: BlockCall) -> None:
        super().add(call)
        self._left -= 1
        if self._left == 0:
            raise _AllSeen
