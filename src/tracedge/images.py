"""The way in: a path, a PIL image or an array becomes 8-bit RGB; `Fit` takes it to a model's frame and back.

Pictures come from strangers. Only six formats are read, each known by its first bytes and never by its name, and the
size is judged before one pixel is decoded. What a picture is turned into is the same for a file, a PIL image and an
array, and is written down at `load_image`.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

# Importing a plugin registers it. No other format of Pillow's forty is ever tried.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageOps,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from tracedge.errors import ImageError, TooManyPixelsError
from tracedge.fit import Fit

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "EncodedImage",
    "Fit",
    "ImageSource",
    "content_hash",
    "load_image",
    "load_thumbnail",
]


@dataclass(frozen=True)
class EncodedImage:
    """A picture that is no file of its own: a member of an archive, a cell of a table, an object of a store.

    name: what sentences call it. read: gives its bytes, those of a file, or raises why it cannot.
    """

    name: str
    read: Callable[[], bytes]

    def __str__(self) -> str:
        return self.name


ImageSource: TypeAlias = str | os.PathLike[str] | EncodedImage | Image.Image | np.ndarray

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
MAX_PIXELS = 100_000_000

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    MemoryError,
)
"""What Pillow's parsers are known to raise on a damaged file, besides what they document."""

_FLOAT_SLACK = 1e-3  # a quarter of an 8-bit step: the rounding of an earlier resize is not an error
_DEEP_GREY = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture as 8-bit RGB.

    | what comes | what is done |
    | --- | --- |
    | EXIF orientation | applied, so that the picture stands as a viewer shows it |
    | transparency (alpha, palette or colour key) | composited on white |
    | CMYK, YCbCr, LAB, HSV, palette, 1-bit, grey | Pillow's conversion; embedded colour profiles are not applied |
    | 16-bit grey | value / 257, rounded: 0 -> 0, 65535 -> 255, whatever range the picture uses |
    | 32-bit integer grey (mode "I") | the same if all values are in 0..65535, else `ImageError` |
    | float grey (mode "F"), float arrays | value * 255, rounded; values outside [0, 1] or not finite: `ImageError` |
    | 16-bit RGB PNG | the high byte of each value (Pillow reads no more) |
    | animated GIF, WEBP, APNG; multi-page TIFF | the first frame |

    Args:
        source: a path to a JPEG, PNG, WEBP, BMP, TIFF or GIF file (known by its bytes, not its suffix); an
            `EncodedImage` of such bytes; a PIL image; or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8,
            uint16 or float in [0, 1].
        max_pixels: the largest H * W accepted, checked before the pixels are decoded.

    Returns:
        uint8 (H, W, 3), RGB, C-contiguous, writable and the caller's own.

    Raises:
        ImageError: the source is missing, not an image, damaged, too large or of a kind not named above.

    >>> load_image(np.array([[0.0, 1.0]])).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the PIL image", max_pixels)
    if isinstance(source, EncodedImage):
        return _from_stream(io.BytesIO(source.read()), source.name, max_pixels)
    if isinstance(source, str | os.PathLike):
        return _from_path(Path(source), max_pixels)
    raise ImageError(
        f"expected a path, a PIL image or a numpy array, got {type(source).__name__}: convert it, "
        "a tensor (3, H, W) by tensor.permute(1, 2, 0).numpy()."
    )


