"""A COCO instances file by itself: the objects of images whose photos are not at hand. It is scored against masks from files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from tracedge.datasets.coco import choose_coco_ids, instance_truth
from tracedge.datasets.samples import EdgeSample, PanopticSamples, PhotolessInstances, Samples
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco_reader import CocoImage, read_coco, read_coco_images
from tracedge.images import MAX_PIXELS


@dataclass(frozen=True, eq=False)
class CocoInstances:
    """The chosen images of a COCO instances file; `open_coco_file` makes it.

    Attributes:
        instances_file: the .json.
        selection: what was asked for.
        images: the chosen images, in the order of their names.
        max_pixels: the largest H * W accepted.
    """

    instances_file: Path
    selection: Selection
    images: tuple[CocoImage, ...]
    max_pixels: int = MAX_PIXELS
    layout = "COCO file"
    split = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images, in order."""
        return tuple(image.file_name for image in self.images)

    def edges(self, *, void_edges: bool = False, crowd_edges: bool = False) -> Samples[EdgeSample]:
        """Refused: edges are scored on photos.

        Raises:
            DataError: always.
        """
        self._refuse("edges")

    def instances(self) -> Samples[PhotolessInstances]:
        """The objects, their category ids as classes, and the crowds, each by itself.

        Raises:
            DataError: a file that is not as it should be.
        """
        truth = read_coco(self.instances_file, only=[image.id for image in self.images], max_pixels=self.max_pixels)
        return Samples(
            [PhotolessInstances(image.file_name, partial(instance_truth, truth, image.id)) for image in self.images]
        )

    def panoptic(self) -> PanopticSamples:
        """Refused: a segment for every pixel is not in such a file.

        Raises:
            DataError: always.
        """
        self._refuse("panoptic segments")

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(f"{self.instances_file} is a COCO file of instances without photos: it has no {what}.")


def open_coco_file(
    path: Path, split: str | None = None, selection: Selection | None = None, *, max_pixels: int = MAX_PIXELS
) -> CocoInstances:
    """The chosen images of a COCO instances file, in the order of their names, as those of a COCO root are.

    Raises:
        SettingsError: a split, which a file does not have.
        DataError: no such file, or one that is not as it should be; an id that is not in it.
    """
    if split is not None:
        raise SettingsError(f"--split is for a data set's folder: {path} is a file, and its images are all one split.")
    selection = selection or Selection()
    images = read_coco_images(path, max_pixels=max_pixels)
    chosen = tuple(images[number] for number in choose_coco_ids(images, selection, str(path)))
    return CocoInstances(path, selection, chosen, max_pixels)
