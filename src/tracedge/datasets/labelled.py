"""A labelled folder as a data set: its edges, its objects, and its panoptic segments where panoptic.json says what they are.

root/images/, root/masks/, root/panoptic/, root/ignore/     see `tracedge.datasets.folder`
root/instances.json     a list of {"file", "instances": [{"label", "category"}]}: which objects are of one class
root/panoptic.json      a COCO panoptic file about panoptic/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tracedge.datasets.coco_panoptic import read_panoptic
from tracedge.datasets.folder import FolderDataset, Sample, read_ignore, read_masks
from tracedge.datasets.samples import InstanceSample, InstanceTruth, PanopticSample, Samples
from tracedge.datasets.selection import Selection, refuse_missing
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco import checked_file_name
from tracedge.export.coco_reader import read_coco_images
from tracedge.export.json_records import check_keys, list_of, read_json, whole
from tracedge.images import MAX_PIXELS
from tracedge.instances import Instances

LOOKED_FOR = "labelled folder: images/, and masks/ or panoptic/"
CLASSES = "instances.json"
CATEGORIES = "panoptic.json"


@dataclass(frozen=True, eq=False)
class LabelledFolder:
    """The chosen images of a labelled folder; `open_labelled` makes it.

    Attributes:
        root: the folder.
        selection: what was asked for.
        names: the file names of the photos, in order.
        max_pixels: the largest H * W accepted.
    """

    root: Path
    selection: Selection
    names: tuple[str, ...]
    max_pixels: int = MAX_PIXELS
    layout = "folder"
    split = None

    def edges(self, *, void_edges: bool = False, crowd_edges: bool = False) -> FolderDataset:
        """The borders of panoptic segments where there is panoptic/, else of masks.

        Raises:
            SettingsError: `void_edges` or `crowd_edges`: a folder says by ignore/ what does not count.
        """
        if void_edges or crowd_edges:
            raise SettingsError(
                f"--void-edges and --crowd-edges are for COCO's panoptic truth; {self.root} is a folder."
            )
        return FolderDataset(self.root, selection=self.selection, max_pixels=self.max_pixels)

    def instances(self) -> Samples[InstanceSample]:
        """The objects of masks/, also where there is panoptic/: instances are things, and not stuff.

        Raises:
            DataError: no masks/, or an instances.json that does not say the classes.
        """
        dataset = FolderDataset(self.root, panoptic=False, selection=self.selection, max_pixels=self.max_pixels)
        path = self.root / CLASSES
        classes = _classes(path) if path.is_file() else None
        reads = ((sample, None if classes is None else classes.get(sample.stem, {})) for sample in dataset)
        return Samples(
            [InstanceSample(one.image_path, partial(_instances, one, known), self.max_pixels) for one, known in reads]
        )

    def panoptic(self) -> Samples[PanopticSample]:
        """The segments of panoptic/.

        Raises:
            DataError: no panoptic/ or panoptic.json, or an image that these do not have.
        """
        path, folder = self.root / CATEGORIES, self.root / "panoptic"
        if not path.is_file() or not folder.is_dir():
            raise DataError(f"{self.root} has no panoptic segments: looked for {CATEGORIES} and panoptic/.")
        numbers = {Path(image.file_name).stem: number for number, image in read_coco_images(path).items()}
        stems = [Path(name).stem for name in self.names]
        wanted = {numbers[stem] for stem in stems if stem in numbers}
        files = read_panoptic(path, folder, wanted, max_pixels=self.max_pixels)
        missing = [stem for stem in stems if numbers.get(stem) not in files]
        refuse_missing(missing, len(stems), "panoptic segments", [path])
        photos = (self.root / "images" / name for name in self.names)
        return Samples(
            [
                PanopticSample(photo, files[numbers[stem]].read, self.max_pixels)
                for photo, stem in zip(photos, stems, strict=True)
            ]
        )


def open_labelled(
    root: Path, split: str | None = None, selection: Selection | None = None, *, max_pixels: int = MAX_PIXELS
) -> LabelledFolder:
    """The chosen images of a labelled folder.

    Raises:
        SettingsError: a split, which a folder does not have.
        DataError: as `FolderDataset`.
    """
    if split is not None:
        raise SettingsError(f"{root} is a labelled folder, which has no splits: leave --split (split=) out.")
    selection = selection or Selection()
    names = FolderDataset(root, selection=selection, max_pixels=max_pixels).names
    return LabelledFolder(Path(root), selection, names, max_pixels)


def is_labelled(root: Path) -> bool:
    """Whether a folder has photos, and a truth beside them."""
    return (root / "images").is_dir() and any((root / name).is_dir() for name in ("masks", "panoptic"))


def _instances(sample: Sample, known: Mapping[int, object] | None) -> InstanceTruth:
    """Without the photo, which the sample around it reads and compares with. known: label -> class; None: no file says it."""
    labels = read_masks(sample.labels_path, max_pixels=sample.max_pixels)
    ignore = np.zeros(labels.shape, bool)
    if sample.ignore_path is not None:
        ignore = read_ignore(sample.ignore_path, max_pixels=sample.max_pixels)
    if ignore.shape != labels.shape:
        got = " x ".join(map(str, ignore.shape))
        raise DataError(f"{sample.ignore_path} is {got} (rows x columns), another size than {sample.labels_path}.")
    objects = Instances.from_labels(labels)
    if known is None:
        return InstanceTruth(objects, None, ignore)
    first = objects.masks.reshape(len(objects), labels.size).argmax(axis=1)  # a pixel of each object
    present = labels.ravel()[first].tolist()
    if unknown := [label for label in present if label not in known]:
        raise DataError(f"{CLASSES} does not say the class of object {unknown[0]} of {sample.labels_path}.")
    return InstanceTruth(objects, tuple(known[label] for label in present), ignore)


def _classes(path: Path) -> dict[str, dict[int, object]]:
    """Stem of an image -> label -> class."""
    records = read_json(path)
    found: dict[str, dict[int, object]] = {}
    try:
        if not isinstance(records, list):
            raise DataError("expected a list of records, one an image.")
        for place, record in enumerate(records, start=1):
            name = f"record {place} of the list"
            check_keys(record, name, ("file", "instances"))
            stem = Path(checked_file_name(record["file"])).stem
            if stem in found:
                raise DataError(f"there are two records of {stem}.")
            found[stem] = {}
            for entry in list_of(record, "instances"):
                check_keys(entry, f"an instance of {name}", ("label", "category"))
                if type(entry["category"]) not in (str, int):
                    raise DataError(f"{name} has the category {entry['category']!r:.40}, expected text or a number.")
                found[stem][whole(entry, "label", name)] = entry["category"]
    except DataError as error:
        raise DataError(f"{path} does not say the classes of instances: {error}") from error
    return found
