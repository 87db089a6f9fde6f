"""One way in for data sets on disk: the layout is recognised by its folders, as they come out of the official archives."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from tracedge.datasets import bsds, coco, coco_file, labelled, voc
from tracedge.datasets.samples import EdgeSample, InstanceSample, PanopticSamples, PhotolessInstances
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError
from tracedge.export.coco_reader import CocoImage, Images, read_coco_images
from tracedge.images import MAX_PIXELS

S_co = TypeVar("S_co", covariant=True)


class SampleList(Protocol[S_co]):
    """Samples in a fixed order, made afresh each time; the names of their photos are known before anything is read."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def __iter__(self) -> Iterator[S_co]: ...
    def __len__(self) -> int: ...


class Dataset(Protocol):
    """The chosen images of a data set, and its truth in three forms. A form that a layout does not have raises a DataError.

    layout: "COCO", "COCO file", "VOC", "BSDS" or "folder". split: its name, None for a folder or a file.
    """

    @property
    def layout(self) -> str: ...
    @property
    def split(self) -> str | None: ...
    @property
    def selection(self) -> Selection: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def edges(self, *, void_edges: bool = False, crowd_edges: bool = False) -> SampleList[EdgeSample]: ...
    def instances(self) -> SampleList[InstanceSample | PhotolessInstances]: ...
    def panoptic(self) -> PanopticSamples: ...


def open_dataset(
    path: str | os.PathLike[str],
    split: str | None = None,
    selection: Selection | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """Open a data set.

    | layout | recognised by | splits |
    | --- | --- | --- |
    | COCO | annotations/instances_*.json or panoptic_*.json | val2017, train2017, val2014, train2014 |
    | VOC 2012 | ImageSets/Segmentation/, SegmentationObject/, JPEGImages/ | val (default), train, trainval |
    | BSDS500 | images/ and groundTruth/ | test (default), val, train |
    | folder | images/, and masks/ or panoptic/ | none |
    | COCO file | a .json of instances, without photos | none |

    Args:
        path: the root, or the .json; of VOC and BSDS a folder above will do.
        split: one of the above.
        selection: which images; None: all of the split.
        max_pixels: the largest H * W accepted of a picture.

    Raises:
        DataError: none of the layouts, or one with a part missing.
        SettingsError: a split that the layout does not have.
    """
    root = Path(path)
    if root.is_file():
        return coco_file.open_coco_file(root, split, selection, max_pixels=max_pixels)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; a data set is one, or a COCO .json.")
    if coco.is_coco(root):
        return coco.open_coco(root, split, selection, max_pixels=max_pixels)
    if voc.find_voc(root) is not None:
        return voc.open_voc(root, split, selection, max_pixels=max_pixels)
    if bsds.find_bsds(root) is not None:
        return bsds.open_bsds(root, split, selection, max_pixels=max_pixels)
    if labelled.is_labelled(root):
        return labelled.open_labelled(root, split, selection, max_pixels=max_pixels)
    looked_for = (coco.LOOKED_FOR, voc.LOOKED_FOR, bsds.LOOKED_FOR, labelled.LOOKED_FOR)
    lines = (f"  {line}" for line in looked_for)
    raise DataError(f"{root} is no data set of a layout that is known; looked there for", *lines)


def instances_file(dataset: Dataset) -> Path | None:
    """The COCO file that says which images the ids of COCO results are; None where the images of a data set have no ids."""
    return dataset.instances_file if isinstance(dataset, coco.CocoDataset | coco_file.CocoInstances) else None


def images_of_ids(datasets: Iterable[Dataset], *, max_pixels: int = MAX_PIXELS) -> Images | None:
    """Which images the ids of COCO results are, those of all data sets together, as `read_coco` takes it.

    Returns:
        A COCO file, or where there are several the images of all of them; None where no data set has ids.

    Raises:
        DataError: one id is of two images, or a file that is not as it should be.
    """
    files = list(dict.fromkeys(filter(None, map(instances_file, datasets))))
    if len(files) < 2:
        return files[0] if files else None
    known: dict[int, CocoImage] = {}
    for file in files:
        for number, image in read_coco_images(file, max_pixels=max_pixels).items():
            if known.setdefault(number, image) != image:
                raise DataError(
                    f"The image id {number} is {_said(known[number])} in one data set and {_said(image)} in {file}: "
                    "score COCO results against one data set at a time."
                )
    return {number: (image.file_name, image.hw) for number, image in known.items()}


def _said(image: CocoImage) -> str:
    return image.file_name + (f" of {image.hw[0]} x {image.hw[1]}" if image.hw else "")


def provenance(dataset: Dataset) -> dict[str, object]:
    """What a figure depends on besides the files: the layout, the split and which images, of JSON's types."""
    chosen = {"layout": dataset.layout, "split": dataset.split, "images": len(dataset.names)}
    return chosen | dataset.selection.provenance
