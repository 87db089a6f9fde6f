"""The embedding of the null prompt: computed once by the model's own text encoders, then kept as a small file.

With it the text encoders (up to 5 billion parameters) are never loaded again. The files lie in `TRACEDGE_CACHE` or else
in ~/.cache/tracedge, under null-text/: the one place outside of a run's own folder that tracedge writes to. They may be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.loading import Place
from tracedge.tensors import read_tensors, write_tensors


@dataclass(frozen=True)
class NullText:
    """embeds: (1, T, D). pooled: (1, P), where the network takes a summary too. mask: (1, T), 1 a token, 0 padding."""

    embeds: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def repeat(self, batch: int) -> NullText:
        """The same for every image of a batch: (B, T, D), (B, P), (B, T)."""
        pooled = None if self.pooled is None else self.pooled.expand(batch, -1)
        mask = None if self.mask is None else self.mask.expand(batch, -1)
        return NullText(self.embeds.expand(batch, -1, -1), pooled, mask)

    def to(self, where: Place) -> NullText:
        """On a device, floating tensors in its dtype."""
        pooled = None if self.pooled is None else self.pooled.to(where.device, where.dtype)
        mask = None if self.mask is None else self.mask.to(where.device)
        return NullText(self.embeds.to(where.device, where.dtype), pooled, mask)


def cache_folder() -> Path:
    """Where null-prompt embeddings are kept: $TRACEDGE_CACHE, or ~/.cache/tracedge."""
    return Path(os.environ.get("TRACEDGE_CACHE") or "~/.cache/tracedge").expanduser()


def load_null_text(files: PipelineFiles, kind: str, *, where: Place, tokens: int = 77) -> NullText:
    """The null-prompt embedding of a pipeline, from the cache or else by its text encoders, which are then freed.

    Args:
        kind: a key of `text_encoders.ENCODE`.
        tokens: length that T5 pads to, where the model has one.

    Raises:
        BackboneError: it is not in the cache, and the text encoders are missing or cannot be loaded.
        CheckpointError: the file in the cache is broken (delete it).
    """
    identity = _identity(files, kind, tokens, where.dtype)
    path = _path(files, identity)
    if not path.is_file():
        from tracedge.backbones.text_encoders import encode_null_prompt

        found = encode_null_prompt(files, kind, tokens, where)
        known = {"embeds": found.embeds, "pooled": found.pooled, "mask": found.mask}
        write_tensors(path, {name: tensor for name, tensor in known.items() if tensor is not None}, identity)
    tensors, _ = read_tensors(path)
    return NullText(tensors["embeds"], tensors.get("pooled"), tensors.get("mask")).to(where)


def _identity(files: PipelineFiles, kind: str, tokens: int, dtype: torch.dtype) -> dict[str, str]:
    """Everything that the embedding depends on. The dtype is of it: each is rounded once, wherever it was computed."""
    return {
        "source": files.source,
        "revision": files.revision or files.fingerprint(files.text_parts()),
        "kind": kind,
        "tokens": str(tokens),
        "dtype": str(dtype).removeprefix("torch."),
    }


def _path(files: PipelineFiles, identity: dict[str, str]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(Path(files.source).parts[-2:])).strip("-")[:64]
    return cache_folder() / "null-text" / f"{readable}-{digest}.safetensors"
