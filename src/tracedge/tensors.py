"""Tensors on disk: safetensors with a metadata table, written whole or not at all, read strictly. Never pickle."""

from __future__ import annotations

import errno
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tracedge.atomic import atomic_path
from tracedge.errors import CheckpointError

UNREADABLE = (OSError, SafetensorError, TypeError, ValueError, RuntimeError)
"""What a damaged safetensors file makes of its readers; RuntimeError is torch's own, of sizes beyond 2^63."""

UNFIT = (*UNREADABLE, AttributeError, ArithmeticError, LookupError)
"""And what a config with values that nobody foresaw makes of the libraries that build a network of it."""

_KINDS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8} | {
    getattr(torch, f"int{bits}") for bits in (8, 16, 32, 64)
}


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write named tensors and a str -> str table under a temporary name, then rename.

    Raises:
        OSError: the disk is full or not writable; what stood there stays.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(whole, temporary, metadata)
        except SafetensorError as error:
            raise OSError(errno.EIO, f"cannot be written: {error}", str(path)) from error


def remove_torn(folder: Path) -> None:
    """Remove what a kill inside of `write_tensors` left in a folder: safetensors writes under a name of its own first."""
    for path in folder.rglob(".tmp??????"):
        if path.is_file():
            path.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the table of a file.

    Raises:
        CheckpointError: missing, truncated or not safetensors, of an unusual kind of numbers, or not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = dict(file.metadata() or {})
    except UNREADABLE as error:
        why = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is not a whole safetensors file: {why}") from error
    if strange := [name for name, tensor in tensors.items() if tensor.dtype not in _KINDS]:
        raise CheckpointError(
            f"{path} holds numbers that are not read here: {strange[0]} is {tensors[strange[0]].dtype}"
        )
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path} holds values that are not finite, first in {broken[0]}")
    return tensors, metadata
