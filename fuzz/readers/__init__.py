"""Every reader, by its name: a file here for each kind of file that comes from outside."""

from __future__ import annotations

from fuzz.contract import Reader
from fuzz.readers import (
    archives,
    arrays,
    boundaries,
    coco,
    configs,
    diaries,
    lists,
    models,
    panoptic,
    pictures,
    semantics,
    tensors,
)

_PARTS = (pictures, coco, panoptic, arrays, semantics, lists, boundaries, archives, diaries, configs, tensors, models)
READERS: dict[str, Reader] = {reader.name: reader for part in _PARTS for reader in part.READERS}
