"""What a data set gives for each image: the photo, and its truth for edges, for instances or for panoptic segments.

A truth is read when it is asked for, and checked against the size of its photo; iterating makes samples afresh, so that what one
has read is freed with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category
from tracedge.datasets.fingerprint import fingerprint
from tracedge.datasets.panoptic_truth import PanopticTruth
from tracedge.errors import DataError
from tracedge.images import MAX_PIXELS, load_image
from tracedge.instances import Instances, Masks

Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True, eq=False)
class EdgeTruth:
    """Where instance edges are: the borders of a label map, or boundaries that annotators drew.

    labels: int32 (H, W), one a segment; None where there are only boundaries. void: the label of pixels nobody labelled, or None.
    ignore: bool (H, W), where nothing is known. boundaries: bool (A, H, W) of A annotators, or None.
    """

    labels: NDArray[np.int32] | None
    ignore: NDArray[np.bool_]
    void: int | None = None
    boundaries: NDArray[np.bool_] | None = None

    @property
    def shape(self) -> Size:
        """(H, W)."""
        height, width = self.ignore.shape
        return height, width


@dataclass(frozen=True, eq=False)
class InstanceTruth:
    """The objects of an image, the class of each (or None), and its crowds, bool (C, H, W), where nobody told objects apart."""

    objects: Instances
    classes: tuple[object, ...] | None
    crowds: Masks

    @property
    def shape(self) -> Size:
        """(H, W)."""
        return self.objects.shape


Truth = TypeVar("Truth", EdgeTruth, InstanceTruth, PanopticTruth)


@dataclass(frozen=True)
class LabelledPhoto(Generic[Truth]):
    """One photo and its truth. Both are read when asked for, once a sample.

    Attributes:
        folder: of the photos.
        name: of the photo, relative to the folder, with "/" between its parts and its suffix: "a/1.jpg". It is its alone.
        read: makes the truth. It may raise DataError.
        max_pixels: a larger photo is refused before it is decoded.
    """

    folder: Path
    name: str
    read: Callable[[], Truth]
    max_pixels: int = MAX_PIXELS

    @property
    def image_path(self) -> Path:
        """The photo."""
        return self.folder / self.name

    @property
    def stem(self) -> str:
        """The file name without folders and suffix; two photos of different folders may have one."""
        return self.image_path.stem

    @cached_property
    def fingerprint(self) -> str:
        """Of the photo's file, which is not decoded, and of the truth; see `tracedge.datasets.fingerprint`.

        Raises:
            DataError: a truth that cannot be read.
        """
        return fingerprint(self.image_path, self._truth_of_any_size)

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), turned upright by its EXIF orientation."""
        return load_image(self.image_path, max_pixels=self.max_pixels)

    @cached_property
    def truth(self) -> Truth:
        """As large as the image.

        Raises:
            DataError: a truth that cannot be read, or is of another size than the image.
        """
        truth, (height, width) = self._truth_of_any_size, self.image.shape[:2]
        if truth.shape != (height, width):
            raise DataError(
                f"The truth of {self.name} is {truth.shape[0]} x {truth.shape[1]} (rows x columns), "
                f"but {self.image_path} is {height} x {width}, upright."
            )
        return truth

    @cached_property
    def _truth_of_any_size(self) -> Truth:
        return self.read()


class EdgeSample(LabelledPhoto[EdgeTruth]):
    """One photo with its instance edges, as `tracedge.evaluation.edges` asks for it."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """(H, W) int32: one label a segment.

        Raises:
            DataError: annotators drew boundaries, and labelled nothing.
        """
        if self.truth.labels is None:
            raise DataError(f"{self.name} has boundaries that annotators drew, and no labels of instances.")
        return self.truth.labels

    @property
    def void(self) -> int | None:
        """The label of pixels nobody labelled, or None."""
        return self.truth.void

    @property
    def ignore(self) -> NDArray[np.bool_]:
        """(H, W) bool: pixels where nothing is known."""
        return self.truth.ignore

    @property
    def boundaries(self) -> NDArray[np.bool_] | None:
        """(A, H, W) bool of A annotators; None where the borders of `labels` are the truth."""
        return self.truth.boundaries


class InstanceSample(LabelledPhoto[InstanceTruth]):
    """One photo with its objects."""


class PanopticSample(LabelledPhoto[PanopticTruth]):
    """One photo with its segments."""


@dataclass(frozen=True)
class PhotolessInstances:
    """The objects of an image whose photo is not at hand. name: as `LabelledPhoto.name`. read: makes the truth, once a sample."""

    name: str
    read: Callable[[], InstanceTruth]
    image = None

    @cached_property
    def truth(self) -> InstanceTruth:
        """What is known of the image.

        Raises:
            DataError: a truth that cannot be read.
        """
        return self.read()

    @cached_property
    def fingerprint(self) -> str:
        """Of the truth.

        Raises:
            DataError: a truth that cannot be read.
        """
        return fingerprint(self.truth)


Sample = TypeVar("Sample", EdgeSample, InstanceSample, PanopticSample, PhotolessInstances)


@dataclass(frozen=True)
class Samples(Generic[Sample]):
    """The samples of a data set in the order of their names; each iteration makes them afresh."""

    _samples: Sequence[Sample]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the photos, relative to their folder, in order."""
        return tuple(sample.name for sample in self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return (replace(sample) for sample in self._samples)


@dataclass(frozen=True)
class PanopticSamples(Samples[PanopticSample]):
    """The same with what predictions are held against before anything is read.

    categories: of the data set. numbers: the image id of each sample; None where images have no number of their own.
    """

    categories: tuple[Category, ...]
    numbers: tuple[int, ...] | None = None
