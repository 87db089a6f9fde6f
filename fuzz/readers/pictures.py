"""Photos, and the grey and colour PNGs that hold maps and labels."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from fuzz.containers import damaged_png
from fuzz.contract import Reader
from fuzz.mutations import damaged
from tracedge.export.labels import read_labels
from tracedge.export.png import ONE_CHANNEL, read_grey, read_not_black, read_png16, read_rgb
from tracedge.images import load_image

MOST = 10_000
"""Pixels that a damaged picture may have: a limit that callers can set, so that damage to the size is met often."""

_NOISE = np.random.default_rng(0).integers(0, 256, (9, 13, 4), np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photos() -> list[bytes]:
    """All six formats, in the modes and with the extras that each has."""
    rgba = Image.fromarray(_NOISE)
    rgb, grey, palette = rgba.convert("RGB"), rgba.convert("L"), rgba.convert("RGB").quantize(8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    deep = Image.fromarray(_NOISE[:, :, :2].copy().view("<u2")[:, :, 0])
    return [
        saved(rgb, "JPEG", exif=exif), saved(rgb, "JPEG", progressive=True, comment=b"c", dpi=(72, 72)),
        saved(rgb.convert("CMYK"), "JPEG"), saved(grey, "JPEG"), saved(rgba, "PNG", exif=exif),
        saved(palette, "PNG", transparency=0), saved(deep, "PNG"), saved(grey.convert("1"), "PNG"),
        saved(rgb, "PNG", save_all=True, append_images=[rgb, rgb]), saved(rgba, "WEBP", lossless=True),
        saved(rgb, "WEBP", exif=exif), saved(rgb, "WEBP", save_all=True, append_images=[grey.convert("RGB")]),
        saved(rgb, "BMP"), saved(palette, "BMP"), saved(grey.convert("1"), "BMP"),
        saved(rgb, "TIFF", compression="tiff_lzw"), saved(rgba, "TIFF"),
        saved(grey.convert("1"), "TIFF", compression="group4"), saved(deep, "TIFF"),
        saved(grey.convert("F").point(lambda value: value * (1 / 255)), "TIFF"),
        saved(rgb, "TIFF", compression="jpeg"), saved(rgb, "TIFF", compression="tiff_deflate", exif=exif),
        saved(palette, "TIFF"), saved(grey.convert("I"), "TIFF"), saved(rgb, "GIF"),
        saved(palette, "GIF", transparency=1, interlace=1),
        saved(rgb, "GIF", save_all=True, append_images=[rgba.convert("RGB").rotate(90)], duration=20, loop=0),
    ]  # fmt: skip


def pngs() -> list[bytes]:
    return [content for content in photos() if content.startswith(b"\x89PNG")] + [
        saved(Image.fromarray(_NOISE[:, :, 0] // 80), "PNG"),
        saved(Image.fromarray((_NOISE[:, :, 0] // 60).astype(np.uint16)), "PNG"),
        saved(Image.fromarray(_NOISE[:, :, :3]), "PNG"),
    ]


def _damaged(content: bytes, chance: Random) -> bytes:
    return damaged_png(content, chance) if content.startswith(b"\x89PNG") else damaged(content, chance)


def _photo(path: Path) -> None:
    image = load_image(path, max_pixels=MOST)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and 0 < image[:, :, 0].size <= MOST
    assert image.flags.c_contiguous and image.flags.writeable
    assert (load_image(path, max_pixels=MOST) == image).all()


def _grey(path: Path) -> None:
    values = read_grey(path, ONE_CHANNEL, "one channel", max_pixels=MOST)
    assert values.ndim == 2 and 0 < values.size <= MOST and values.dtype.kind in "bui"
    assert read_not_black(path, max_pixels=MOST).shape == values.shape


def _map(path: Path) -> None:
    edges = read_png16(path, max_pixels=MOST)
    assert edges.dtype == np.float32 and 0 <= edges.min() <= edges.max() <= 1


def _colours(path: Path) -> None:
    values = read_rgb(path, max_pixels=MOST)
    assert values.dtype == np.uint8 and values.shape[2:] == (3,) and values.size


def _labels(path: Path) -> None:
    found = read_labels(path, max_pixels=MOST)
    assert (found.areas > 0).all() and (found.masks.sum(axis=0) <= 1).all() and (found.scores == 1).all()


READERS = [
    Reader("photo", "a.picture", photos, _damaged, _photo),
    Reader("grey PNG", "a.png", pngs, damaged_png, _grey),
    Reader("16-bit PNG of edges", "a.edges.png", pngs, damaged_png, _map),
    Reader("RGB PNG of ids", "a.ids.png", pngs, damaged_png, _colours),
    Reader("label PNG", "a.labels.png", pngs, damaged_png, _labels),
]
