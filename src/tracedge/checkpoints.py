"""A training run on disk: tensors by name, the optimisers' states among them, and the config that they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tracedge.atomic import atomic_path
from tracedge.errors import CheckpointError
from tracedge.jsonlines import decode, read_and_mend
from tracedge.tensors import read_tensors, write_tensors

_STEP = re.compile("[0-9]{1,15}")


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], optimisers: Sequence[torch.optim.Optimizer], described: str, step: int
) -> None:
    """Write all of a run to one safetensors file, whole or not at all. described: the config, as text."""
    everything = dict(tensors)
    for number, optimiser in enumerate(optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            everything |= {f"optimiser{number}/{index}/{key}": torch.as_tensor(value) for key, value in state.items()}
    write_tensors(path, everything, {"config": described, "step": str(step)})


def read_checkpoint(
    path: Path, optimisers: Sequence[torch.optim.Optimizer], described: str
) -> tuple[dict[str, Tensor], int]:
    """What `write_checkpoint` wrote: the tensors and the step; the optimisers' states are put back. No file: nothing, step 0.

    Raises:
        CheckpointError: the file is of a run with another config, is damaged, or does not fit the optimisers.
    """
    if not path.exists():
        return {}, 0
    tensors, metadata = read_tensors(path)
    if metadata.get("config") != described:
        raise CheckpointError(
            f"{path.parent} holds a run with another config or other data: choose another output folder, "
            "or give it what it was begun with"
        )
    if not _STEP.fullmatch(metadata.get("step", "")):
        raise CheckpointError(f"{path} does not say after which step it was written: remove it, and begin anew")
    states = [_state(path, number, optimiser, tensors) for number, optimiser in enumerate(optimisers)]
    for optimiser, state in zip(optimisers, states, strict=True):
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return tensors, int(metadata["step"])


def _state(
    path: Path, number: int, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> dict[int, dict[str, Tensor]]:
    """What an optimiser knows of each of its weights, by the weight's place: numbers, and tensors of the weight's shape."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in under(f"optimiser{number}/", tensors).items():
        index, _, name = key.partition("/")
        weight = weights[int(index)] if _STEP.fullmatch(index) and int(index) < len(weights) else None
        if weight is None or tensor.shape not in ((), weight.shape) or not tensor.is_floating_point():
            raise CheckpointError(
                f"{path} does not fit its training: {key} of optimiser {number} is of no weight's shape"
            )
        state.setdefault(int(index), {})[name] = tensor.clone()
    if len({frozenset(known) for known in state.values()}) > 1:
        raise CheckpointError(f"{path} is not whole: optimiser {number} knows more of some weights than of others")
    return state


def cut_log(path: Path, step: int) -> None:
    """Take what came after a step out of a log of JSON lines: a run that goes on from there will write it again.

    Raises:
        CheckpointError: a line that is no entry of a training, other than a torn one at the end.
    """
    if not path.exists():
        return
    kept = [line for number, line in enumerate(read_and_mend(path), 1) if _step_of(path, number, line) <= step]
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(line + b"\n" for line in kept))


def _step_of(path: Path, number: int, line: bytes) -> int:
    try:
        entry = decode(line)
    except ValueError:
        entry = None
    step = entry.get("step") if isinstance(entry, dict) else None
    if type(step) is not int:
        raise CheckpointError(f"line {number} of {path} is no entry of a training: remove that line, or the file")
    return step


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
