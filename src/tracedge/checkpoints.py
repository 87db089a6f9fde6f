"""A training run on disk: tensors by name, the optimisers' states among them, and the config that they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tracedge.atomic import atomic_path
from tracedge.errors import CheckpointError
from tracedge.jsonlines import decode, read_and_mend
from tracedge.tensors import read_tensors, write_tensors


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], optimisers: Sequence[torch.optim.Optimizer], described: str, step: int
) -> None:
    """Write all of a run to one safetensors file, whole or not at all. described: the config, as text."""
    everything = dict(tensors)
    for number, optimiser in enumerate(optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            everything |= {f"optimiser{number}/{index}/{key}": torch.as_tensor(value) for key, value in state.items()}
    write_tensors(path, everything, {"config": described, "step": str(step), "digest": _digest(everything, str(step))})


def read_checkpoint(
    path: Path, optimisers: Sequence[torch.optim.Optimizer], described: str
) -> tuple[dict[str, Tensor], int]:
    """What `write_checkpoint` wrote: the tensors and the step; the optimisers' states are put back. No file: nothing, step 0.

    Raises:
        CheckpointError: the file is of a run with another config, or damaged.
    """
    if not path.exists():
        return {}, 0
    tensors, metadata = read_tensors(path)
    if metadata.get("config") != described:
        raise CheckpointError(
            f"{path.parent} holds a run with another config or other data: choose another output folder, "
            "or give it what it was begun with"
        )
    step = metadata.get("step", "")
    if metadata.get("digest") != _digest(tensors, step):
        raise CheckpointError(f"{path} is damaged, or of an older version: remove it, and begin anew")
    for number, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in under(f"optimiser{number}/", tensors).items():
            index, name = key.split("/")
            state.setdefault(int(index), {})[name] = tensor.clone()
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return tensors, int(step)


def _digest(tensors: Mapping[str, Tensor], step: str) -> str:
    """Of all that is put back: a bit that fell over in an optimiser's state would be seen in no other way."""
    digest = hashlib.sha256(step.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
