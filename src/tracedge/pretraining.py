"""Train a mini model on any folders of images, by flow matching; small pictures first, then larger ones.

Positions of the mini model are relative to the picture, so a later stage only refines the grid of an earlier one. What is
drawn at a step (images, crops, noise levels, noise) follows from (seed, step) alone: a run that was killed and resumed
sees exactly what an uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tracedge.atomic import atomic_path
from tracedge.backbones.mini import CARD, MiniConfig, build_mini, save_mini
from tracedge.checkpoints import cut_log, read_checkpoint, under, write_checkpoint
from tracedge.errors import DataError, SettingsError, TracedgeError, TrainingError
from tracedge.images import load_image
from tracedge.schedule import share_at
from tracedge.settings import check_types

CHECKPOINT, LOG = "checkpoint.safetensors", "train.jsonl"
_ASPECTS = ((1.0, 1.0), (1.15, 0.87), (0.87, 1.15))  # rows and columns of a batch's grid, relative to a square


@dataclass(frozen=True)
class Stage:
    """steps of batches of `batch` crops of px x px pixels (or as many, in 4:3 and 3:4)."""

    px: int
    batch: int
    steps: int

    def __post_init__(self) -> None:
        check_types(self)
        if self.px < 16 or self.batch < 1 or self.steps < 1:
            raise SettingsError(f"a stage needs px >= 16, batch >= 1 and steps >= 1, got {asdict(self)}")


@dataclass(frozen=True)
class PretrainConfig:
    """Everything a run depends on, besides the images.

    learning_rate rises over `warmup` steps, stays, and falls linearly to zero over the last `cooldown` share of all steps.
    ema: decay of the averaged weights, which are the ones that are kept. store_px: images are held in memory with this
    short side, as uint8. smallest_crop: the shortest crop, as a share of the image's short side.
    """

    model: MiniConfig = field(default_factory=MiniConfig)
    stages: tuple[Stage, ...] = (Stage(64, 32, 2000), Stage(128, 8, 2000))
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 100
    cooldown: float = 0.25
    ema: float = 0.998
    store_px: int = 160
    smallest_crop: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if not self.stages or not 0 < self.learning_rate <= 1 or not 0 <= self.cooldown <= 1 or not 0 <= self.ema < 1:
            raise SettingsError("a run needs stages, learning_rate in (0, 1], cooldown in [0, 1] and ema in [0, 1)")
        if self.seed < 0 or self.warmup < 0 or not 0 <= self.weight_decay < 1:
            raise SettingsError("a run needs seed >= 0, warmup >= 0 and weight_decay in [0, 1)")
        if self.store_px < 16 or not 0 < self.smallest_crop <= 1:
            raise SettingsError("a run needs store_px >= 16 and smallest_crop in (0, 1]")

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def rate_at(self, step: int) -> float:
        """The learning rate at a step."""
        return self.learning_rate * share_at(step, self.steps, warmup=self.warmup, cooldown=self.cooldown)


def config_from_dict(table: dict[str, object]) -> PretrainConfig:
    """A config from a TOML table; unknown keys are refused.

    Raises:
        SettingsError: a key that does not exist or a value of the wrong type.
    """
    table = dict(table)
    try:
        model = MiniConfig(**table.pop("model", {}))  # type: ignore[arg-type]
        stages = table.pop("stages", None)
        if stages is not None:
            table["stages"] = tuple(Stage(**stage) for stage in stages)  # type: ignore[attr-defined]
        return PretrainConfig(model=model, **table)  # type: ignore[arg-type]
    except TypeError as error:
        raise SettingsError(f"the pretraining config does not fit: {error}") from error


@dataclass(frozen=True)
class Progress:
    """What the caller is told after each step."""

    step: int
    steps: int
    loss: float
    images_per_second: float


class ImagePool:
    """Images of several folders in memory, drawn folder by folder with equal weight."""

    def __init__(self, folders: Sequence[Sequence[Path]], store_px: int) -> None:
        """folders: the picture paths of each folder. Pictures that cannot be read are left out and listed in `skipped`."""
        self.skipped: list[tuple[Path, str]] = []
        self.groups = [
            group for paths in folders if (group := [x for p in paths if (x := self._read(p, store_px)) is not None])
        ]
        if not self.groups:
            raise DataError("no picture could be read in the folders given: nothing to train on")

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of all pixels, in order."""
        value = 0
        for image in (image for group in self.groups for image in group):
            value = zlib.crc32(image.tobytes(), value)
        return f"{value:08x}"

    def _read(self, path: Path, store_px: int) -> NDArray[np.uint8] | None:
        try:
            image = load_image(path)
        except TracedgeError as error:
            self.skipped.append((path, str(error)))
            return None
        height, width = image.shape[:2]
        scale = store_px / min(height, width)
        size = max(round(width * scale), store_px), max(round(height * scale), store_px)
        return np.asarray(
            Image.fromarray(image).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
        )

    def draw(self, rng: np.random.Generator, count: int, hw: tuple[int, int], smallest_crop: float) -> Tensor:
        """(count, 3, H, W) float in [-1, 1]: random crops, mirrored at random, resized with antialiasing."""
        crops = []
        for _ in range(count):
            group = self.groups[int(rng.integers(len(self.groups)))]
            image = group[int(rng.integers(len(group)))]
            height, width = image.shape[:2]
            fit = min(height / hw[0], width / hw[1])
            side = fit * float(rng.uniform(smallest_crop, 1.0))
            rows, columns = max(int(hw[0] * side), 8), max(int(hw[1] * side), 8)
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            crop = image[top : top + rows, left : left + columns]
            if rng.uniform() < 0.5:
                crop = crop[:, ::-1]
            tensor = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float()
            crops.append(F.interpolate(tensor, size=hw, mode="bilinear", antialias=True))
        return torch.cat(crops) / 127.5 - 1


