"""Training of Mask2Former on pseudo masks (paper, tables 1 and 2): class-agnostic or panoptic, by what the labels are.

What is drawn at a step follows from (seed, process, step) alone, so that a run that was killed and resumed sees what an
uninterrupted one would have seen. Devices, precision, accumulation and several processes are accelerate's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn
from torch.utils.data import DataLoader

from tracedge.backbones.loading import place
from tracedge.checkpoints import cut_log
from tracedge.detector.config import DetectorConfig
from tracedge.detector.files import DetectorCard, is_written, read_detector, refuse_other_classes, write_detector
from tracedge.detector.labels import Labels
from tracedge.detector.network import Mask2Former, freeze_statistics, untrained
from tracedge.detector.views import View, Views, stacked
from tracedge.errors import TrainingError
from tracedge.schedule import share_at
from tracedge.training_state import TrainingState

LOG, DETECTOR = "train.jsonl", "detector"
LOG_EVERY = 20


@dataclass(frozen=True)
class Progress:
    """What the caller is told after each step. loss: Mask2Former's own, of all layers."""

    step: int
    steps: int
    loss: float
    images_per_second: float


def train_detector(
    labels: Labels,
    config: DetectorConfig,
    output: Path,
    *,
    start: str | Path | None = None,
    accelerator: Accelerator | None = None,
    device: str | None = None,
    workers: int = 0,
    checkpoint_seconds: float = 120.0,
    until_step: int | None = None,
    local_files_only: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train, or go on training, a Mask2Former; returns the folder `output/detector`.

    Writes under output: `checkpoint.safetensors`, `config.json`, `train.jsonl` (a line every 20 steps) and `detector/`, as
    `Detector.from_pretrained` and transformers take it, with every checkpoint.

    Args:
        labels: photos and their pseudo masks; their kind decides between instances of any class and panoptic.
        config: see `DetectorConfig`. output: a run that is there is resumed.
        start: a detector to go on from, as a round of self-training does; its classes are the labels'.
        device: None takes the accelerator of this machine, or else the CPU; which of several GPUs is accelerate's choice.
        workers: processes that read and cut the photos; none changes what is drawn.
        until_step: stop there, to go on later.

    Raises:
        SettingsError: an unknown device.
        CheckpointError: output holds a run with another config, or start is no detector of these classes.
        TrainingError: the loss is not finite; the last checkpoint stays.
        DataError: the labels have no mask at all, or photo after photo is broken (a single one is told by a warning, and others
            take its place).
    """
    # 1. The network, and what is averaged of it.
    labels.require_masks()
    model, first = _first_network(labels, config, start, local_files_only)
    origin: dict[str, Any] = {"labels": labels.provenance, "start": first}
    network: nn.Module = model.network.train()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    accelerator = accelerator or Accelerator(
        cpu=place(device).device.type == "cpu",  # or else several processes on CPUs would not find each other
        mixed_precision=config.precision,
        gradient_accumulation_steps=config.accumulate,
        # Of a Swin, the last norm reaches no loss: its stages have norms of their own.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    network.to(accelerator.device)
    optimiser = torch.optim.AdamW(_groups(model, config))
    rates = [group["lr"] for group in optimiser.param_groups]
    output.mkdir(parents=True, exist_ok=True)
    processes = accelerator.num_processes  # what is drawn depends on it
    described = json.dumps({"config": asdict(config), **origin, "processes": processes}, sort_keys=True)
    state = TrainingState(output, weights, network, optimiser, ema=config.ema, config=config, described=described)
    resumed = step = state.resume()
    if accelerator.is_main_process:
        cut_log(output / LOG, step)
    wrapped, prepared = accelerator.prepare(network, optimiser)

    def card_of(at: int) -> DetectorCard:
        trained = {"steps": at, "config": asdict(config), **origin}
        return DetectorCard(config.px, labels.categories, labels.panoptic, trained)

    def save(at: int) -> None:
        with state.averaged():
            write_detector(output / DETECTOR, model.network, model.pixels, card_of(at))

    # 2. Views are drawn ahead of the steps that see them.
    stop = config.steps if until_step is None else min(until_step, config.steps)
    views = Views(labels, config, accelerator.process_index)
    drawn = iter(DataLoader(views, None, sampler=range(step, stop), num_workers=workers, collate_fn=_as_it_is))
    last_write = time.monotonic()
    while step < stop:
        started = time.monotonic()
        share = share_at(step, config.steps, warmup=config.warmup, cooldown=config.cooldown)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share
        total = 0.0
        for forward, views_seen in enumerate(next(drawn)):
            # 3. A forward; masks are compared at points that are drawn.
            torch.manual_seed(_seed(config.seed, accelerator.process_index, step, forward))
            with accelerator.accumulate(wrapped):
                loss = wrapped(**_inputs(views_seen, model, accelerator.device)).loss.squeeze()
                if not bool(loss.isfinite()):
                    raise TrainingError(
                        f"the loss at step {step} is {float(loss.detach())}; the last checkpoint is kept in {output}"
                    )
                accelerator.backward(loss)

                # 4. A step, once all forwards of it are in.
                if accelerator.sync_gradients and not bool(
                    accelerator.clip_grad_norm_(weights, config.clip).isfinite()
                ):
                    raise TrainingError(
                        f"the gradient at step {step} is not finite; the last checkpoint is kept in {output}"
                    )
                prepared.step()
                prepared.zero_grad(set_to_none=True)
            total += float(loss.detach()) / config.accumulate
        step += 1
        state.average_in(step)

        # 5. Tell, log, checkpoint.
        count = config.batch * config.accumulate * accelerator.num_processes
        if on_step is not None:
            on_step(Progress(step, config.steps, total, count / max(time.monotonic() - started, 1e-9)))
        if accelerator.is_main_process:
            if step % LOG_EVERY == 0 or step == stop:
                with (output / LOG).open("a", encoding="utf-8") as log:
                    log.write(json.dumps({"step": step, "loss": round(total, 5)}) + "\n")
            if time.monotonic() - last_write > checkpoint_seconds or step == stop:
                state.write(step)
                save(step)
                last_write = time.monotonic()
    written = is_written(output / DETECTOR, card_of(step))
    if step and step == resumed and accelerator.is_main_process and not written:
        save(step)  # the run may have been killed between its last checkpoint and its detector
    return output / DETECTOR


def _first_network(
    labels: Labels, config: DetectorConfig, start: str | Path | None, local_files_only: bool
) -> tuple[Mask2Former, dict[str, Any]]:
    if start is None:
        model = untrained(config, labels.categories, local_files_only=local_files_only)
        return model, model.settings
    model, card = read_detector(start, local_files_only=local_files_only)
    refuse_other_classes(card, labels)
    freeze_statistics(model.backbone)
    return model, model.settings


def _groups(model: Mask2Former, config: DetectorConfig) -> list[dict[str, Any]]:
    """The backbone learns slower; norms and embeddings do not decay (Mask2Former's rule)."""
    of_backbone = {id(weight) for weight in model.backbone.parameters()}
    plain: set[int] = set()
    for module in model.network.modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d | nn.Embedding):
            plain |= {id(weight) for weight in module.parameters(recurse=False)}
    kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for weight in model.network.parameters():
        kinds.setdefault((id(weight) in of_backbone, id(weight) in plain), []).append(weight)
    return [
        {
            "params": [weight for weight in found if weight.requires_grad],
            "lr": config.learning_rate * (config.backbone_rate if backbone else 1),
            "weight_decay": 0.0 if undecayed else config.weight_decay,
        }
        for (backbone, undecayed), found in kinds.items()
    ]


def _inputs(views: Sequence[View], model: Mask2Former, device: torch.device) -> dict[str, Any]:
    return {
        "pixel_values": torch.from_numpy(stacked(views, model.pixels.mean, model.pixels.deviation)).to(device),
        "mask_labels": [torch.from_numpy(view.masks).float().to(device) for view in views],
        "class_labels": [torch.from_numpy(view.classes).to(device) for view in views],
    }


def _seed(*numbers: int) -> int:
    """One seed of several numbers."""
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _as_it_is(drawn: list[list[View]]) -> list[list[View]]:
    return drawn
