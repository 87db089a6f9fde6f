"""Small pictures on disk, for the tests of the way in."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

H, W = 5, 7


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), dtype=np.uint8)


def saved(path: Path, image: Image.Image | np.ndarray, **options: object) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def assert_rgb(image: np.ndarray, hw: tuple[int, int] = (H, W)) -> None:
    assert image.shape == (*hw, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert image.flags.owndata


def header_only(path: Path, side: int, colour_type: int = 0) -> None:
    """A PNG of 8 bits that says it is side x side and holds no pixel: to decode it would fail in another way."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    path.parent.mkdir(parents=True, exist_ok=True)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, colour_type, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
