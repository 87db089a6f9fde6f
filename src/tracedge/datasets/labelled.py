"""A labelled folder as a data set: its edges, its objects, and its panoptic segments where panoptic.json says what they are.

root/images/, root/masks/, root/panoptic/, root/ignore/     see `tracedge.datasets.folder`
root/instances.json     a list of {"file", "instances": [{"label", "category"}]}: which objects are of one class
root/panoptic.json      a COCO panoptic file about panoptic/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tracedge.datasets.coco_panoptic import categories_of, edges_of_panoptic, truth_of_panoptic
from tracedge.datasets.folder import TruthFiles, folder_edges, photo_names, truth_files
from tracedge.datasets.panoptic_truth import PanopticTruth
from tracedge.datasets.samples import (
    EdgeSample,
    EdgeTruth,
    InstanceSample,
    InstanceTruth,
    PanopticSample,
    PanopticSamples,
    Samples,
)
from tracedge.datasets.selection import Selection, refuse_missing
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco import checked_file_name
from tracedge.export.coco_reader import read_coco_images
from tracedge.export.json_records import check_keys, list_of, read_json, whole
from tracedge.export.panoptic_reader import PanopticFile, read_panoptic
from tracedge.images import IMAGE_SUFFIXES, MAX_PIXELS
from tracedge.instances import Instances
from tracedge.panoptic_map import VOID, PanopticMap

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

    def edges(self, *, void_edges: bool = False, crowd_edges: bool = False) -> Samples[EdgeSample]:
        """The borders of panoptic segments where there is panoptic/, else of masks.

        Where panoptic.json says which segments are crowds, nothing is known there, as in `edges_of_panoptic`.

        Raises:
            SettingsError: `void_edges` or `crowd_edges`: a folder says by ignore/ what does not count.
            DataError: no truth, a photo without one, or a panoptic.json that lacks a photo.
        """
        if void_edges or crowd_edges:
            raise SettingsError(
                f"--void-edges and --crowd-edges are for COCO's panoptic truth; {self.root} is a folder."
            )
        if not self._has_segments:
            return folder_edges(self.root, self.names, self.max_pixels)
        file, numbers = self._segments()
        folders = truth_files(self.root, self.names, "panoptic", self.max_pixels)
        return Samples(
            [
                EdgeSample(self.root / "images", name, partial(_edges, file, number, of), self.max_pixels)
                for name, number, of in zip(self.names, numbers, folders, strict=True)
            ]
        )

    def instances(self) -> Samples[InstanceSample]:
        """The objects of masks/, also where there is panoptic/: instances are things, and not stuff.

        What ignore/ marks is one crowd, see `tracedge.metrics.instances`: it is not known into which regions it falls.

        Raises:
            DataError: no masks/, or an instances.json that does not say the classes.
        """
        files = truth_files(self.root, self.names, "masks", self.max_pixels)
        path = self.root / CLASSES
        classes = _classes(path) if path.is_file() else None
        reads = (partial(_instances, of, None if classes is None else classes.get(of.labels.stem, {})) for of in files)
        return Samples(
            [
                InstanceSample(self.root / "images", name, read, self.max_pixels)
                for name, read in zip(self.names, reads, strict=True)
            ]
        )

    def panoptic(self) -> PanopticSamples:
        """The segments of panoptic/; what ignore/ marks is void.

        Raises:
            DataError: no panoptic/ or panoptic.json, or an image that these do not have.
        """
        if not self._has_segments:
            raise DataError(f"{self.root} has no panoptic segments: looked for {CATEGORIES} and panoptic/.")
        file, numbers = self._segments()
        folders = truth_files(self.root, self.names, "panoptic", self.max_pixels)
        samples = [
            PanopticSample(self.root / "images", name, partial(_panoptic, file, number, of), self.max_pixels)
            for name, number, of in zip(self.names, numbers, folders, strict=True)
        ]
        return PanopticSamples(samples, categories_of([file]))

    @property
    def _has_segments(self) -> bool:
        return (self.root / CATEGORIES).is_file() and (self.root / "panoptic").is_dir()

    def _segments(self) -> tuple[PanopticFile, list[int]]:
        """panoptic.json, and the image id that each photo has in it."""
        path, stems = self.root / CATEGORIES, [Path(name).stem for name in self.names]
        images = read_coco_images(path, max_pixels=self.max_pixels)
        known = {Path(image.file_name).stem: number for number, image in images.items()}
        wanted = {known[stem] for stem in stems if stem in known}
        file = read_panoptic(path, folder=self.root / "panoptic", only=wanted, max_pixels=self.max_pixels)
        missing = [stem for stem in stems if known.get(stem) not in file.images]
        refuse_missing(missing, len(stems), "panoptic segments", [path])
        return file, [known[stem] for stem in stems]


def open_labelled(
    root: Path, split: str | None = None, selection: Selection | None = None, *, max_pixels: int = MAX_PIXELS
) -> LabelledFolder:
    """The chosen images of a labelled folder.

    Raises:
        SettingsError: a split, which a folder does not have.
        DataError: no images, or none but in subfolders, or two of one stem.
    """
    if split is not None:
        raise SettingsError(f"{root} is a labelled folder, which has no splits: leave --split (split=) out.")
    selection = selection or Selection()
    _refuse_subfolders(Path(root) / "images")
    return LabelledFolder(Path(root), selection, photo_names(Path(root), selection), max_pixels)


def is_labelled(root: Path) -> bool:
    """Whether a folder has photos, and a truth beside them."""
    return (root / "images").is_dir() and any((root / name).is_dir() for name in ("masks", "panoptic"))


def _refuse_subfolders(folder: Path) -> None:
    """Photos that lie in subfolders only are not found; a folder with some of its own is taken as it is."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    if any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries):
        return
    for below in filter(Path.is_dir, entries):
        if any(file.suffix.lower() in IMAGE_SUFFIXES for file in below.rglob("*")):
            raise DataError(
                f"{folder} has photos in subfolders only ({below.name}/ is the first), and subfolders are not walked: "
                "put the photos into images/ itself, and their truth beside it likewise."
            )


