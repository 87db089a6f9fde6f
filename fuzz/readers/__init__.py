"""Every reader, by its name: a file here for each kind of file that comes from outside."""

from __future__ import annotations

from fuzz.contract import Reader
from fuzz.readers import (
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

READERS: dict[str, Reader] = {
    reader.name: reader
    for part in (pictures, coco, panoptic, arrays, semantics, lists, boundaries, diaries, configs, tensors, models)
    for reader in part.READERS
}
