"""A training run on disk: tensors by name, the optimisers' states among them, and the config that they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tracedge.atomic import atomic_path
from tracedge.errors import CheckpointError
from tracedge.tensors import read_tensors, write_tensors


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
        CheckpointError: the file is of a run with another config.
    """
    if not path.exists():
        return {}, 0
    tensors, metadata = read_tensors(path)
    if metadata.get("config") != described:
        raise CheckpointError(
            f"{path.parent} holds a run with another config or other data: choose another output folder, "
            "or give it what it was begun with"
        )
    for number, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in under(f"optimiser{number}/", tensors).items():
            index, name = key.split("/")
            state.setdefault(int(index), {})[name] = tensor.clone()
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return tensors, int(metadata["step"])


def cut_log(path: Path, step: int) -> None:
    """Take what came after a step out of a log of JSON lines: a run that goes on from there will write it again."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
