"""Scenes as the files of a folder run: what is to be drawn, and what is written of each."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.datasets.scenes import draw_scene

IMAGE, MASKS, PANOPTIC = "images/.png", "masks/.png", "panoptic/.png"
_NAME = "scene_"


@dataclass(frozen=True)
class SceneTask:
    """One scene of a folder run: its seed says what is on it.

    Args:
        source: the seed.
    """

    source: int

    @property
    def relative(self) -> PurePosixPath:
        """Its name, the same in images/, masks/ and panoptic/."""
        return PurePosixPath(f"{_NAME}{self.source:07d}")

    @property
    def file(self) -> str:
        """The name of its picture."""
        return f"{self.relative}.png"

    def content_hash(self) -> str:
        """The seed, of which all follows that the settings do not say."""
        return f"seed {self.source}"


@dataclass(frozen=True)
class DrawnScene:
    """A scene as it is written: the bytes of a PNG for each output, and (id, category, is it a thing) of each segment."""

    seed: int
    pngs: Mapping[str, bytes]
    segments: tuple[tuple[int, int, bool], ...]


def seed_of(file: str) -> int:
    """The seed of a scene by the name of its picture.

    >>> seed_of(SceneTask(12).file)
    12
    """
    return int(PurePosixPath(file).stem.removeprefix(_NAME))


def draw(seed: int, px: int) -> DrawnScene:
    """Draw one scene of px x px pixels; errors as `draw_scene`. What it gives is small enough to be sent from another process."""
    scene = draw_scene(seed, px)
    found = scene.panoptic
    pictures: dict[str, NDArray[Any]] = {IMAGE: scene.image, MASKS: scene.labels, PANOPTIC: found.to_rgb()}
    segments = tuple((one.id, one.category_id, one.isthing) for one in found.segments)
    return DrawnScene(seed, {suffix: _png(picture) for suffix, picture in pictures.items()}, segments)


def seed_if_in_one_piece(seed: int, px: int) -> int | None:
    """The seed, if no object of its scene is cut in two by another; else None."""
    return seed if draw_scene(seed, px).in_one_piece else None


def write(scene: DrawnScene, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Write the outputs that are asked for; gives what the manifest keeps."""
    for suffix, path in paths.items():
        path.write_bytes(scene.pngs[suffix])
    return {"segments": [list(segment) for segment in scene.segments]}


def _png(picture: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, format="PNG")
    return stream.getvalue()
