"""Folders of models: what their configs, indices and weights may say. Tens of milliseconds a file: libraries build networks."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from fuzz.containers import damaged_safetensors
from fuzz.contract import Reader
from fuzz.json_trees import damaged_json
from tracedge.backbones.hub import is_whole, local_pipeline
from tracedge.backbones.loading import family_of, scheduler_config
from tracedge.backbones.mini import MiniConfig, build_mini, load_mini, save_mini
from tracedge.backbones.vision import load_vision
from tracedge.backbones.vision.files import vision_files

_PROCESSOR = {"image_mean": [0.5, 0.5, 0.5], "image_std": 0.25, "do_normalize": True, "rescale_factor": 1 / 255}
_PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": [None, None],
}


@cache
def _mini() -> dict[str, bytes]:
    """The files of a mini model of 16 channels."""
    with torch.random.fork_rng(), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_mini(
            Path(folder), build_mini(MiniConfig(16, 2, 1, 4, 4)), {"px": 16, "settings": {"name": "mini", "steps": 1}}
        )
        return _files(Path(folder))


@cache
def _vit() -> dict[str, bytes]:
    """The files of a vision transformer of 16 channels, with those of its image processor."""
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng(), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        ViTModel(ViTConfig(**sizes, image_size=16, patch_size=8)).save_pretrained(folder)
        return _files(Path(folder)) | {"preprocessor_config.json": json.dumps(_PROCESSOR).encode()}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _load_mini(up: int, path: Path) -> None:
    found = load_mini(path.parents[up])
    images = torch.full((1, 3, 16, 16), 0.5)
    answer = found.denoise(found.encode(images), torch.zeros(1))
    assert answer.shape == images.shape and found.px >= 16


def _load_vision(path: Path) -> None:
    found = load_vision(path.parent, device="cpu", local_files_only=True)
    assert found.px >= 1 and found.patch >= 1
    assert all(np.isfinite(found.pixels.mean)) and min(found.pixels.deviation) > 0


def _index(path: Path) -> None:
    files = vision_files(path.parent, local_files_only=True)
    assert all(weights.parent == path.parent.resolve() for weights in files.weights)


def _indices() -> list[bytes]:
    return [json.dumps({"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}).encode()]


def _shards(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "vit"}')
    for name in ("one", "two"):
        (folder / f"{name}.safetensors").touch()


def _pipeline(path: Path) -> None:
    files = local_pipeline(path.parent)
    assert all(Path(part).name == part for part in files.parts("text_encoder", "unet", "vae"))
    assert family_of(files) in ("unet", "pixart", "mmdit", "flux")
    assert not is_whole(path.parent, "vae")


def _scheduler(path: Path) -> None:
    (path.parents[1] / "model_index.json").write_text(json.dumps(_PIPELINE))
    assert isinstance(scheduler_config(local_pipeline(path.parents[1])), dict)


def _of(files: dict[str, bytes], name: str) -> list[bytes]:
    return [files[name]]


_TRANSFORMER, _WEIGHTS = "transformer/config.json", "transformer/diffusion_pytorch_model.safetensors"
_SCHEDULER = b'{"_class_name": "DDIMScheduler", "beta_start": 0.00085, "num_train_timesteps": 1000}'

READERS = [
    Reader(
        "mini card",
        "mini.json",
        lambda: _of(_mini(), "mini.json"),
        damaged_json,
        partial(_load_mini, 0),
        lambda to: _write(_mini(), to),
    ),
    Reader(
        "mini config",
        _TRANSFORMER,
        lambda: _of(_mini(), _TRANSFORMER),
        damaged_json,
        partial(_load_mini, 1),
        lambda to: _write(_mini(), to),
    ),
    Reader(
        "mini weights",
        _WEIGHTS,
        lambda: _of(_mini(), _WEIGHTS),
        damaged_safetensors,
        partial(_load_mini, 1),
        lambda to: _write(_mini(), to),
    ),
    Reader(
        "vision config",
        "config.json",
        lambda: _of(_vit(), "config.json"),
        damaged_json,
        _load_vision,
        lambda to: _write(_vit(), to),
    ),
    Reader(
        "vision weights",
        "model.safetensors",
        lambda: _of(_vit(), "model.safetensors"),
        damaged_safetensors,
        _load_vision,
        lambda to: _write(_vit(), to),
    ),
    Reader(
        "image processor",
        "preprocessor_config.json",
        lambda: _of(_vit(), "preprocessor_config.json"),
        damaged_json,
        _load_vision,
        lambda to: _write(_vit(), to),
    ),
    Reader("index of weights", "model.safetensors.index.json", _indices, damaged_json, _index, _shards),
    Reader(
        "index of a pipeline", "model_index.json", lambda: [json.dumps(_PIPELINE).encode()], damaged_json, _pipeline
    ),
    Reader("config of a scheduler", "scheduler/scheduler_config.json", lambda: [_SCHEDULER], damaged_json, _scheduler),
]
