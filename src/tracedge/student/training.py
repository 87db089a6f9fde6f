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

from tracedge.backbones.protocol import Backbone
from tracedge.checkpoints import cut_log, under
from tracedge.errors import CheckpointError, DataError, SettingsError, TrainingError
from tracedge.schedule import share_at
from tracedge.student.adapters import add_adapters, load_adapter_state
from tracedge.student.config import DistillConfig
from tracedge.student.crops import Crops
from tracedge.student.decoder import DecoderConfig, EdgeDecoder
from tracedge.student.files import (
    ADAPTERS,
    DECODER,
    StudentCard,
    find_student,
    fingerprint,
    is_same_model,
    is_written,
    read_student,
    refuse_other,
)
from tracedge.student.losses import cross_entropy, dice_loss, reconstruction_loss
from tracedge.student.network import Student, read_attention
from tracedge.student.predictor import EdgePredictor
from tracedge.student.pseudo_labels import PseudoLabels
from tracedge.training_state import TrainingState

LOG = "train.jsonl"


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
    the adapters stay in it. start: a student to go on from (as `EdgePredictor.from_pretrained` takes it), for longer or for
    pictures of another kind; its width, detail, values and rank (or no LoRA) are the config's. on_checkpoint gets the step
    and the student as it is, and what it returns (a validation's figures) goes into train.jsonl.

    Raises:
        DataError: the labels were made by another backbone, or at different sizes.
        CheckpointError: output holds a run with another config, or start is no student of this backbone and these sizes.
        TrainingError: the loss is not finite; the last checkpoint stays.
    """
    refuse_labels_that_differ(labels, backbone, config)
    origin: dict[str, Any] = {
        "labels": [folder.provenance | {"pictures": len(folder), "digest": folder.fingerprint} for folder in labels]
    }
    first = None
    if start is not None:
        first = _first_weights(start, backbone, config)
        origin["start"] = fingerprint(first)
    # Without reconstruction, what follows the last block's attention reaches no loss.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = accelerator or Accelerator(
        cpu=backbone.device.type == "cpu",  # or else several processes on CPUs would not find each other
        mixed_precision=config.precision,
        gradient_accumulation_steps=config.accumulate,
        kwargs_handlers=[unused],
    )
    side = config.px * config.detail
    crops = Crops(labels, config.rule, side, config.detail * backbone.multiple_of, config.blurred)

    # 1. The frozen backbone with LoRA, and the decoder, standardised on the first crops.
    torch.manual_seed(config.seed)
    adapters = add_adapters(backbone, config.rank, config.seed) if config.rank else []
    if config.checkpointing:
        _check_activations_twice(backbone.network)
    decoder = _first_decoder(backbone, crops, config).to(backbone.device)
    student = Student(backbone, decoder, config.detail, config.values)
    if first is not None:
        decoder.load_state_dict(under(DECODER, first))
        if under(ADAPTERS, first):
            load_adapter_state(backbone.network, under(ADAPTERS, first))
    weights = [*decoder.parameters(), *adapters]
    optimiser = torch.optim.AdamW(
        [{"params": list(decoder.parameters())}, *([{"params": adapters}] if adapters else [])],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=config.weight_decay,
    )
    output.mkdir(parents=True, exist_ok=True)
    described = json.dumps({"config": asdict(config), **origin}, sort_keys=True)
    state = TrainingState(output, weights, decoder, optimiser, ema=config.ema, config=config, described=described)
    resumed = step = state.resume()
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
        share = share_at(step, config.steps, warmup=config.warmup, cooldown=config.cooldown)
        for group, rate in zip(optimiser.param_groups, (config.learning_rate, config.adapter_rate), strict=False):
            group["lr"] = rate * share
        parts: dict[str, float] = {}
        for forward in range(config.accumulate):
            # 2. Crops; the edges and the picture that the student makes of them.
            rng = np.random.default_rng([config.seed, accelerator.process_index, step, forward])
            images, truth = (part.to(accelerator.device) for part in crops.draw(rng, config.batch))
            with accelerator.accumulate(wrapped):
                logits, prediction = wrapped(images, bool(config.reconstruction and config.rank))

                # 3. The losses, each with its weight.
                losses = _losses(student, config, logits, prediction, images, truth)
                loss = torch.stack([weight * value for weight, value in losses.values()]).sum()
                if not bool(loss.isfinite()):
                    raise TrainingError(
                        f"the loss at step {step} is {float(loss.detach())}; the last checkpoint is kept in {output}"
                    )
                accelerator.backward(loss)

                # 4. A step, once all forwards of it are in.
                if accelerator.sync_gradients and not bool(accelerator.clip_grad_norm_(weights, 1.0).isfinite()):
                    raise TrainingError(
                        f"the gradient at step {step} is not finite; the last checkpoint is kept in {output}"
                    )
                prepared.step()
                prepared.zero_grad(set_to_none=True)
            for name, (_, value) in losses.items():
                parts[name] = parts.get(name, 0.0) + float(value.detach()) / config.accumulate
        step += 1
        state.average_in(step)

        # 5. Tell, log, checkpoint.
        count = config.batch * config.accumulate * accelerator.num_processes
        if on_step is not None:
            on_step(Progress(step, config.steps, parts, count / max(time.monotonic() - started, 1e-9)))
        if accelerator.is_main_process:
            if step % 20 == 0 or step == stop:
                _log(output, {"step": step, **{name: round(value, 5) for name, value in parts.items()}})
            if time.monotonic() - last_write > checkpoint_seconds or step == stop:
                state.write(step)
                with state.averaged():
                    predictor = save(step)
                    if on_checkpoint is not None:
                        _log(output, {"step": step, **on_checkpoint(step, predictor)})
                last_write = time.monotonic()
    written = is_written(output / "student", card_of(backbone, config, origin, step))
    if step and step == resumed and accelerator.is_main_process and not written:
        with state.averaged():  # the run may have been killed between its last checkpoint and its student
            save(step)
    return output / "student"


def refuse_labels_that_differ(labels: Sequence[PseudoLabels], backbone: Backbone, config: DistillConfig) -> None:
    """Labels teach the backbone that made them, at the size that it had, by a rule that they are made for.

    Raises:
        DataError: no folder, other weights, folders of different sizes, or labels of another resolution than the decoder's.
        SettingsError: `mean_deviation` for thin edges, where nothing is interior.
    """
    if not labels:
        raise DataError("there are no pseudo labels to learn from: give a folder that `tracedge teach` wrote.")
    size = labels[0].provenance["size"]
    for folder in labels:
        theirs, taught_px = folder.provenance.get("backbone"), folder.provenance["taught_px"]
        if not isinstance(theirs, dict) or not is_same_model(theirs, json.loads(json.dumps(backbone.settings))):
            raise DataError(
                f"the labels in {folder.folder} were made by {theirs}, but the backbone is {backbone.settings}: "
                "run `tracedge teach` with the backbone that is to be distilled."
            )
        if folder.provenance.get("size") != size:
            raise DataError(
                f"{folder.folder} was taught at size {folder.provenance.get('size')}, {labels[0].folder} at {size}."
            )
        if taught_px != config.detail * size:
            raise DataError(
                f"{folder.folder} was taught at {taught_px} px for a model that sees {size} px, which does not fit detail "
                f"{config.detail}: teach with --px {config.detail * size}, or set another detail."
            )
        if config.rule == "mean_deviation" and folder.provenance.get("snap"):
            raise SettingsError(
                f"the rule mean_deviation is for smooth maps (`tracedge teach --no-snap`): the thin edges in {folder.folder} "
                "would leave no interior."
            )


def card_of(backbone: Backbone, config: DistillConfig, origin: Mapping[str, Any], step: int) -> StudentCard:
    """What is written beside a student's weights. origin: the provenance of its labels, and what it started from."""
    return StudentCard(
        backbone=dict(backbone.settings),
        size=int(origin["labels"][0]["size"]),
        detail=config.detail,
        rank=config.rank,
        width=config.width,
        values=config.values,
        blocks=len(backbone.attention_blocks),
        trained={"steps": step, "config": asdict(config), **origin},
    )


def _losses(
    student: Student, config: DistillConfig, logits: Tensor, prediction: Tensor | None, images: Tensor, truth: Tensor
) -> dict[str, tuple[float, Tensor]]:
    """Name -> (weight, value) of the losses that weigh something."""
    losses: dict[str, tuple[float, Tensor]] = {}
    if config.dice:
        losses["dice"] = config.dice, dice_loss(logits, truth)
    if config.cross_entropy:
        losses["cross_entropy"] = config.cross_entropy, cross_entropy(logits, truth)
    if prediction is not None:
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
    for name in ("rank", "width", "detail", "values"):
        theirs, ours = getattr(card, name), getattr(config, name)
        if theirs != ours and not (name == "rank" and theirs == 0):  # a decoder alone may get LoRA now
            raise CheckpointError(f"{start} has {name} {theirs}, the config {ours}: a student goes on as it began.")
    return tensors


def _first_decoder(backbone: Backbone, crops: Crops, config: DistillConfig) -> EdgeDecoder:
    images, _ = crops.draw(np.random.default_rng([config.seed, 2**31]), max(8, config.batch))
    parts = []
    with torch.no_grad():
        for image in images.split(1):
            seen = F.avg_pool2d(image, config.detail)
            parts.append(read_attention(backbone, backbone.encode(seen), config.values)[0].cpu())
    reading = torch.cat(parts)
    decoder = EdgeDecoder(DecoderConfig(reading.shape[1], config.width))
    decoder.standardise(reading)
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
