"""Self-distillation: LoRA and the edge decoder, trained together on pseudo labels (paper, 3.4).

What is drawn at a step follows from (seed, process, step) alone, so that a run that was killed and resumed sees what an
uninterrupted one would have seen. Devices, precision, accumulation and several processes are accelerate's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from tracedge.atomic import atomic_path
from tracedge.backbones.protocol import Backbone
from tracedge.checkpoints import cut_log, read_checkpoint, under, write_checkpoint
from tracedge.errors import CheckpointError, DataError, SettingsError, TrainingError
from tracedge.student.adapters import add_adapters, averaged, load_adapter_state
from tracedge.student.crops import Crops
from tracedge.student.decoder import DecoderConfig, EdgeDecoder
from tracedge.student.files import ADAPTERS, DECODER, StudentCard, find_student, fingerprint, read_student, refuse_other
from tracedge.student.losses import cross_entropy, dice_loss, reconstruction_loss
from tracedge.student.network import Student, read_divergences
from tracedge.student.predictor import EdgePredictor
from tracedge.student.pseudo_labels import RULES, PseudoLabels

CHECKPOINT, LOG = "checkpoint.safetensors", "train.jsonl"


@dataclass(frozen=True)
class DistillConfig:
    """Everything a run depends on, besides the labels and the backbone.

    px: side in pixels of the crops that the backbone sees; the decoder sees `detail` times as many. rule: how the soft
    edges become labels. rank: of LoRA; 0 trains the decoder alone. dice, cross_entropy, reconstruction: weights of the
    losses, 0 leaves one out. learning_rate is the decoder's, adapter_rate LoRA's; both rise over `warmup` steps, stay, and
    fall to zero over the last `cooldown` share. batch: crops of one forward in one process; accumulate: forwards of one step.
    blurred: share of the crops that are made smaller and larger again, as small photos are when they are brought to the
    model's size. precision: "no" or "bf16". checkpointing: compute activations twice, for memory.
    """

    px: int = 128
    detail: int = 2
    rule: str = "ridges"
    rank: int = 64
    width: int = 32
    steps: int = 1000
    batch: int = 4
    accumulate: int = 1
    learning_rate: float = 2e-3
    adapter_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup: int = 50
    cooldown: float = 0.4
    dice: float = 1.0
    cross_entropy: float = 0.0
    reconstruction: float = 1.0
    ema: float = 0.99
    blurred: float = 0.5
    precision: str = "no"
    checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise SettingsError(f"unknown rule of pseudo labels {self.rule!r}: choose one of {', '.join(RULES)}")
        counts = (self.px, self.detail, self.steps, self.batch, self.accumulate, self.rank, self.seed, self.warmup)
        if not all(isinstance(count, int) for count in counts):
            raise SettingsError("px, detail, steps, batch, accumulate, rank, seed and warmup are whole numbers")
        if min(self.px, self.detail, self.steps, self.batch, self.accumulate) < 1 or self.rank < 0:
            raise SettingsError("px, detail, steps, batch and accumulate are at least 1, rank at least 0")
        if min(self.dice, self.cross_entropy, self.reconstruction) < 0 or self.dice + self.cross_entropy == 0:
            raise SettingsError("losses weigh 0 or more, and one of dice and cross_entropy more than 0")
        if not 0 <= self.blurred <= 1:
            raise SettingsError(f"blurred is a share, from 0 to 1, got {self.blurred}")
        if min(self.learning_rate, self.adapter_rate) <= 0 or not 0 <= self.cooldown <= 1 or not 0 <= self.ema < 1:
            raise SettingsError("rates must be above 0, cooldown in [0, 1] and ema in [0, 1)")
        if self.precision not in ("no", "bf16"):
            raise SettingsError(f'precision is "no" or "bf16", got {self.precision!r}')

    def share_at(self, step: int) -> float:
        """The share of the learning rates at a step."""
        rise = min(1.0, (step + 1) / max(self.warmup, 1))
        return min(rise, (self.steps - step) / max(self.cooldown * self.steps, 1), 1.0)


def distill_config(table: Mapping[str, Any]) -> DistillConfig:
    """A config from a TOML table.

    Raises:
        SettingsError: a key that does not exist, or a value of the wrong type.
    """
    try:
        return DistillConfig(**table)
    except TypeError as error:
        raise SettingsError(f"the distillation config does not fit: {error}") from error


@dataclass(frozen=True)
class Progress:
    """What the caller is told after each step. losses: by name, as weighted parts were before their weights."""

    step: int
    steps: int
    losses: Mapping[str, float]
    images_per_second: float


def distill(
    labels: Sequence[PseudoLabels],
    backbone: Backbone,
    config: DistillConfig,
    output: Path,
    *,
    start: str | Path | None = None,
    accelerator: Accelerator | None = None,
    checkpoint_seconds: float = 120.0,
    until_step: int | None = None,
    on_step: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[int, EdgePredictor], Mapping[str, float]] | None = None,
) -> Path:
    """Train, or go on training, a student of a backbone on folders of labels; returns the folder `output/student`.

    Writes under output: `checkpoint.safetensors`, `config.json`, `train.jsonl` (a line every 20 steps) and `student/`
    (the averaged weights, as `EdgePredictor.from_pretrained` takes them) with every checkpoint. The backbone is changed:
    the adapters stay in it. start: a student to go on from (as `EdgePredictor.from_pretrained` takes it), for pictures of
    another kind or for longer; its rank, width and detail are the config's. on_checkpoint gets the step and the student as
    it is, and what it returns (a validation's figures) goes into train.jsonl.

    Raises:
        DataError: the labels were made by another backbone, or at different sizes.
        CheckpointError: output holds a run with another config, or start is no student of this backbone and these sizes.
        TrainingError: the loss is not finite; the last checkpoint stays.
    """
    refuse_labels_that_differ(labels, backbone)
    origin: dict[str, Any] = {"labels": [dict(folder.provenance) for folder in labels]}
    first = None
    if start is not None:
        first = _first_weights(start, backbone, config)
        origin["start"] = fingerprint(first)
    # Without reconstruction, the last block's values reach no loss.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = accelerator or Accelerator(
        mixed_precision=config.precision, gradient_accumulation_steps=config.accumulate, kwargs_handlers=[unused]
    )
    side = config.px * config.detail
    crops = Crops(labels, config.rule, side, config.detail * backbone.multiple_of, config.blurred)

    # 1. The frozen backbone with LoRA, and the decoder, standardised on the first crops.
    torch.manual_seed(config.seed)
    adapters = add_adapters(backbone, config.rank, config.seed) if config.rank else []
    if config.checkpointing:
        _check_activations_twice(backbone.network)
    decoder = _first_decoder(backbone, crops, config).to(backbone.device)
    student = Student(backbone, decoder, config.detail)
    if first is not None:
        decoder.load_state_dict(under(DECODER, first))
        load_adapter_state(backbone.network, under(ADAPTERS, first))
    weights = [*decoder.parameters(), *adapters]
    average = [weight.detach().clone() for weight in weights]
    optimiser = torch.optim.AdamW(
        [{"params": list(decoder.parameters())}, *([{"params": adapters}] if adapters else [])],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=config.weight_decay,
    )
    output.mkdir(parents=True, exist_ok=True)
    resumed = step = _resume(output, config, origin, decoder, weights, average, optimiser)
    if accelerator.is_main_process:
        cut_log(output / LOG, step)
    wrapped, prepared = accelerator.prepare(student, optimiser)

    def save(at: int) -> EdgePredictor:
        """The student as it is, written and given back."""
        predictor = EdgePredictor(student, card_of(backbone, config, origin, at))
        predictor.save_pretrained(output / "student")
        return predictor

    last_write = time.monotonic()
    stop = config.steps if until_step is None else min(until_step, config.steps)
    while step < stop:
        started = time.monotonic()
        for group, rate in zip(optimiser.param_groups, (config.learning_rate, config.adapter_rate), strict=False):
            group["lr"] = rate * config.share_at(step)
        parts: dict[str, float] = {}
        for forward in range(config.accumulate):
            # 2. Crops; the edges and the picture that the student makes of them.
            rng = np.random.default_rng([config.seed, accelerator.process_index, step, forward])
            images, truth = (part.to(accelerator.device) for part in crops.draw(rng, config.batch))
            with accelerator.accumulate(wrapped):
                logits, prediction = wrapped(images)

                # 3. The losses, each with its weight.
                losses = _losses(student, config, logits, prediction, images, truth)
                loss = torch.stack([weight * value for weight, value in losses.values()]).sum()
                if not bool(loss.isfinite()):
                    raise TrainingError(
                        f"the loss at step {step} is {float(loss.detach())}; the last checkpoint is kept in {output}"
                    )
                accelerator.backward(loss)

                # 4. A step, once all forwards of it are in.
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(weights, 1.0)
                prepared.step()
                prepared.zero_grad(set_to_none=True)
            for name, (_, value) in losses.items():
                parts[name] = parts.get(name, 0.0) + float(value.detach()) / config.accumulate
        step += 1
        with torch.no_grad():
            for mean, weight in zip(average, weights, strict=True):
                mean.lerp_(weight.detach(), 1 - min(config.ema, step / (step + 20)))

        # 5. Tell, log, checkpoint.
        count = config.batch * config.accumulate * accelerator.num_processes
        if on_step is not None:
            on_step(Progress(step, config.steps, parts, count / max(time.monotonic() - started, 1e-9)))
        if accelerator.is_main_process:
            if step % 20 == 0 or step == stop:
                _log(output, {"step": step, **{name: round(value, 5) for name, value in parts.items()}})
            if time.monotonic() - last_write > checkpoint_seconds or step == stop:
                _write_checkpoint(output, config, origin, decoder, weights, average, optimiser, step)
                with averaged(weights, average):
                    predictor = save(step)
                    if on_checkpoint is not None:
                        _log(output, {"step": step, **on_checkpoint(step, predictor)})
                last_write = time.monotonic()
    if step and step == resumed and accelerator.is_main_process:
        with averaged(weights, average):  # the run may have been killed between its last checkpoint and its student
            save(step)
    return output / "student"


def refuse_labels_that_differ(labels: Sequence[PseudoLabels], backbone: Backbone) -> None:
    """Labels teach the backbone that made them, at the size that it had.

    Raises:
        DataError: no folder, another name, source, revision or weights, or folders of different sizes.
    """
    if not labels:
        raise DataError("there are no pseudo labels to learn from: give a folder that `tracedge teach` wrote.")
    for folder in labels:
        theirs = folder.provenance.get("backbone")
        if theirs != json.loads(json.dumps(backbone.settings)):
            raise DataError(
                f"the labels in {folder.folder} were made by {theirs}, but the backbone is {backbone.settings}: "
                "run `tracedge teach` with the backbone that is to be distilled."
            )
        for name in ("size", "taught_px"):
            ours, first = folder.provenance.get(name), labels[0].provenance.get(name)
            if ours != first:
                raise DataError(f"{folder.folder} was taught at {name} {ours}, {labels[0].folder} at {first}.")


def card_of(backbone: Backbone, config: DistillConfig, origin: Mapping[str, Any], step: int) -> StudentCard:
    """What is written beside a student's weights. origin: the provenance of its labels, and what it started from."""
    return StudentCard(
        backbone=dict(backbone.settings),
        size=int(origin["labels"][0]["size"]),
        detail=config.detail,
        rank=config.rank,
        width=config.width,
        blocks=len(backbone.attention_blocks),
        trained={"steps": step, "config": asdict(config), **origin},
    )


def _losses(
    student: Student, config: DistillConfig, logits: Tensor, prediction: Tensor, images: Tensor, truth: Tensor
) -> dict[str, tuple[float, Tensor]]:
    """Name -> (weight, value) of the losses that weigh something."""
    losses: dict[str, tuple[float, Tensor]] = {}
    if config.dice:
        losses["dice"] = config.dice, dice_loss(logits, truth)
    if config.cross_entropy:
        losses["cross_entropy"] = config.cross_entropy, cross_entropy(logits, truth)
    if config.reconstruction and config.rank:
        decoded = student.backbone.decode(prediction)
        losses["reconstruction"] = config.reconstruction, reconstruction_loss(decoded, student.seen(images))
    return losses


def _first_weights(start: str | Path, backbone: Backbone, config: DistillConfig) -> dict[str, Tensor]:
    """The tensors of a student to go on from.

    Raises:
        CheckpointError: it was distilled from another model, or has other sizes than the config asks for.
    """
    tensors, card = read_student(find_student(start))
    refuse_other(card, backbone)
    for name in ("rank", "width", "detail"):
        theirs, ours = getattr(card, name), getattr(config, name)
        if theirs != ours:
            raise CheckpointError(f"{start} has {name} {theirs}, the config {ours}: a student goes on as it began.")
    return tensors


def _first_decoder(backbone: Backbone, crops: Crops, config: DistillConfig) -> EdgeDecoder:
    images, _ = crops.draw(np.random.default_rng([config.seed, 2**31]), max(8, config.batch))
    parts = []
    with torch.no_grad():
        for image in images.split(1):
            seen = F.avg_pool2d(image, config.detail)
            parts.append(read_divergences(backbone, backbone.encode(seen))[0].cpu())
    divergences = torch.cat(parts)
    decoder = EdgeDecoder(DecoderConfig(divergences.shape[1], config.width))
    decoder.standardise(divergences)
    return decoder


def _check_activations_twice(network: nn.Module) -> None:
    switch = getattr(network, "enable_gradient_checkpointing", None)
    if switch is None:
        raise SettingsError("this network cannot compute its activations twice: set checkpointing = false")
    switch()
    network.train()  # diffusers looks at this; there is no dropout in these networks


def _log(output: Path, line: Mapping[str, object]) -> None:
    with (output / LOG).open("a") as log:
        log.write(json.dumps(line) + "\n")


def _described(config: DistillConfig, origin: Mapping[str, Any]) -> str:
    return json.dumps({"config": asdict(config), **origin}, sort_keys=True)


def _write_checkpoint(
    output: Path,
    config: DistillConfig,
    origin: Mapping[str, Any],
    decoder: EdgeDecoder,
    weights: Sequence[nn.Parameter],
    average: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    step: int,
) -> None:
    tensors = {f"weight/{i}": weight.detach() for i, weight in enumerate(weights)}
    tensors |= {f"average/{i}": mean for i, mean in enumerate(average)}
    tensors |= {f"buffer/{name}": buffer for name, buffer in decoder.named_buffers()}
    write_checkpoint(output / CHECKPOINT, tensors, [optimiser], _described(config, origin), step)
    with atomic_path(output / "config.json") as path:
        path.write_text(json.dumps(asdict(config), indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def _resume(
    output: Path,
    config: DistillConfig,
    origin: Mapping[str, Any],
    decoder: EdgeDecoder,
    weights: Sequence[nn.Parameter],
    average: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
) -> int:
    """Load the checkpoint of `output`, if there is one, into what is given; returns the step to go on from."""
    tensors, step = read_checkpoint(output / CHECKPOINT, [optimiser], _described(config, origin))
    if step:
        for i, (weight, mean) in enumerate(zip(weights, average, strict=True)):
            weight.copy_(tensors[f"weight/{i}"])
            mean.copy_(tensors[f"average/{i}"])
        for name, buffer in decoder.named_buffers():
            buffer.copy_(tensors[f"buffer/{name}"])
    return step
