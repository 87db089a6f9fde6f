"""Qwen2.5-VL's vision tower: most blocks attend inside windows, a few to the whole picture; only these are recorded.

Its tokens stand in another order than the picture's: window by window, in a window group by group of merge x merge patches
(those that become one token of the language model), and in a group patch by patch. Windows, groups and patches each go
row by row; windows at the right and at the bottom are cut off where the picture ends.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from tracedge.backbones.loading import Place
from tracedge.backbones.vision.files import TOWERS, VisionFiles
from tracedge.backbones.vision.pixels import OPENAI, pixels_of
from tracedge.errors import BackboneError, SettingsError
from tracedge.tensors import UNREADABLE

MODEL_TYPE = "qwen2_5_vl"
_PX = 1008  # its files have no size, only a limit, max_pixels, whose maps of N x N would fill 17 GB as published


class QwenTower:
    """The tower as a `VisionSource` (see backbones/protocol.py), for one image at a time.

    patch: pixels of a token's side. merge: patches of a group's side. window: groups of a window's side.
    """

    def __init__(self, network: Any, files: VisionFiles) -> None:
        self.pixels = pixels_of(files.processing, files.source, OPENAI)
        self.name, self.settings = files.name, files.settings | {"pixels": self.pixels.settings}
        self.network = network.eval().requires_grad_(False)
        config = network.config
        self.patch, self.merge = int(config.patch_size), int(config.spatial_merge_size)
        self.window = int(config.window_size) // self.merge // self.patch
        self.multiple_of = self.patch * self.merge
        self.px = _long_side(files, config, self.multiple_of)
        self.device, self.dtype = network.device, network.dtype
        self.attention_blocks = tuple(f"blocks.{i}.attn" for i in sorted(config.fullatt_block_indexes))

    def image_tokens(
        self, block: str, query_length: int, key_length: int, latent_hw: tuple[int, int]
    ) -> tuple[Tensor, tuple[int, int]] | None:
        grid = latent_hw[0] // self.patch, latent_hw[1] // self.patch
        return (token_places(grid, self.merge, self.window), grid) if block in self.attention_blocks else None

    def forward(self, images: Tensor) -> Tensor:
        """The last block's tokens (1, N, D), in the tower's order, of one image (1, 3, H, W) in [0, 1].

        Sides are multiples of `multiple_of`. The picture is given as a film of equal frames, as the model was trained.

        Raises:
            SettingsError: more than one image.
        """
        if len(images) != 1:
            raise SettingsError(
                f"{self.name} takes one image at a time, got {len(images)}: its windows are one sequence."
            )
        pixels = self.pixels.standardised(images.to(self.device)).to(self.dtype)
        cells = pixels[0].unflatten(2, (-1, self.patch)).unflatten(1, (-1, self.patch))  # (3, h, p, w, p)
        rows = cells.permute(1, 3, 0, 2, 4).flatten(0, 1)  # (N, 3, p, p), row by row
        grid = cells.shape[1], cells.shape[3]
        # The tower wants the groups one after the other, as if the picture were one window.
        grouped = rows[token_places(grid, self.merge, max(grid)).argsort().to(self.device)]
        frames = grouped.unsqueeze(2).expand(-1, -1, int(self.network.config.temporal_patch_size), -1, -1)
        grid_thw = torch.tensor([[1, *grid]], device=self.device)
        tokens: Tensor = self.network(frames.flatten(1), grid_thw=grid_thw).last_hidden_state[None]
        return tokens


def _long_side(files: VisionFiles, config: Any, unit: int) -> int:
    """The table's, as far as the processor's max_pixels lets a square be; its patches must be those of the config.

    Raises:
        BackboneError: they are not, or max_pixels is no number of pixels.
    """
    said = files.processing or {}
    own = {"patch_size": "patch_size", "merge_size": "spatial_merge_size", "temporal_patch_size": "temporal_patch_size"}
    for key, of_config in own.items():
        expected = getattr(config, of_config)
        if said.get(key, expected) != expected:
            raise BackboneError(
                f"{files.source}: its image processor has {key} {said[key]!r:.60}, but its config has {of_config} {expected}."
            )
    size = said.get("size")
    most = said.get("max_pixels") or (size.get("longest_edge") if isinstance(size, dict) else None)
    px = files.px or _PX
    if most is None:
        return px
    if type(most) is not int or most < unit * unit:
        raise BackboneError(
            f"{files.source}: its image processor has max_pixels {most!r:.60}, expected a number of pixels, "
            f"{unit * unit} or more."
        )
    return min(px, math.isqrt(most) // unit * unit)


def token_places(grid_hw: tuple[int, int], merge: int, window: int) -> Tensor:
    """Where in the tower's sequence each token of the picture stands: (N,) int64 for the tokens row by row.

    Args:
        grid_hw: rows and columns of patches, multiples of `merge`.
        merge: patches of a group's side. window: groups of a window's side.

    >>> token_places((2, 6), merge=2, window=2).reshape(2, 6).tolist()
    [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]
    """
    side = merge * window  # patches of a window's side
    row, column = torch.meshgrid(*(torch.arange(length) for length in grid_hw), indexing="ij")
    place = row // side * (-(-grid_hw[1] // side)) + column // side
    for unit, count in ((merge, window), (1, merge)):  # groups in a window, patches in a group
        place = (place * count + row // unit % count) * count + column // unit % count
    return place.flatten().argsort().argsort()


def load_tower(files: VisionFiles, where: Place) -> QwenTower:
    """The tower alone: the language model's tensors are never read.

    Raises:
        BackboneError: it cannot be loaded, or its weights do not fit its config.
    """
    from huggingface_hub.errors import StrictDataclassError  # a value in the config that is not of its type
    from transformers import Qwen2_5_VLConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

    tensors: dict[str, Tensor] = {}
    for path in files.weights:
        tensors |= _tensors_of(path, TOWERS[MODEL_TYPE], where)
    try:
        config = Qwen2_5_VLConfig.from_pretrained(files.folder, local_files_only=True).vision_config
        with torch.device("meta"):  # no second copy, and no random numbers that are overwritten at once
            network = Qwen2_5_VisionTransformerPretrainedModel._from_config(
                config, attn_implementation="sdpa", dtype=where.dtype
            )
        network.load_state_dict(tensors, strict=True, assign=True)
        network.rotary_pos_emb = type(network.rotary_pos_emb)(network.config)  # its buffers are in no file
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        LookupError,
        StrictDataclassError,
    ) as error:
        sentence = " ".join(str(error).split())
        raise BackboneError(f"{files.source} cannot be loaded as Qwen2.5-VL's vision tower: {sentence}") from error
    except RuntimeError as error:  # what load_state_dict raises
        sentence = " ".join(str(error).split())
        raise BackboneError(f"{files.source}: the weights do not fit their config: {sentence}") from error
    return QwenTower(network.to(where.device), files)


def _tensors_of(path: Path, prefixes: tuple[str, ...], where: Place) -> dict[str, Tensor]:
    """The tensors of a file whose names begin so, without that beginning, each cast as it is read."""
    found = {}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), None)
                if prefix is not None:
                    found[key.removeprefix(prefix)] = file.get_tensor(key).to(where.device, where.dtype)
    except UNREADABLE as error:
        why = str(error).partition("\n")[0]
        raise BackboneError(f"{path} is not a whole safetensors file: {why}") from error
    return found
