"""What MaskCut and ProMerge look at: a row of numbers for each token, the keys of a network's last self-attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as Pil

from tracedge.attention import BlockCall, record_attention
from tracedge.backbones import load_backbone
from tracedge.backbones.protocol import AttentionSource, Backbone, VisionSource
from tracedge.backbones.vision import load_vision
from tracedge.errors import SettingsError
from tracedge.images import ImageSource, load_image

Features = NDArray[np.float32]


class TokenFeatures(Protocol):
    """Anything that gives an image's tokens."""

    @property
    def provenance(self) -> dict[str, object]:
        """What the features depend on besides the image, of JSON's types."""
        ...

    def __call__(self, image: ImageSource) -> Features:
        """float32 (h, w, D) of an image uint8 (H, W, 3); the h x w tokens share the whole image evenly among them."""
        ...


class DinoFeatures:
    """Keys of a DINO ViT's last layer, all heads side by side, without CLS: what MaskCut and ProMerge were made with.

    The picture becomes a square of `px` (its aspect is not kept), by Lanczos.

    Args:
        model: a `VisionSource`, or what `load_vision` takes: "dino-vitb8", "dino-vits8", another name, a folder, a hub id.
        px: the square's side, a multiple of the model's patch (28 for Qwen2.5-VL); 480 as published: 60 x 60 tokens of 8 pixels.
        device, local_files_only, cache_dir: for `load_vision`.

    Raises:
        SettingsError, BackboneError: as `load_vision`; or `px` is not a multiple of the patch.
    """

    def __init__(
        self,
        model: VisionSource | str | Path = "dino-vitb8",
        *,
        px: int = 480,
        device: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
    ) -> None:
        if isinstance(model, str | Path):
            model = load_vision(model, device=device, local_files_only=local_files_only, cache_dir=cache_dir)
        if px < model.multiple_of or px % model.multiple_of:
            raise SettingsError(f"px must be a multiple of the patch of {model.name}, {model.multiple_of}, got {px}.")
        self.model, self.px = model, px

    @property
    def provenance(self) -> dict[str, object]:
        return {"features": "keys of the last layer", "px": self.px, "model": self.model.settings}

    def __call__(self, image: ImageSource) -> Features:
        square = Pil.fromarray(load_image(image)).resize((self.px, self.px), Pil.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 255  # (1, 3, px, px)
        return last_keys(self.model, (self.px, self.px), lambda: self.model.forward(pixels))


class BackboneFeatures:
    """Keys of a diffusion model's last self-attention block, all heads side by side, in one forward at t = 0.

    The picture is scaled until its long side is `px`, each side to the nearest multiple that the model takes, without padding.

    Args:
        backbone: a `Backbone`, or what `load_backbone` takes: "mini", another name, a folder, a hub id.
        px: the long side that the model sees; None: what it was made for.
        device, dtype, local_files_only: for `load_backbone`.

    Raises:
        SettingsError: `px` below 16; and as `load_backbone`.

    >>> BackboneFeatures("mini", px=64, device="cpu")(np.zeros((48, 64, 3), np.uint8)).shape[:2]
    (12, 16)
    """

    def __init__(
        self,
        backbone: Backbone | str = "mini",
        *,
        px: int | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        local_files_only: bool = False,
    ) -> None:
        if px is not None and px < 16:
            raise SettingsError(f"px must be at least 16, got {px}.")
        self.backbone: Backbone = (
            load_backbone(backbone, device=device, dtype=dtype, local_files_only=local_files_only)
            if isinstance(backbone, str)
            else backbone
        )
        self.px = px or self.backbone.px

    @property
    def provenance(self) -> dict[str, object]:
        numbers = str(self.backbone.dtype).removeprefix("torch.")
        block = self.backbone.attention_blocks[-1]
        return {"features": f"keys of {block}", "px": self.px, "model": self.backbone.settings, "dtype": numbers}

    @torch.no_grad()
    def __call__(self, image: ImageSource) -> Features:
        picture = load_image(image)
        unit = self.backbone.multiple_of
        scale = self.px / max(picture.shape[:2])
        sides = [max(1, round(side * scale / unit)) * unit for side in picture.shape[:2]]
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        latents = self.backbone.encode(F.interpolate(pixels, sides, mode="bilinear", antialias=True))
        timestep = torch.zeros(1)
        latent_hw = latents.shape[-2], latents.shape[-1]
        return last_keys(self.backbone, latent_hw, lambda: self.backbone.denoise(latents, timestep))


def features_of(
    name: str, *, device: str | None = None, local_files_only: bool = False
) -> DinoFeatures | BackboneFeatures:
    """What `--features` names: "mini" is the model in the package, all else is for `DinoFeatures`.

    Raises:
        SettingsError, BackboneError: as `load_vision`.
    """
    if name == "mini":
        return BackboneFeatures(name, device=device, local_files_only=local_files_only)
    return DinoFeatures(name, device=device, local_files_only=local_files_only)


def last_keys(source: AttentionSource, latent_hw: tuple[int, int], run: Callable[[], object]) -> Features:
    """float32 (h, w, D) keys of the image tokens in the last self-attention block; D is all its heads side by side.

    Args:
        source: the network that `run` runs, once, on one image.
        latent_hw: rows and columns of what it is given (pixels for a pixel-space model).

    Raises:
        RecordingError: not every block was seen exactly once.
    """
    with torch.no_grad(), record_attention(source, latent_hw, _Keys(source.attention_blocks[-1])) as taken:
        run()
    return taken.result()


class _Keys:
    """A reduction that keeps the keys of one block."""

    def __init__(self, block: str) -> None:
        self._block = block
        self._keys: Features | None = None

    def add(self, call: BlockCall) -> None:
        if call.block == self._block:
            keys = call.key[0, :, call.image].transpose(0, 1).flatten(1)  # (N, A d)
            self._keys = keys.float().cpu().numpy().reshape(*call.grid_hw, -1)

    def result(self) -> Features:
        assert self._keys is not None  # the recorder has raised otherwise
        return self._keys
