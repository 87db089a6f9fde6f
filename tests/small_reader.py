"""The page's model, made small: the embedded student and teacher at 64 px."""

import zipfile
from functools import cache
from pathlib import Path

import numpy as np

from tracedge.datasets.scenes import draw_scene
from tracedge.student.predictor import EdgePredictor
from tracedge.teacher import EdgeTeacher
from tracedge.web.reading import Reader


@cache
def small_reader() -> Reader:
    predictor = EdgePredictor.from_pretrained("mini", size=64, device="cpu")
    return Reader(predictor, EdgeTeacher("mini", size=64, stride=300, device="cpu"))


def scene(seed: int = 26, px: int = 96) -> np.ndarray:
    return draw_scene(1_000_000 + seed, px).image


def names_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def silent(share: float, what: str) -> None:
    """Nobody is told of progress."""
