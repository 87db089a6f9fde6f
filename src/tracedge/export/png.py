"""Maps in [0, 1] as grey PNG files, of 16 or 8 bits, and back; whole numbers as they are."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.images import DAMAGE, MAX_PIXELS, without_warnings
from tracedge.maps import to_uint16

ONE_CHANNEL = ("1", "L", "P", "I", "I;16")
"""Pillow's modes of a PNG with one value a pixel: 1, 8 or 16 bits, or a palette's indices."""


def write_png16(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a map, or labels, as a 16-bit grey PNG, whole or not at all.

    Args:
        path: where; a folder that is not there is made.
        array: float (H, W), finite, in [0, 1], written as round(value * 65535); or uint16 (H, W), written as it is.

    Raises:
        DataError: another shape, kind or range.
    """
    if array.dtype == np.uint16 and array.ndim == 2 and array.size:
        _write(path, array)
        return
    _check_unit_map(array)
    _write(path, to_uint16(array))


def write_png8(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a map, or a picture, as an 8-bit PNG, whole or not at all.

    Args:
        path: where; a folder that is not there is made.
        array: float (H, W), finite, in [0, 1], written as round(value * 255); or uint8 (H, W) or (H, W, 3), written as
            it is.

    Raises:
        DataError: another shape, kind or range.
    """
    if array.dtype == np.uint8 and array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        _write(path, array)
        return
    _check_unit_map(array)
    _write(path, np.rint(array.astype(np.float64) * 255).astype(np.uint8))


def read_png16(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a map that `write_png16` wrote.

    Args:
        path: the file.
        max_pixels: the largest H * W accepted, checked before the pixels are decoded.

    Returns:
        float32 (H, W) in [0, 1], within half of 1/65535 of what was written (and float32's own rounding).

    Raises:
        DataError: the file is missing, damaged, too large or not a 16-bit grey PNG.
    """
    grey = read_grey(path, ("I;16",), "16-bit grey as write_png16 writes it", max_pixels=max_pixels)
    return (grey / 65535).astype(np.float32)


def read_grey(
    path: str | os.PathLike[str], modes: Collection[str], expected: str, *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read the values of a PNG of one channel as they are, (H, W), of the type that Pillow gives its mode.

    Args:
        path: the file.
        modes: Pillow's modes that are accepted; of a palette, the values are the indices.
        expected: what the modes mean, for the sentence.
        max_pixels: the largest H * W accepted, checked before the pixels are decoded.

    Raises:
        DataError: the file is missing, damaged, too large or of another mode.
    """
    return _read(path, modes, expected, max_pixels)


def read_rgb(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read the colours of a PNG as they are: uint8 (H, W, 3).

    Raises:
        DataError: the file is missing, damaged, larger than `max_pixels`, or not of 8-bit RGB.
    """
    return _read(path, ("RGB",), "8-bit RGB", max_pixels)


def read_not_black(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Where a PNG of any mode is brighter than black: bool (H, W). A palette counts by its colours, transparency not at all.

    Raises:
        DataError: the file is missing, damaged or larger than `max_pixels`.
    """
    with _opened(path, max_pixels) as image:
        return np.asarray(np.array(image.convert("L")) > 0)


def _read(path: str | os.PathLike[str], modes: Collection[str], expected: str, max_pixels: int) -> np.ndarray:
    with _opened(path, max_pixels) as image:
        if image.mode not in modes:
            raise DataError(f"is a PNG of mode {image.mode}, expected {expected}.")
        return np.array(image)


@contextmanager
def _opened(path: str | os.PathLike[str], max_pixels: int) -> Iterator[Image.Image]:
    """A PNG of which nothing but the header has been read; what is wrong with it names the file."""
    try:
        with Path(path).open("rb") as stream, without_warnings():
            image = PngImagePlugin.PngImageFile(stream)  # not Image.open, whose limit is one for the whole process
            if image.width * image.height > max_pixels:
                raise DataError(
                    f"is {image.width} x {image.height} pixels, more than the limit of {max_pixels}: "
                    "raise it by --max-pixels (max_pixels=) if you trust the file."
                )
            yield image
    except DataError as error:
        raise DataError(f"{path} {error}") from error
    except DAMAGE as error:
        raise DataError(f"{path} cannot be read as a PNG: {error}.") from error


def _write(path: str | os.PathLike[str], values: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(values).save(temporary, format="PNG")


def _check_unit_map(array: np.ndarray) -> None:
    if array.ndim != 2 or array.dtype.kind != "f" or array.size == 0:
        raise DataError(f"expected a float map (H, W) to write as PNG, got {array.dtype} {array.shape}.")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # a nan fails both
        raise DataError(f"expected a finite map in [0, 1] to write as PNG, got values in {low:g}..{high:g}.")
