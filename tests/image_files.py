"""Small pictures on disk, for the tests of the way in."""

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
