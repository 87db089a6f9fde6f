"""Not diffusion: vision transformers as attention sources (no latents, no noise, one forward on the picture).

The paper compares its edges with ABDiv on the self-attention of such models (4, backbones). Importing this loads no torch.
EVA-02, which it names too, is not among transformers' models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tracedge.backbones import MODELS, Model
from tracedge.errors import BackboneError, SettingsError

if TYPE_CHECKING:
    import torch

    from tracedge.backbones.protocol import VisionSource

_APACHE, _DINOV3, _CLIP = "apache-2.0", "dinov3-license", "not stated (code: mit)"
_INSTEAD = "dinov2-base"

VISION: dict[str, Model] = {
    "dino-vitb8": Model("vit", 480, _APACHE, ("facebook/dino-vitb8",)),
    "dino-vits8": Model("vit", 480, _APACHE, ("facebook/dino-vits8",)),
    "dino-vitb16": Model("vit", 480, _APACHE, ("facebook/dino-vitb16",)),
    "dino-vits16": Model("vit", 480, _APACHE, ("facebook/dino-vits16",)),
    "dinov2-small": Model("dinov2", 518, _APACHE, ("facebook/dinov2-small",)),
    "dinov2-base": Model("dinov2", 518, _APACHE, ("facebook/dinov2-base",)),
    "dinov2-large": Model("dinov2", 518, _APACHE, ("facebook/dinov2-large",)),
    "dinov2-giant": Model("dinov2", 518, _APACHE, ("facebook/dinov2-giant",)),
    **{
        f"dinov2-{size}-registers": Model(
            "dinov2_with_registers", 518, _APACHE, (f"facebook/dinov2-with-registers-{size}",)
        )
        for size in ("small", "base", "large", "giant")
    },
    **{
        f"dinov3-{size}": Model(
            "dinov3_vit", 768, _DINOV3, (f"facebook/dinov3-{size}-pretrain-lvd1689m",), True, _INSTEAD
        )
        for size in ("vits16", "vitb16", "vitl16", "vith16plus", "vit7b16")
    },
    "clip-base16": Model("clip", 224, _CLIP, ("openai/clip-vit-base-patch16",)),
    "clip-large14": Model("clip", 224, _CLIP, ("openai/clip-vit-large-patch14",)),
    "clip-large14-336": Model("clip", 336, _CLIP, ("openai/clip-vit-large-patch14-336",)),
    "qwen2.5-vl-3b": Model("qwen2_5_vl", 1008, "qwen-research", ("Qwen/Qwen2.5-VL-3B-Instruct",)),
    "qwen2.5-vl-7b": Model("qwen2_5_vl", 1008, _APACHE, ("Qwen/Qwen2.5-VL-7B-Instruct",)),
    "qwen2.5-vl-72b": Model("qwen2_5_vl", 1008, "qwen", ("Qwen/Qwen2.5-VL-72B-Instruct",)),
}
"""Every name that `load_vision` takes; the family is the model_type of its config.json, px the long side it is seen at: DINO's
own attention maps are shown at 480, DINOv3's last stage of training was at up to 768; the others' image_size. A folder or another
hub id is seen at the image_size of its config, Qwen2.5-VL's at 1008, up to their max_pixels."""


def is_vision(name: str | Path) -> bool:
    """Whether a name is a vision model's and no diffusion model's: of the table, its hub id, or a folder that holds one.

    A folder is one if it has a config.json and is neither a diffusers pipeline nor a mini model. Hub ids that are not in
    the table are taken for diffusion models: nothing is asked of the network here.
    """
    if str(name) in MODELS:
        return False
    if _row(VISION, str(name)) is not None:
        return True
    folder = Path(name).expanduser()
    others = ("model_index.json", "mini.json")
    return (folder / "config.json").is_file() and not any((folder / other).is_file() for other in others)


def model_in(table: Mapping[str, Model], name: str) -> Model:
    """The row of a name or of its hub id, or one made up for another hub id (its licence is then not known).

    Raises:
        SettingsError: neither a name nor of the form owner/model.
    """
    row = _row(table, name)
    if row is not None:
        return row
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        return Model("by its config", 0, "unknown", (name,))
    raise SettingsError(
        f"{name!r} is no name of a model: give one of {', '.join(table)}, a folder, or a hub id such as owner/model."
    )


def load_vision(
    name: str | Path = "dino-vitb8",
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> VisionSource:
    """A vision transformer, from safetensors only. What is on this machine is used without asking the network.

    Args:
        name: a name of `VISION`; or a folder with config.json and safetensors, as transformers writes them; or a hub id. The
            model_type of the config decides the family. Of CLIP and Qwen2.5-VL only the vision tower is loaded.
        device: None takes the accelerator of this machine, or else the CPU.
        dtype: None takes fp32.
        local_files_only: never ask the network.
        cache_dir: the hub's cache folder; None takes the hub's own rule.

    Raises:
        SettingsError: an unknown name or device.
        GatedModelError: the page of the model must be accepted first.
        BackboneError: files are missing or cannot be fetched; it is of no known family; or the weights do not fit its config.
    """
    import torch

    from tracedge.backbones.loading import place
    from tracedge.backbones.vision import qwen, transformer
    from tracedge.backbones.vision.files import vision_files

    where = place(device, dtype or torch.float32)
    files = vision_files(name, local_files_only=local_files_only, cache_dir=cache_dir)
    if files.model_type == qwen.MODEL_TYPE:
        return qwen.load_tower(files, where)
    if str(files.model_type) in transformer.FAMILIES:
        return transformer.load_transformer(files, where)
    known = ", ".join((*transformer.FAMILIES, qwen.MODEL_TYPE))
    raise BackboneError(f"{files.source} is a model of the type {files.model_type!r}, expected one of {known}.")


def _row(table: Mapping[str, Model], name: str) -> Model | None:
    return table.get(name) or next((row for row in table.values() if name in row.hub_ids), None)