def _instances(files: TruthFiles, known: Mapping[int, object] | None) -> InstanceTruth:
    """known: label -> class; None: no file says it."""
    labels, marked = files.read()
    objects = Instances.from_labels(labels)
    crowds = marked[None] if marked.any() else np.zeros((0, *marked.shape), bool)
    if known is None:
        return InstanceTruth(objects, None, crowds)
    first = objects.masks.reshape(len(objects), labels.size).argmax(axis=1)  # a pixel of each object
    present = labels.ravel()[first].tolist()
    if unknown := [label for label in present if label not in known]:
        raise DataError(f"{CLASSES} does not say the class of object {unknown[0]} of {files.labels}.")
    return InstanceTruth(objects, tuple(known[label] for label in present), crowds)


def _edges(file: PanopticFile, image_id: int, files: TruthFiles) -> EdgeTruth:
    """The borders of the segments; nothing is known in void, in crowds, and where ignore/ says so."""
    truth = edges_of_panoptic(truth_of_panoptic(file, image_id))
    if files.ignore is None:
        return truth
    _, marked = files.read()
    return replace(truth, ignore=truth.ignore | marked)


def _panoptic(file: PanopticFile, image_id: int, files: TruthFiles) -> PanopticTruth:
    """The segments of what is not ignored; those that are ignored altogether are left out."""
    truth = truth_of_panoptic(file, image_id)
    if files.ignore is None:
        return truth
    _, marked = files.read()
    ids = np.where(marked, VOID, truth.map.ids)
    left = set(np.unique(ids).tolist())
    segments = (replace(segment, area=None) for segment in truth.map.segments if segment.id in left)
    return PanopticTruth(PanopticMap(ids, tuple(segments)), truth.categories)


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