def load_thumbnail(path: str | os.PathLike[str], side: int, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture file made small, to look at: RGB, within side x side pixels, as `load_image` reads it otherwise.

    A JPEG is decoded at a half, a quarter or an eighth of its size as far as that is still large enough, which is several times
    as fast. What is smaller stays as it is.

    Raises:
        ImageError: as `load_image`.
    """
    path = Path(path)
    with _opened(path) as stream, without_warnings():
        image = _open_header(stream, str(path))
        _check_size(image.height, image.width, str(path), max_pixels)
        image.draft(image.mode, (side, side))
        small = Image.fromarray(_from_pil(image, str(path), max_pixels))
    small.thumbnail((side, side), Image.Resampling.BOX)
    return small


def content_hash(image: np.ndarray) -> str:
    """SHA-256 of an image's shape and pixels, as 64 hexadecimal digits.

    Two images of the same pixels have the same hash whatever file they came from, so that the hash seeds the noise of
    an image and names its content. The shape counts: (2, 3, 3) and (3, 2, 3) differ.

    Args:
        image: uint8, as `load_image` returns it.

    Raises:
        ImageError: the array is not uint8.

    >>> content_hash(np.zeros((1, 1, 3), np.uint8))[:8]
    'db7d0f69'
    """
    if image.dtype != np.uint8:
        raise ImageError(f"expected a uint8 image to hash, got {image.dtype}: take it from load_image.")
    digest = hashlib.sha256(("x".join(map(str, image.shape)) + ":").encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _from_path(path: Path, max_pixels: int) -> np.ndarray:
    with _opened(path) as stream:
        return _from_stream(stream, str(path), max_pixels)


def _opened(path: Path) -> IO[bytes]:
    # The kind of file comes first: opening a pipe or a device would wait for ever.
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder, expected an image file: name the files in it.")
        if not path.exists():
            raise ImageError(f"{path} does not exist, expected an image file.")
        if not path.is_file():
            raise ImageError(f"{path} is not a regular file, expected an image file.")
        return path.open("rb")
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {error.strerror or error}.") from error


def _from_stream(stream: IO[bytes], name: str, max_pixels: int) -> np.ndarray:
    with without_warnings():
        return _from_pil(_open_header(stream, name), name, max_pixels)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Pillow warns of damaged metadata, which does not matter here; with warnings as errors it would not read the pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _open_header(stream: IO[bytes], path: str) -> Image.Image:
    """Let the one plugin that knows the first bytes parse the header; pixels stay undecoded.

    `Image.open` would judge the size by a limit of the whole process, and by a warning; here the caller's limit counts.
    """
    prefix = stream.read(16)
    if not prefix:
        raise ImageError(f"{path} is empty (0 bytes), expected an image file.")
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is not True:
            continue
        stream.seek(0)
        try:
            return factory(stream, path)
        except DAMAGE as error:
            raise ImageError(f"{path} begins as {name}, but its header is damaged or cut short: {error}.") from error
    raise ImageError(f"{path} is not an image of a kind read here: expected {', '.join(FORMATS)}, known by its bytes.")


def _from_pil(image: Image.Image, name: str, max_pixels: int) -> np.ndarray:
    width, height = image.size
    _check_size(height, width, name, max_pixels)
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in _DEEP_GREY:
            return _from_array(_grey_values(upright, name), max_pixels, name)
        return np.array(_on_white(upright))
    except ImageError:
        raise
    except DAMAGE as error:
        raise ImageError(f"{name} cannot be decoded, it is damaged or cut short: {error}.") from error


def _grey_values(image: Image.Image, name: str) -> np.ndarray:
    """Grey deeper than 8 bits as uint16 or float32: Pillow's own conversion would cut it off at 255."""
    values = np.asarray(image)
    if image.mode != "I":
        return values
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name} has integer values in {values.min()}..{values.max()}, expected 0..65535: save it as 16-bit grey."
        )
    return values.astype(np.uint16)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # premultiplied grey has no direct way to RGBA
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _from_array(array: np.ndarray, max_pixels: int, name: str = "the array") -> np.ndarray:
    _check_array_shape(array, name)
    _check_size(array.shape[0], array.shape[1], name, max_pixels)
    image = _to_uint8(array, name)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] == 4:
        return np.array(_on_white(Image.fromarray(np.ascontiguousarray(image))))
    return np.array(np.broadcast_to(image, (*image.shape[:2], 3)), order="C")


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= -_FLOAT_SLACK and high <= 1 + _FLOAT_SLACK):  # a nan fails both
            raise ImageError(f"{name} has float values in {low:g}..{high:g}, expected [0, 1]: scale it first.")
        return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    raise ImageError(f"{name} is {array.dtype}, expected uint8, uint16 or float in [0, 1]: convert it first.")


def _check_array_shape(array: np.ndarray, name: str) -> None:
    shape = array.shape
    if 0 in shape:
        raise ImageError(f"{name} of shape {shape} has no pixels, expected at least one row and one column.")
    if array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4)):
        return
    hint = ""
    if array.ndim == 3 and shape[0] in (1, 3, 4):
        hint = ": its channels come first, move them by np.moveaxis(array, 0, -1)"
    elif array.ndim == 4:
        hint = ": give the images of a batch one by one"
    raise ImageError(f"{name} has shape {shape}, expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4){hint}.")


def _check_size(height: int, width: int, name: str, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise TooManyPixelsError(
            f"{name} is {width} x {height} = {width * height} pixels, more than the limit of {max_pixels}: "
            "raise it by --max-pixels (max_pixels=) if you trust the picture."
        )
    if height < 1 or width < 1:
        raise ImageError(f"{name} is {width} x {height}, expected at least one pixel.")
