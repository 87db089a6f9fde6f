"""Not diffusion: DINO's vision transformers, as an `AttentionSource` (no latents, no noise, one forward on the picture)."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tracedge.backbones.hub import is_whole
from tracedge.backbones.loading import place
from tracedge.errors import BackboneError, SettingsError

if TYPE_CHECKING:
    from transformers import ViTModel

DINO = {name: f"facebook/{name}" for name in ("dino-vitb8", "dino-vits8", "dino-vitb16", "dino-vits16")}
"""Every name that `load_vision` takes besides folders and hub ids -> its hub id; all are apache-2.0."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as these models were trained
_FILES = ["config.json", "model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors"]


class VisionTransformer:
    """A ViT as an `AttentionSource` (see backbones/protocol.py): its tokens are CLS, then the patches row by row.

    patch: pixels of a token's side. settings: what identifies the weights, as a `Backbone` has them.
    """

    def __init__(self, network: ViTModel, *, name: str, settings: dict[str, object]) -> None:
        self.name, self.settings = name, settings
        self.network = network.eval().requires_grad_(False)
        self.patch = int(network.config.patch_size)
        self.device, self.dtype = network.device, network.dtype
        self.attention_blocks = tuple(f"layers.{i}.attention" for i in range(network.config.num_hidden_layers))

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice, tuple[int, int]] | None:
        grid = latent_hw[0] // self.patch, latent_hw[1] // self.patch
        return (slice(1, 1 + grid[0] * grid[1]), grid) if block in self.attention_blocks else None

    def forward(self, images: Tensor) -> Tensor:
        """The last layer's tokens (B, 1 + N, D) of images (B, 3, H, W) in [0, 1], sides multiples of `patch`.

        Position embeddings are stretched to the grid bicubically.
        """
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (_MEAN, _STD))
        pixels = ((images.to(self.device) - mean) / std).to(self.dtype)
        tokens: Tensor = self.network(pixels, interpolate_pos_encoding=True).last_hidden_state
        return tokens


def load_vision(
    name: str | Path = "dino-vitb8",
    *,
    device: str | torch.device | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> VisionTransformer:
    """A vision transformer in fp32, from safetensors only. What is on this machine is used without asking the network.

    Args:
        name: a name of `DINO`; or a folder with config.json and model.safetensors of a ViT (as transformers' `ViTModel`
            writes them); or a hub id.
        device: None takes the accelerator of this machine, or else the CPU.
        local_files_only: never ask the network.
        cache_dir: the hub's cache folder; None takes the hub's own rule.

    Raises:
        SettingsError: an unknown name or device.
        BackboneError: files are missing or cannot be fetched; it is not a ViT; or the weights do not fit its config.
    """
    where = place(device, torch.float32)
    folder = Path(name).expanduser()
    if str(name) not in DINO and folder.is_dir():
        folder = folder.resolve()
        network = _load(folder, str(folder))
        settings: dict[str, object] = {
            "name": folder.name,
            "source": str(folder),
            "revision": None,
            "licence": "unknown",
        }
        settings["weights"] = _fingerprint(folder)
    else:
        hub_id = _hub_id(str(name))
        folder = _snapshot(hub_id, local_files_only, cache_dir)
        network = _load(folder, hub_id)
        licence = "apache-2.0" if hub_id in DINO.values() else "unknown"
        settings = {"name": str(name), "source": hub_id, "revision": folder.name, "licence": licence}
    return VisionTransformer(network.to(where.device), name=str(settings["name"]), settings=settings)


def _hub_id(name: str) -> str:
    if name in DINO:
        return DINO[name]
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        return name
    raise SettingsError(
        f"{name!r} is no vision model: give one of {', '.join(DINO)}, a folder, or a hub id such as owner/model."
    )


def _load(folder: Path, source: str) -> ViTModel:
    from transformers import ViTModel

    if not is_whole(folder, ""):
        raise BackboneError(
            f"{source} has no config.json and model.safetensors that are whole; tracedge loads no pickle."
        )
    if (found := _model_type(folder)) != "vit":
        raise BackboneError(f"{source} is a model of the type {found!r}, expected 'vit', such as {', '.join(DINO)}.")
    try:
        network, report = ViTModel.from_pretrained(
            folder,
            add_pooling_layer=False,
            attn_implementation="sdpa",  # what the recorder sees
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise BackboneError(f"{source} cannot be loaded as a vision transformer: {error}") from error
    wrong = {key: report[key] for key in ("missing_keys", "mismatched_keys") if report[key]}
    if wrong:
        raise BackboneError(f"{source}: the weights do not fit their config: {wrong}")
    return network


def _model_type(folder: Path) -> object:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder / 'config.json'} is not readable JSON: {error}") from error
    return config.get("model_type") if isinstance(config, dict) else None


def _snapshot(hub_id: str, local_files_only: bool, cache_dir: str | Path | None) -> Path:
    """The folder of a hub model in the cache, fetched if need be."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError

    why: Exception | str = "local_files_only forbids to fetch it"
    for local in (True,) if local_files_only else (True, False):
        try:
            path = snapshot_download(hub_id, allow_patterns=_FILES, local_files_only=local, cache_dir=cache_dir)
        except (HTTPError, OSError, ValueError) as error:
            why = why if local else error
            continue
        if is_whole(Path(path), ""):
            return Path(path)
        why = why if local else "what the hub gave is not whole"
    raise BackboneError(
        f"{hub_id} is not in the cache and cannot be had ({why}). Run `hf download {hub_id}` where there is a network, or give "
        "the folder of a copy."
    )


def _fingerprint(folder: Path) -> str:
    """16 hexadecimal digits of the weight files: a folder's can be exchanged under the same name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
