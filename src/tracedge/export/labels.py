"""`Instances` as a label PNG, which every program reads, and as .npz without loss."""

from __future__ import annotations

import math
import os

import numpy as np

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.export.archives import Arrays, opened_arrays, settings_of
from tracedge.export.png import read_grey, write_png16
from tracedge.images import MAX_PIXELS
from tracedge.instances import MAX_LABELS, MAX_MASK_BYTES, Instances, refuse_too_many
from tracedge.maps import canonical_json

_OURS = frozenset({"packed_masks", "shape", "scores", "settings"})
_PLAIN = frozenset({"masks"})


def write_labels(path: str | os.PathLike[str], instances: Instances) -> None:
    """Write a 16-bit grey PNG, whole or not at all: 0 background, i + 1 where instance i is.

    Where two overlap, the higher score is seen; an instance that others cover wholly is not in the file. Scores and settings
    are not either: see `write_instances`.

    Raises:
        DataError: more than 65,535 instances.
    """
    write_png16(path, instances.to_labels())


def read_labels(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Instances:
    """Read a PNG of labels: every value but 0 is an instance, in ascending order, of score 1.

    Of a palette the indices count, and 255 is a label like any other.

    Args:
        path: a PNG of one channel, of 1, 8 or 16 bits, or with a palette.
        max_pixels: the largest H * W accepted, checked before the pixels are decoded.

    Raises:
        DataError: the file is missing, damaged, too large or of several channels.
    """
    modes = ("1", "L", "P", "I;16")
    labels = read_grey(path, modes, "one channel of labels, 0 background", max_pixels=max_pixels)
    return Instances.from_labels(labels.astype(np.uint16))


def write_instances(path: str | os.PathLike[str], instances: Instances) -> None:
    """Write instances as a compressed .npz file, whole or not at all: `read_instances` gives them back equal.

    The file holds `packed_masks` (uint8, K x ceil(H W / 8): eight pixels a byte, np.unpackbits undoes it), `shape` (int64: K, H,
    W), `scores` (float64, K) and `settings` (a string of JSON); NumPy reads it with allow_pickle=False. Masks without a pixel are
    left out.

    Args:
        path: where, the suffix as given; a folder that is not there is made.
        instances: what to write.
    """
    instances = instances.seen()
    count, (height, width) = len(instances), instances.shape
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,  # a stream, since given a name NumPy would add a suffix of its own
            packed_masks=np.packbits(instances.masks.reshape(count, height * width), axis=1),
            shape=np.array([count, height, width], np.int64),
            scores=instances.scores,
            settings=np.array(canonical_json(instances.settings)),
        )


def read_instances(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, blanks: bool = False) -> Instances:
    """Read what `write_instances` wrote, or another program's `masks` (K, H, W), bool or uint8 of 0 and 1.

    Beside `masks` there may be `scores` (K,).

    Args:
        path: the .npz file.
        max_pixels: the largest H * W accepted, checked before the masks are decompressed.
        blanks: whether masks of other programs that have no pixel are kept, as a score counts them; otherwise they are left out.

    Raises:
        DataError: the file is missing, damaged, too large, or holds something else.
    """
    with opened_arrays(path, "instances") as arrays:
        found = _instances(arrays, max_pixels)
        return found if blanks else found.seen()


def _instances(arrays: Arrays, max_pixels: int) -> Instances:
    if arrays.names == _OURS:
        return _from_packed(arrays, max_pixels)
    if arrays.names - {"scores"} == _PLAIN:
        return _from_plain(arrays, max_pixels)
    raise DataError(
        f"it holds {sorted(arrays.names)}, expected {sorted(_OURS)} or {sorted(_PLAIN)}, with or without scores."
    )


def _from_packed(arrays: Arrays, max_pixels: int) -> Instances:
    shape = arrays.read("shape", 24)
    if shape.shape != (3,) or shape.dtype.kind not in "iu":
        raise DataError(f"its shape is {shape.dtype} {shape.shape}, expected three whole numbers: K, H, W.")
    count, height, width = (int(side) for side in shape)
    _check_shape(count, height, width, max_pixels)
    row = math.ceil(height * width / 8)
    packed = arrays.read("packed_masks", count * row)
    if packed.dtype != np.uint8 or packed.shape != (count, row):
        raise DataError(f"its packed_masks are {packed.dtype} {packed.shape}, expected uint8 {(count, row)}.")
    masks = np.unpackbits(packed, axis=1, count=height * width).astype(bool).reshape(count, height, width)
    return Instances(masks, arrays.read("scores", 8 * count), settings_of(arrays))


def _from_plain(arrays: Arrays, max_pixels: int) -> Instances:
    masks = arrays.read("masks", MAX_MASK_BYTES)
    if masks.ndim != 3 or masks.dtype not in (np.dtype(bool), np.dtype(np.uint8)) or 0 in masks.shape[1:]:
        raise DataError(f"its masks are {masks.dtype} {masks.shape}, expected bool or uint8 (K, H, W).")
    count, height, width = masks.shape
    _check_shape(count, height, width, max_pixels)
    if masks.size and masks.view(np.uint8).max() > 1:
        raise DataError(f"its masks are {masks.dtype} up to {masks.view(np.uint8).max()}, expected 0 and 1.")
    scores = arrays.read("scores", 16 * count) if "scores" in arrays.names else np.ones(count)
    if scores.shape != (count,):
        raise DataError(f"its scores are of shape {scores.shape}, expected one for each of {count} masks.")
    return Instances(masks.astype(bool), scores, blanks=True)


def _check_shape(count: int, height: int, width: int, max_pixels: int) -> None:
    if not (0 <= count <= MAX_LABELS and height > 0 and width > 0):
        raise DataError(f"its masks are {count} of {height} x {width}, expected 0..{MAX_LABELS} of at least one pixel.")
    if height * width > max_pixels:
        raise DataError(
            f"its masks are {height} x {width} (rows x columns), more than the limit of {max_pixels} pixels: "
            "raise it by --max-pixels (max_pixels=) if you trust the file."
        )
    refuse_too_many(count, (height, width))