def pretrain(
    pool: ImagePool,
    config: PretrainConfig,
    output: Path,
    *,
    device: str = "cpu",
    checkpoint_seconds: float = 120.0,
    until_step: int | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train, or go on training, a mini model; returns the folder `output/model`, which `--backbone` takes.

    Writes under output: `checkpoint.safetensors` (weights, averaged weights, optimiser, step), `config.json`,
    `train.jsonl` (a line every 20 steps) and `model/` (the averaged weights, whenever a checkpoint is written).
    A checkpoint of other settings is refused. until_step stops early, as a kill would, for tests and time limits.

    Raises:
        CheckpointError: output holds a run with another config, or of other pictures.
        TrainingError: the loss is not finite; the last checkpoint stays.
    """
    # 1. The model, its running average and its optimisers: Muon for the blocks' matrices, AdamW for the rest.
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = build_mini(config.model).to(device)
    average = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
    optimisers = _build_optimisers(network, config)
    described = json.dumps(asdict(config) | {"pictures": pool.fingerprint}, sort_keys=True)
    resumed = step = _resume(output, described, network, average, optimisers)

    cut_log(output / LOG, step)
    last_write = time.monotonic()
    stop = config.steps if until_step is None else min(until_step, config.steps)
    while step < stop:
        started = time.monotonic()
        stage = config.stage_at(step)
        rng = np.random.default_rng([config.seed, step])

        # 2. Crops, noise levels (a logit-normal that leans to little noise) and noise.
        clean = pool.draw(rng, stage.batch, _batch_hw(rng, stage.px, config.model.patch), config.smallest_crop).to(
            device
        )
        sigma = torch.from_numpy(1 / (1 + np.exp(-rng.normal(-0.6, 1.1, stage.batch)))).float().to(device)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(device)
        noised = torch.lerp(clean, noise, sigma[:, None, None, None])

        # 3. Flow matching: predict the velocity from data to noise.
        velocity = network(noised, timestep=sigma * 1000, return_dict=False)[0]
        loss = F.mse_loss(velocity, noise - clean)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss at step {step} is {value}; the last checkpoint is kept in {output}")
        loss.backward()

        # 4. Step, then average.
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = config.rate_at(step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        _average_in(average, network, min(config.ema, step / (step + 20)))

        # 5. Tell, log, checkpoint.
        rate = stage.batch / max(time.monotonic() - started, 1e-9)
        if on_step is not None:
            on_step(Progress(step, config.steps, value, rate))
        if step % 20 == 0:
            with (output / LOG).open("a") as log:
                log.write(json.dumps({"step": step, "px": stage.px, "loss": round(value, 5)}) + "\n")
        if time.monotonic() - last_write > checkpoint_seconds or step == stop:
            _write_checkpoint(output, config, described, network, average, optimisers, step)
            last_write = time.monotonic()
    if (
        step and step == resumed and _written_step(output / "model") != step
    ):  # the run may have been killed between its last checkpoint and its model
        _write_model(output / "model", config, average, step)
    return output / "model"


def _batch_hw(rng: np.random.Generator, px: int, patch: int) -> tuple[int, int]:
    rows, columns = _ASPECTS[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
    return max(round(px * rows / patch), 2) * patch, max(round(px * columns / patch), 2) * patch


def _build_optimisers(network: nn.Module, config: PretrainConfig) -> tuple[torch.optim.Optimizer, ...]:
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, weight in network.named_parameters():
        is_matrix = (
            weight.ndim == 2 and name.startswith("transformer_blocks") and not name.endswith("scale_shift_table")
        )
        (matrices if is_matrix else rest).append(weight)
    return (
        torch.optim.Muon(
            matrices, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.98)),
    )


@torch.no_grad()
def _average_in(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    for name, weight in network.state_dict().items():
        average[name].lerp_(weight.to(average[name]), 1 - decay)


def _write_checkpoint(
    output: Path,
    config: PretrainConfig,
    described: str,
    network: nn.Module,
    average: dict[str, Tensor],
    optimisers: tuple[torch.optim.Optimizer, ...],
    step: int,
) -> None:
    tensors = {f"network/{name}": weight for name, weight in network.state_dict().items()}
    tensors |= {f"average/{name}": weight for name, weight in average.items()}
    write_checkpoint(output / CHECKPOINT, tensors, optimisers, described, step)
    with atomic_path(output / "config.json") as path:
        path.write_text(json.dumps(asdict(config), indent=2, sort_keys=True) + "\n")
    _write_model(output / "model", config, average, step)


def _written_step(folder: Path) -> int | None:
    """The step of the model in a folder; it is whole, since the folder came into place in one piece."""
    try:
        return int(json.loads((folder / CARD).read_text(encoding="utf-8"))["trained"]["steps"])
    except (OSError, ValueError, KeyError):
        return None


def _write_model(folder: Path, config: PretrainConfig, average: dict[str, Tensor], step: int) -> None:
    """Write the averaged weights as a model, under another name first: what stands there is whole."""
    kept = build_mini(config.model)
    kept.load_state_dict(average)
    px = config.stages[-1].px
    card: dict[str, object] = {
        "px": px * 3 // 2,  # positions stretch: it reads half as many tokens again
        "settings": {"name": "mini", "revision": f"step-{step}", "licence": "Apache-2.0"},
        "trained": {"steps": step, "stages": [asdict(stage) for stage in config.stages], "seed": config.seed},
    }
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    save_mini(fresh, kept, card)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _resume(
    output: Path,
    described: str,
    network: nn.Module,
    average: dict[str, Tensor],
    optimisers: tuple[torch.optim.Optimizer, ...],
) -> int:
    """Load the checkpoint of `output`, if there is one, into what is given; returns the step to go on from."""
    tensors, step = read_checkpoint(output / CHECKPOINT, optimisers, described)
    if step:
        network.load_state_dict(under("network/", tensors))
        average.update({name: weight.clone() for name, weight in under("average/", tensors).items()})
    return step
