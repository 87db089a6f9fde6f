"""Maps in [0, 1] as grey PNG files, of 16 or 8 bits, and back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.maps import to_uint16


def write_png16(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a map as a 16-bit grey PNG: round(value * 65535). The file is written whole or not at all.

    Args:
        path: where; a folder that is not there is made.
        array: float (H, W), finite, in [0, 1].

    Raises:
        DataError: another shape, kind or range.
    """
    _check_unit_map(array)
    _write(path, to_uint16(array))


def write_png8(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a map as an 8-bit grey PNG: round(value * 255). As `write_png16`, but 257 times coarser.

    Raises:
        DataError: another shape, kind or range.
    """
    _check_unit_map(array)
    _write(path, np.rint(array.astype(np.float64) * 255).astype(np.uint8))


def read_png16(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a map that `write_png16` wrote.

    Returns:
        float32 (H, W) in [0, 1], within half of 1/65535 of what was written (and float32's own rounding).

    Raises:
        DataError: the file is missing, damaged or not a 16-bit grey PNG.
    """
    try:
        with Path(path).open("rb") as stream:
            # The plugin and not Image.open, whose limit of size is one for the whole process: this file is our own.
            image = PngImagePlugin.PngImageFile(stream)
            mode, values = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a PNG: {error}.") from error
    if mode != "I;16":
        raise DataError(f"{path} is a PNG of mode {mode}, expected 16-bit grey as write_png16 writes it.")
    return (values / 65535).astype(np.float32)


def _write(path: str | os.PathLike[str], values: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(values).save(temporary, format="PNG")


def _check_unit_map(array: np.ndarray) -> None:
    if array.ndim != 2 or array.dtype.kind != "f" or array.size == 0:
        raise DataError(f"expected a float map (H, W) to write as PNG, got {array.dtype} {array.shape}.")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # a nan fails both
        raise DataError(f"expected a finite map in [0, 1] to write as PNG, got values in {low:g}..{high:g}.")
