"""What the rest of tracedge asks of a model: protocols, to be met by anything."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class AttentionSource(Protocol):
    """A network whose self-attention can be recorded.

    name: how it is called on the command line and in files.
    network: the module that is run; the recorder watches its submodules.
    attention_blocks: names (as in `network.named_modules()`) of every module that computes image self-attention, in the
        order of the forward pass. The recorder raises unless it has seen exactly these.
    """

    name: str
    network: nn.Module
    attention_blocks: tuple[str, ...]

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice | Tensor, tuple[int, int]] | None:
        """Where the image tokens of a block stand in its sequence, and their grid (rows, columns).

        A tensor (N,) where they do not follow each other row by row: the place of each in the sequence, which then holds
        nothing else. None where the block's attention is not image self-attention (cross-attention to text). The
        block's role decides and never the lengths: 77 text tokens can equal a 7 x 11 grid.
        """
        ...


@runtime_checkable
class VisionSource(AttentionSource, Protocol):
    """A vision transformer that is not a diffusion model: it sees the picture itself, once.

    patch: pixels of a token's side. px: the long side, in pixels, that it is used at. multiple_of: image sides must be
    multiples of this. settings: what identifies the weights, as a `Backbone` has them.
    """

    patch: int
    px: int
    multiple_of: int
    device: torch.device
    dtype: torch.dtype
    settings: dict[str, object]

    def forward(self, images: Tensor) -> Tensor:
        """The last layer's tokens of an image (1, 3, H, W) in [0, 1], in the model's own order."""
        ...


@runtime_checkable
class TextImageSource(Protocol):
    """A model that puts texts and the tokens of a picture into one space, D wide.

    patch: pixels of a token's side. scale: by which it was trained to multiply cosines to log odds. settings: what identifies the
    weights, as a `Backbone` has them.
    """

    patch: int
    scale: float
    device: torch.device
    dtype: torch.dtype
    settings: dict[str, object]

    def texts(self, sentences: list[str]) -> Tensor:
        """Unit vectors (P, D) of sentences."""
        ...

    def tokens(self, images: Tensor) -> Tensor:
        """Unit vectors (B, N, D) of images (B, 3, H, W) in [0, 1], sides multiples of `patch`; row by row."""
        ...


class ForwardProcess(Protocol):
    """How clean latents become noise, step by step: `ddpm.DDPM`, or the module `flow`.

    >>> from tracedge.backbones import flow
    >>> process: ForwardProcess = flow
    """

    def timesteps(self, stride: int) -> Tensor:
        """(T,) float: 0, stride, 2 stride, ... below 1000, on the model's 0..999 scale; 0 is the clean latent."""
        ...

    def add_noise(self, latents: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """The forward process: latents and noise (B, C, h, w), timestep (B,); rows with timestep 0 come back clean."""
        ...

    def log_snr(self, timestep: Tensor) -> Tensor:
        """log of signal over noise power at (T,) timesteps; +inf at 0."""
        ...

    def clean_and_noise(self, latents: Tensor, timestep: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """What a prediction at x_t, all (B, C, h, w), timestep (B,), says of x_0 and of the noise."""
        ...


@runtime_checkable
class Backbone(AttentionSource, Protocol):
    """A diffusion model seen as: encode, noise, denoise, decode.

    px: the long side, in pixels, that the model was made for. multiple_of: image sides must be multiples of this.
    process: the noise it was trained under.
    settings: what identifies the weights: name, source, revision, licence (goes into every output).
    """

    px: int
    multiple_of: int
    process: ForwardProcess
    device: torch.device
    dtype: torch.dtype
    settings: dict[str, object]

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], sides multiples of `multiple_of`, to clean latents (B, C, h, w) in fp32."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Clean latents (B, C, h, w) to images (B, 3, H, W), about [0, 1]; differentiable."""
        ...

    def denoise(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """One forward of the network: latents (B, C, h, w), timestep (B,), prediction (B, C, h, w), null prompt."""
        ...
