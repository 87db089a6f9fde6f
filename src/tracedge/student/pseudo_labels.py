"""Pseudo labels: what the teacher is sure of, as edge, interior and uncertain (paper, 3.4), and the folder that holds them.

`tracedge teach` writes for each picture `<stem>.image.png` (what the teacher saw, `px` long) and
`<stem>.edges.png` (its soft edges). The three classes are cut from the soft edges when a student is trained, so another
rule needs no second pass of the teacher.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter

from tracedge.errors import DataError
from tracedge.export.png import read_png16
from tracedge.images import ImageSource, load_image
from tracedge.jsonlines import decode
from tracedge.runs import MANIFEST, SETTINGS
from tracedge.settings import choose

Edges = NDArray[np.float32]
Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]

IMAGE, EDGES = ".image.png", ".edges.png"
EDGE, INTERIOR, UNCERTAIN = 1, 0, -1


def mean_deviation(edges: Edges) -> Masks:
    """The paper's: above mean + deviation is edge, below mean - deviation is interior.

    Made for maps that are smooth over the whole picture (`snap=False`); on thin ridges, where most pixels are 0, the lower
    cut lies below 0 and nothing is interior.
    """
    mean, deviation = float(edges.mean()), float(edges.std())
    return edges > mean + deviation, edges < mean - deviation


def ridges(edges: Edges) -> Masks:
    """The same idea for thin edges: mean and deviation of the ridges alone, and a margin about what might be one.

    A ridge above mean + deviation / 2 is edge; what is further than two pixels from every ridge above mean - deviation / 2
    is interior.
    """
    on = edges[edges > 0]
    if on.size == 0:
        return np.zeros(edges.shape, bool), np.ones(edges.shape, bool)
    mean, deviation = on.mean(dtype=np.float64), on.std(dtype=np.float64)
    possible = (edges > 0) & (edges >= mean - deviation / 2)
    return edges >= mean + deviation / 2, ~maximum_filter(possible, 5)


def halves(edges: Edges) -> Masks:
    """No uncertain class: above the mean is edge, all else interior."""
    edge = edges > float(edges.mean())
    return edge, ~edge


RULES: dict[str, Callable[[Edges], Masks]] = {"mean_deviation": mean_deviation, "ridges": ridges, "halves": halves}


def ternary(edges: Edges, rule: str = "ridges") -> NDArray[np.int8]:
    """Soft edges (H, W) in [0, 1] to EDGE (1), INTERIOR (0) and UNCERTAIN (-1), int8 (H, W).

    Raises:
        SettingsError: an unknown rule.

    >>> ternary(np.array([[0, 0, 0, 0, 0.5]], np.float32))
    array([[ 0,  0, -1, -1,  1]], dtype=int8)
    """
    edge, interior = choose("rule of pseudo labels", rule, RULES)(edges)
    return np.where(edge, EDGE, np.where(interior, INTERIOR, UNCERTAIN)).astype(np.int8)


@dataclass(frozen=True)
class PseudoLabel:
    """One picture as the teacher saw it, uint8 (H, W, 3), and its edges, float32 (H, W) in [0, 1]."""

    image: NDArray[np.uint8]
    edges: Edges


def load_at(source: ImageSource, px: int, max_pixels: int) -> NDArray[np.uint8]:
    """A picture brought to a long side of px, its aspect kept: uint8 (H, W, 3)."""
    image = Image.fromarray(load_image(source, max_pixels=max_pixels))
    scale = px / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))


class PseudoLabels:
    """The pairs of a folder that `tracedge teach` wrote, in the order of their names; read when asked for.

    Attributes:
        provenance: the settings of the run that made them: teacher, backbone, px.

    Raises:
        DataError: the folder is not one of `tracedge teach`, or holds no finished pair.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.provenance: dict[str, Any] = decode((folder / SETTINGS).read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder} has no readable {SETTINGS}: make pseudo labels with `tracedge teach`."
            ) from error
        if (
            not isinstance(self.provenance, dict)
            or self.provenance.get("predictor") != "teacher"
            or any(type(self.provenance.get(key)) is not int for key in ("taught_px", "size"))
        ):
            raise DataError(f"{folder} was not written by `tracedge teach` (see its {SETTINGS}).")
        self._stems = sorted(
            stem
            for path in folder.rglob(f"*{IMAGE}")
            if (folder / f"{(stem := str(path.relative_to(folder)).removesuffix(IMAGE))}{EDGES}").is_file()
        )
        if not self._stems:
            raise DataError(f"{folder} holds no pseudo labels yet: see its {MANIFEST} for what failed.")

    def __len__(self) -> int:
        return len(self._stems)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the pairs' names and sizes in bytes: a folder that grew is another one."""
        digest = hashlib.sha256()
        for stem in self._stems:
            sizes = [(self.folder / f"{stem}{suffix}").stat().st_size for suffix in (IMAGE, EDGES)]
            digest.update(f"{stem} {sizes}\n".encode())
        return digest.hexdigest()[:16]

    def __getitem__(self, index: int) -> PseudoLabel:
        """Raises DataError where a file is torn, or image and edges differ in size."""
        stem = self._stems[index]
        path = self.folder / f"{stem}{EDGES}"
        image = load_image(self.folder / f"{stem}{IMAGE}")
        try:
            edges = read_png16(path)
        except DataError as error:
            raise DataError(f"{error} Delete it and run `tracedge teach` again.") from error
        if edges.shape != image.shape[:2]:
            raise DataError(f"{path} is {edges.shape}, its image {image.shape[:2]}: run `tracedge teach` again.")
        return PseudoLabel(image, edges)
