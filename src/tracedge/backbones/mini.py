"""The mini model: a small pixel-space diffusion transformer, trained here, that runs offline on a CPU.

It is diffusers' `PixArtTransformer2DModel` without text and without a VAE, trained by flow matching on [-1, 1] pixels:
x_t = (1 - s) x_0 + s noise with s = t / 1000, and the network predicts noise - x_0. Positions are the class's own
sine-cosine embedding, which stretches over any grid, so a model trained at 32 x 32 tokens also runs at 64 x 64.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tracedge.backbones import flow
from tracedge.backbones.configs import read_table, shards_in
from tracedge.backbones.protocol import ForwardProcess
from tracedge.errors import CheckpointError, SettingsError
from tracedge.settings import check_types
from tracedge.tensors import UNFIT

if TYPE_CHECKING:
    from diffusers import PixArtTransformer2DModel

CARD = "mini.json"
_SIZES = ("num_attention_heads", "attention_head_dim", "num_layers", "patch_size", "sample_size")
_MOST = 1024


@dataclass(frozen=True)
class MiniConfig:
    """The size of a mini model. patch: pixels of a token's side. grid: tokens of a side that positions are laid out for."""

    width: int = 128
    heads: int = 4
    depth: int = 6
    patch: int = 4
    grid: int = 16

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.width, self.heads, self.depth, self.patch, self.grid) < 1:
            raise SettingsError(f"every size of a mini model must be at least 1, got {asdict(self)}")
        if self.width % (4 * self.heads):
            raise SettingsError(f"width must be a multiple of 4 x heads, got width {self.width} and {self.heads} heads")


def build_mini(config: MiniConfig) -> PixArtTransformer2DModel:
    """A mini model with random weights (from torch's global generator)."""
    from diffusers import PixArtTransformer2DModel

    return PixArtTransformer2DModel(
        num_attention_heads=config.heads,
        attention_head_dim=config.width // config.heads,
        in_channels=3,
        out_channels=3,
        num_layers=config.depth,
        cross_attention_dim=None,
        caption_channels=None,
        sample_size=config.grid * config.patch,
        patch_size=config.patch,
        interpolation_scale=1,
        use_additional_conditions=False,
    )


class MiniBackbone:
    """A mini model as a `Backbone` (see backbones/protocol.py for what each member means)."""

    process: ForwardProcess = flow

    def __init__(
        self,
        network: PixArtTransformer2DModel,
        *,
        px: int,
        settings: dict[str, object],
        device: str | torch.device = "cpu",
    ) -> None:
        self.name = str(settings.get("name", "mini"))
        self.network = network.to(device=device).eval().requires_grad_(False)
        self.device, self.dtype = torch.device(device), network.dtype
        self.px, self.settings = px, settings
        self.patch = int(network.config.patch_size)
        self.multiple_of = self.patch
        self.attention_blocks = tuple(f"transformer_blocks.{i}.attn1" for i in range(network.config.num_layers))

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[slice, tuple[int, int]] | None:
        grid = latent_hw[0] // self.patch, latent_hw[1] // self.patch
        return (slice(0, grid[0] * grid[1]), grid) if block in self.attention_blocks else None

    def encode(self, images: Tensor) -> Tensor:
        return images.to(self.device, torch.float32) * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        return (latents.to(self.device, torch.float32) + 1) / 2

    def denoise(self, latents: Tensor, timestep: Tensor) -> Tensor:
        return self.network(latents.to(self.device, self.dtype), timestep=timestep.to(self.device), return_dict=False)[
            0
        ]


def save_mini(folder: Path, network: PixArtTransformer2DModel, card: dict[str, object]) -> None:
    """Write `folder/transformer/` (diffusers' own layout, safetensors in shards below 16 MB) and `folder/mini.json`."""
    network.save_pretrained(folder / "transformer", safe_serialization=True, max_shard_size="15MB")
    (folder / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")


def load_mini(
    folder: Path | None = None, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> MiniBackbone:
    """The mini model of a folder written by `tracedge pretrain`, or the one inside the package.

    Raises:
        CheckpointError: the folder is not a mini model, or its weights do not fit its config.
    """
    from diffusers import PixArtTransformer2DModel

    own = {} if folder is None else {"source": str(folder)}
    folder = folder or _shipped()
    try:
        card = read_table(folder / CARD)
        _refuse_other_networks(folder / "transformer")
        network, report = PixArtTransformer2DModel.from_pretrained(
            folder / "transformer",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            low_cpu_mem_usage=False,
            torch_dtype=dtype,
        )
        px, settings = _of_card(card, own)
    except UNFIT as error:
        raise CheckpointError(f"{folder} does not hold a mini model ({CARD} and transformer/): {error}") from error
    wrong = {key: report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]}
    if wrong or not all(bool(weight.isfinite().all()) for weight in network.state_dict().values()):
        raise CheckpointError(f"the weights in {folder} do not fit their config: {wrong or 'some are not finite'}")
    settings["weights"] = fingerprint(folder)
    return MiniBackbone(network, px=px, settings=settings, device=device)


def _of_card(card: dict[str, Any], own: dict[str, str]) -> tuple[int, dict[str, object]]:
    """px, and the settings with what is ours."""
    if type(card["px"]) is not int or not 16 <= card["px"] <= 4096 or not isinstance(card["settings"], dict):
        raise ValueError(f"{CARD} needs px, a whole number in 16..4096, and settings, a table")
    return card["px"], card["settings"] | own


def _refuse_other_networks(folder: Path) -> None:
    """A mini model's config is what `build_mini` makes of its sizes; diffusers would build anything, however large.

    Raises:
        BackboneError, KeyError, SettingsError: another config, or weights elsewhere.
    """
    path = folder / "config.json"
    said = read_table(path)
    if not all(type(said[key]) is int and 1 <= said[key] <= _MOST for key in _SIZES):
        raise SettingsError(f"the sizes in {path} are whole numbers in 1..{_MOST}")
    heads, side, depth, patch, picture = (said[key] for key in _SIZES)
    with torch.device("meta"):  # neither memory nor random numbers
        ours = build_mini(MiniConfig(heads * side, heads, depth, patch, max(picture // patch, 1))).config
    if wrong := sorted(key for key in said.keys() & ours.keys() if said[key] != ours[key]):
        raise SettingsError(f"{path} is of another network than a mini model's: {wrong[0]} differs")
    for index in folder.glob("*.index.json"):
        shards_in(index)


def fingerprint(folder: Path | None = None) -> str:
    """16 hexadecimal digits of the weight files: two models trained for equally long are not the same model."""
    digest = hashlib.sha256()
    for path in sorted(((folder or _shipped()) / "transformer").glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _shipped() -> Path:
    """The folder of the model inside the package."""
    return Path(str(resources.files("tracedge"))) / "weights" / "mini"
