"""Segment Anything (SAM and SAM 2) through transformers: our instances as its prompts, and its own masks as a rival's.

The way through this folder: frame.py (a picture in SAM's square, and back), prompts.py (what an instance says), model.py (the
networks, one face), seeds.py (instances in, instances out), automatic.py (a grid of points, no instances; nms.py). Importing
this loads no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracedge.backbones import Model
from tracedge.errors import BackboneError

if TYPE_CHECKING:
    import torch

    from tracedge.backbones.vision.files import VisionFiles
    from tracedge.sam.model import Sam

_APACHE = "apache-2.0"

SAM: dict[str, Model] = {
    **{f"sam-{size}": Model("sam", 1024, _APACHE, (f"facebook/sam-vit-{size}",)) for size in ("base", "large", "huge")},
    **{
        f"sam2.1-{size}": Model("sam2", 1024, _APACHE, (f"facebook/sam2.1-hiera-{size}",))
        for size in ("tiny", "small", "base-plus", "large")
    },
}
"""Every name that `load_sam` takes besides hub ids and folders."""

MODEL_TYPES = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}
"""model_type of config.json -> class in transformers. The hub's folders of SAM 2 are those of its video model, in which the one
for pictures is: what else is in them is not loaded."""


def is_sam(name: str) -> bool:
    """Whether it is a name of `SAM`, or the hub id of one."""
    return name in SAM or any(name in row.hub_ids for row in SAM.values())


def sam_files(name: str | Path, *, local_files_only: bool = False, cache_dir: str | Path | None = None) -> VisionFiles:
    """The files of a name of `SAM`, a folder or a hub id, fetched if need be; no network is made of them yet.

    Raises:
        SettingsError: neither name, folder nor hub id.
        BackboneError: files are missing or cannot be fetched, or they are of another model.
    """
    from tracedge.backbones.vision.files import vision_files

    files = vision_files(name, models=SAM, local_files_only=local_files_only, cache_dir=cache_dir)
    if files.model_type not in MODEL_TYPES:
        raise BackboneError(
            f"{files.source} is a model of the type {files.model_type!r}, expected SAM or SAM 2 ({', '.join(MODEL_TYPES)})."
        )
    return files


def load_sam(
    name: str | Path = "sam-base",
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> Sam:
    """SAM or SAM 2, from safetensors only. What is on this machine is used without asking the network.

    Args:
        name: a name of `SAM`; or a folder with config.json and safetensors, as transformers writes them; or a hub id. The
            model_type of the config decides which of the two it is.
        device: None takes the accelerator of this machine, or else the CPU.
        dtype: None takes fp32.
        local_files_only: never ask the network.
        cache_dir: the hub's cache folder; None takes the hub's own rule.

    Raises:
        SettingsError: an unknown name or device.
        BackboneError: files are missing or cannot be fetched, are of another model, or the weights do not fit their config.
    """
    import torch

    from tracedge.backbones.loading import place
    from tracedge.sam.model import open_sam

    where = place(device, dtype or torch.float32)
    return open_sam(sam_files(name, local_files_only=local_files_only, cache_dir=cache_dir), where)
