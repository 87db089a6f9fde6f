"""Classes of pixels as other tools read them: a palette PNG of the best class, and an .npz of soft scores.

`tracedge.semantics.from_files` is the way back for both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.atomic import atomic_path
from tracedge.errors import DataError

UNKNOWN_VALUE = 255
"""The value of pixels and of scores that are of no class, as in VOC's and DHR's files."""


def write_classes(path: str | os.PathLike[str], values: NDArray[np.uint8]) -> None:
    """Write a map (H, W) of values as a PNG with VOC's palette, whole or not at all.

    Raises:
        DataError: no uint8 (H, W).
    """
    if values.dtype != np.uint8 or values.ndim != 2 or not values.size:
        raise DataError(f"classes of pixels are uint8 (H, W), got {values.dtype} {values.shape}.")
    with atomic_path(path) as temporary:
        picture = Image.fromarray(values).convert("P")
        picture.putpalette(voc_palette().ravel().tolist())
        picture.save(temporary, format="PNG")


def write_scores(path: str | os.PathLike[str], keys: NDArray[np.uint8], scores: NDArray[np.float32]) -> None:
    """Write scores (K, H, W) of the values `keys` (K,) as a compressed .npz of `keys` and `masks` (float16).

    Raises:
        DataError: another number of keys than of scores, or scores outside of [0, 1].
    """
    if scores.ndim != 3 or keys.shape != (len(scores),) or not (scores.min() >= 0 and scores.max() <= 1.001):
        raise DataError(f"scores of classes are (K, H, W) in [0, 1] with K values, got {scores.shape}, {keys.shape}.")
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, keys=keys.astype(np.int64), masks=np.minimum(scores, 1).astype(np.float16))


def write_class_names(path: str | os.PathLike[str], names: Mapping[int, str]) -> None:
    """Write what the values are called, as `read_class_names` reads it: an object of value -> name."""
    with atomic_path(path) as temporary:
        text = json.dumps({str(value): names[value] for value in sorted(names)}, indent=1)
        temporary.write_text(text + "\n", encoding="ascii", newline="\n")


def voc_palette() -> NDArray[np.uint8]:
    """(256, 3): the colour of each value, its bits dealt out to red, green and blue in turn, as in Pascal VOC's own files.

    >>> voc_palette()[[1, 15, 255]].tolist()
    [[128, 0, 0], [192, 128, 128], [224, 224, 192]]
    """
    values, colours = np.arange(256)[:, None], np.zeros((256, 3), np.int64)
    for bit in range(3):
        colours |= (values >> (3 * bit + np.arange(3)) & 1) << (7 - bit)
    return colours.astype(np.uint8)
