"""The truth that panoptic maps are scored against: of an opened data set, or of a COCO panoptic file without photos."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category
from tracedge.datasets.coco import choose_coco_ids, refuse_absent
from tracedge.datasets.fingerprint import fingerprint
from tracedge.datasets.samples import PanopticSamples
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError
from tracedge.export.panoptic_reader import read_panoptic
from tracedge.images import MAX_PIXELS
from tracedge.panoptic_map import PanopticMap


@dataclass(frozen=True)
class LabelledPanoptic:
    """The truth of one image.

    name: of the photo, relative to its folder, with its suffix. image: uint8 (H, W, 3), None where only segments are at hand.
    """

    name: str
    truth: PanopticMap
    image: NDArray[np.uint8] | None = None

    @property
    def fingerprint(self) -> str:
        """Of the truth; see `tracedge.datasets.fingerprint`."""
        return fingerprint(self.truth)


@dataclass(frozen=True)
class PanopticSet:
    """A data set: what is known before anything is read, and its images, each read when it is asked for.

    Attributes:
        numbers: name -> the image id, None where the data set gives none; in the order of the set.
        categories: all there are.
        read: the images of these names, in the order of the set.
    """

    numbers: Mapping[str, int | None]
    categories: tuple[Category, ...]
    read: Callable[[Collection[str]], Iterator[LabelledPanoptic]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all images, in order."""
        return tuple(self.numbers)


def panoptic_set(samples: PanopticSamples) -> PanopticSet:
    """The images of an opened data set (`open_dataset(...).panoptic()`).

    Raises:
        DataError: two photos of one name.
    """
    numbers = samples.numbers if samples.numbers is not None else [None] * len(samples)
    found = dict(zip(samples.names, numbers, strict=True))
    if len(found) < len(samples):
        raise DataError(f"{len(samples) - len(found)} photos have the name of another one; rename them.")

    def read(names: Collection[str]) -> Iterator[LabelledPanoptic]:
        for sample in samples:
            if sample.name in names:
                yield LabelledPanoptic(sample.name, sample.truth.map, sample.image)

    return PanopticSet(found, samples.categories, read)


def panoptic_set_of_file(
    path: Path, selection: Selection | None = None, *, max_pixels: int = MAX_PIXELS
) -> PanopticSet:
    """The annotated images of a COCO panoptic file, without photos.

    Args:
        path: the .json, whose PNGs are in the folder beside it that is named after it; or a folder with panoptic.json.
        selection: which images; a line of its `ids` is an id or a file name.
        max_pixels: the largest H * W accepted of a map.

    Raises:
        DataError: no such file, one that is not as it should be or has no annotations, or a chosen image without PNG.
    """
    found = read_panoptic(path, max_pixels=max_pixels)
    if not found.images:
        raise DataError(f"{found.path} has no annotations: those of a truth say which segments its images have.")
    chosen = choose_coco_ids(found.images, selection or Selection(), str(found.path))
    refuse_absent([found.png(number) for number in chosen], "PNG of panoptic ids")
    numbers: dict[str, int | None] = {found.images[number].file_name: number for number in chosen}

    def read(names: Collection[str]) -> Iterator[LabelledPanoptic]:
        for number in chosen:
            if (name := found.images[number].file_name) in names:
                yield LabelledPanoptic(name, found.read(number))

    return PanopticSet(numbers, found.categories, read)


def is_panoptic_file(path: Path) -> bool:
    """Whether a path is a COCO panoptic file, or a folder with one and no photos: nothing that `open_dataset` knows."""
    return path.suffix.lower() == ".json" or ((path / "panoptic.json").is_file() and not (path / "images").is_dir())
