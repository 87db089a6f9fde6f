"""From the files of a diffusers pipeline to a `Backbone`: which family, on which device, weights checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tracedge.backbones.configs import read_table, refuse_implausible
from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.protocol import Backbone
from tracedge.errors import BackboneError, SettingsError
from tracedge.tensors import UNFIT

NETWORKS = {
    "UNet2DConditionModel": "unet",
    "PixArtTransformer2DModel": "pixart",
    "SD3Transformer2DModel": "mmdit",
    "FluxTransformer2DModel": "flux",
}
"""Class of the network, as model_index.json writes it -> family."""


@dataclass(frozen=True)
class Place:
    """Where a network runs, and in which numbers."""

    device: torch.device
    dtype: torch.dtype


def place(device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Place:
    """None: the accelerator of this machine or else the CPU; fp32 on a CPU (which may lack bf16), bf16 elsewhere.

    Raises:
        SettingsError: a device that torch does not know, or that is not here.
    """
    if device is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = found or torch.device("cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # a build without CUDA asserts
        raise SettingsError(f"there is no device {str(device)!r} here: {error}") from error
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    return Place(device, dtype)


def open_pipeline(files: PipelineFiles, *, name: str, licence: str, where: Place) -> Backbone:
    """Load what a backbone needs of a pipeline: network, VAE, scheduler config and the null-prompt embedding.

    Raises:
        BackboneError: the network is of no known family, parts are missing, or weights do not fit their config.
    """
    from tracedge.backbones import flux, mmdit, pixart, unet

    load: dict[str, Callable[..., Backbone]] = {
        "unet": unet.load_unet,
        "pixart": pixart.load_pixart,
        "mmdit": mmdit.load_mmdit,
        "flux": flux.load_flux,
    }
    settings: dict[str, object] = {
        "name": name,
        "source": files.source,
        "revision": files.revision,
        "licence": licence,
    }
    if files.revision is None:  # a folder: its weights can be exchanged under the same name
        settings["weights"] = files.fingerprint(files.parts("unet", "transformer", "vae", "scheduler"))[:16]
    return load[family_of(files)](files, name=name, settings=settings, where=where)


def family_of(files: PipelineFiles) -> str:
    """Which family a pipeline belongs to, by the class of its unet or transformer."""
    found = files.class_of("unet") or files.class_of("transformer")
    if found == "Transformer2DModel" and str(files.index.get("_class_name")).startswith("PixArt"):
        return "pixart"  # what PixArt's own repositories say: they are older than the class
    if found not in NETWORKS:
        raise BackboneError(
            f"{files.source}: the network is a {found}, expected one of {', '.join(NETWORKS)} (a pipeline of Stable "
            "Diffusion 1, 2, XL, 3 or 3.5, PixArt or FLUX.1)."
        )
    return NETWORKS[found]


def load_model(kind: Any, files: PipelineFiles, part: str, where: Place) -> Any:
    """One part as a diffusers model: in eval mode, frozen, on its device.

    Raises:
        BackboneError: it cannot be read, or a weight is missing or of another shape. (Names that the model does not
            know are let pass: old files carry buffers that newer classes compute.)
    """
    files.require([part])
    refuse_implausible(read_table(files.folder / part / "config.json"), files.source)
    try:
        model, report = kind.from_pretrained(
            files.folder / part,
            torch_dtype=where.dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except UNFIT as error:
        raise BackboneError(f"{files.source}: {part}/ cannot be loaded as a {kind.__name__}: {error}") from error
    wrong = {key: report[key] for key in ("missing_keys", "mismatched_keys") if report[key]}
    if wrong:
        raise BackboneError(f"{files.source}: the weights of {part}/ do not fit its config: {wrong}")
    return model.to(where.device).eval().requires_grad_(False)


def scheduler_config(files: PipelineFiles) -> dict[str, Any]:
    """What scheduler/scheduler_config.json says.

    Raises:
        BackboneError: it is missing or no JSON.
    """
    files.require(["scheduler"])
    config = read_table(files.folder / "scheduler" / "scheduler_config.json")
    refuse_implausible(config, files.source)
    return config
