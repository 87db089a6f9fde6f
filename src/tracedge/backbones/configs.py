"""Configs of models and indices of their weights, read before anything is built from them: they may be anybody's.

A library builds the network that a config describes before it looks at the weights. Numbers that no model has would let it take
all memory, or go on for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracedge.errors import BackboneError
from tracedge.jsonlines import decode

MAX_BYTES = 1 << 27
"""Of a JSON file beside a model; tokenizers with their vocabularies are some 20 MB."""

_LARGEST = 1 << 24
_DEEPEST = 1000
_DEPTH = re.compile(r"layers|depth|blocks|stages")


def read_table(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        BackboneError: it cannot be read, is too large, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BackboneError(f"{path} is larger than {MAX_BYTES} bytes, which no config is.")
        found = decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(found, dict):
        raise BackboneError(f"{path} holds no table.")
    return found


def refuse_implausible(config: Mapping[str, Any], source: str) -> None:
    """Whole numbers of a config are those of a model that there could be: at most 2^24, and at most 1,000 layers.

    Raises:
        BackboneError: one is not.
    """
    for key, value in _numbers(config):
        most = _DEEPEST if _DEPTH.search(key) else _LARGEST
        if abs(value) > most:
            raise BackboneError(f"{source}: its config has {key} {_short(value)}, more than any model's ({most}).")


def shards_in(index: Path) -> dict[str, str]:
    """Tensor -> file, as an index of weights lists them; the files lie beside it.

    Raises:
        BackboneError: no such table, or a file elsewhere.
    """
    table = read_table(index).get("weight_map")
    shards = list(table.values()) if isinstance(table, dict) else []
    if not shards or not all(
        isinstance(one, str) and Path(one).name == one and one.endswith(".safetensors") for one in shards
    ):
        raise BackboneError(f"{index} names no files beside it that hold the weights.")
    return dict(table)  # type: ignore[arg-type]


def _numbers(value: object, key: str = "it") -> Iterator[tuple[str, int]]:
    if type(value) is int:
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, key)


def _short(value: int) -> str:
    return json.dumps(value)[:40]
