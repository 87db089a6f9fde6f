"""Plain vision transformers: DINO, DINOv2 (with registers or without), DINOv3 and CLIP's vision tower."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tracedge.backbones.loading import Place
from tracedge.backbones.vision.files import VisionFiles
from tracedge.backbones.vision.pixels import IMAGENET, OPENAI, Pixels, pixels_of
from tracedge.backbones.vision.weights import load_network
from tracedge.errors import BackboneError


@dataclass(frozen=True)
class Family:
    """What differs from one family to the other.

    network: its class in transformers. blocks: name of the i-th attention module. pixels: what it was trained with, for a folder
    without a file of its image processor. loading, running: arguments of from_pretrained and of the forward pass.
    """

    network: str
    blocks: str
    pixels: Pixels = IMAGENET
    loading: dict[str, Any] = field(default_factory=dict)
    running: dict[str, Any] = field(default_factory=dict)


_STRETCHED = {"interpolate_pos_encoding": True}  # DINOv2 stretches its position embeddings unasked, DINOv3 has none
_CLIP = Family("CLIPVisionModel", "encoder.layers.{}.self_attn", pixels=OPENAI, running=_STRETCHED)

FAMILIES: dict[str, Family] = {
    "vit": Family("ViTModel", "layers.{}.attention", loading={"add_pooling_layer": False}, running=_STRETCHED),
    "dinov2": Family("Dinov2Model", "encoder.layer.{}.attention"),
    "dinov2_with_registers": Family("Dinov2WithRegistersModel", "encoder.layer.{}.attention"),
    "dinov3_vit": Family("DINOv3ViTModel", "model.layer.{}.attention"),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
}
"""model_type of config.json -> family."""


class VisionTransformer:
    """A ViT as a `VisionSource` (see backbones/protocol.py): its tokens are CLS, registers, then the patches row by row.

    patch: pixels of a token's side. prefix: how many tokens stand before the patches. px: of the table, or else the image_size of
    its config. pixels: what it is given for a pixel.
    """

    def __init__(self, network: Any, family: Family, files: VisionFiles) -> None:
        self.pixels = pixels_of(files.processing, files.source, family.pixels)
        self.name, self.settings = files.name, files.settings | {"pixels": self.pixels.settings}
        self.network = network.eval().requires_grad_(False)
        self.patch = self.multiple_of = square_side(network.config, "patch_size", files)
        self.prefix = 1 + getattr(network.config, "num_register_tokens", 0)
        self.px = files.px or square_side(network.config, "image_size", files)
        self.device, self.dtype = network.device, network.dtype
        self.attention_blocks = tuple(family.blocks.format(i) for i in range(network.config.num_hidden_layers))
        self._family = family

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice, tuple[int, int]] | None:
        grid = latent_hw[0] // self.patch, latent_hw[1] // self.patch
        return (slice(self.prefix, self.prefix + grid[0] * grid[1]), grid) if block in self.attention_blocks else None

    def forward(self, images: Tensor) -> Tensor:
        """The last layer's tokens (B, prefix + N, D) of images (B, 3, H, W) in [0, 1], sides multiples of `patch`.

        Position embeddings are stretched to the grid bicubically (DINOv3 has rotary ones, over [-1, 1] of each side).
        """
        pixels = self.pixels.standardised(images.to(self.device)).to(self.dtype)
        tokens: Tensor = self.network(pixels, **self._family.running).last_hidden_state
        return tokens


def load_transformer(files: VisionFiles, where: Place) -> VisionTransformer:
    """A model of one of `FAMILIES`.

    Raises:
        BackboneError: it cannot be loaded, or its weights do not fit its config.
    """
    family = FAMILIES[str(files.model_type)]
    network = load_network(
        family.network,
        files,
        "a vision transformer",
        attn_implementation="sdpa",  # what the recorder sees
        dtype=where.dtype,
        **family.loading,
    )
    return VisionTransformer(network.to(where.device), family, files)


def square_side(config: Any, key: str, files: VisionFiles) -> int:
    """The side of a square of the config: one number, or two that are equal."""
    value = getattr(config, key)
    sides = list(value) if isinstance(value, list | tuple) else [value]
    if not 1 <= len(sides) <= 2 or len(set(sides)) > 1 or type(sides[0]) is not int or sides[0] < 1:
        raise BackboneError(
            f"{files.source}: its config has {key} {value!r:.60}, expected a whole number of pixels; what is not square is not "
            "supported."
        )
    return int(sides[0])
