"""Models of images and texts in one space, CLIP and SigLIP, as a `TextImageSource`. Importing this loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracedge.backbones import Model

if TYPE_CHECKING:
    import torch

    from tracedge.backbones.protocol import TextImageSource

_CLIP, _APACHE = "not stated (code: mit)", "apache-2.0"

IMAGE_TEXT: dict[str, Model] = {
    "clip-base16": Model("clip", 224, _CLIP, ("openai/clip-vit-base-patch16",)),
    "clip-large14": Model("clip", 224, _CLIP, ("openai/clip-vit-large-patch14",)),
    "clip-large14-336": Model("clip", 336, _CLIP, ("openai/clip-vit-large-patch14-336",)),
    "clip-laion-base16": Model("clip", 224, "mit", ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K",)),
    "siglip-base16": Model("siglip", 224, _APACHE, ("google/siglip-base-patch16-224",)),
    "siglip-large16": Model("siglip", 256, _APACHE, ("google/siglip-large-patch16-256",)),
}
"""The names that `load_image_text` takes, besides folders and hub ids; family and px: model_type and image_size of the config."""


def is_image_text(name: str) -> bool:
    """Whether a name, or a hub id, is in the table."""
    return name in IMAGE_TEXT or any(name in row.hub_ids for row in IMAGE_TEXT.values())


def load_image_text(
    name: str | Path = "clip-base16",
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> TextImageSource:
    """CLIP or SigLIP, both towers and the tokenizer, from safetensors only. What is on this machine is used without the network.

    Args:
        name: a name of `IMAGE_TEXT`; or a folder with config.json, model.safetensors and the tokenizer's files; or a hub id.
        device: None takes the accelerator of this machine, or else the CPU.
        dtype: None takes fp32.
        local_files_only: never ask the network.
        cache_dir: the hub's cache folder; None takes the hub's own rule.

    Raises:
        SettingsError: an unknown name or device.
        BackboneError: files are missing or cannot be fetched; it is of no known family; or the weights do not fit its config.
    """
    import torch

    from tracedge.backbones.image_text.files import image_text_files
    from tracedge.backbones.image_text.network import open_image_text
    from tracedge.backbones.loading import place

    where = place(device, dtype or torch.float32)
    return open_image_text(image_text_files(name, local_files_only=local_files_only, cache_dir=cache_dir), where)
