"""COCO as it is unpacked: annotations/instances_*.json, annotations/panoptic_*.json with PNGs, and a folder of photos a split.

    root/annotations/instances_{train,val}{2014,2017}.json
    root/annotations/panoptic_{train,val}2017.json           and panoptic_{train,val}2017/*.png beside it, or in the root
    root/val2017/*.jpg or root/images/val2017/*.jpg          and so on, a folder a split

Panoptic truth exists for 2017 only. The splits of 2014 hold the same photos in another division, so their truth is looked up by
image id in both files of 2017: this is TRACE's instance-edge benchmark (section 4: val2014, pixels between distinct segments).
COCO-20K is a list of ids of train2014, and not shipped here: give it as a file of ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tracedge.datasets.coco_panoptic import categories_of, edges_of_panoptic, truth_of_panoptic
from tracedge.datasets.places import first_folder
from tracedge.datasets.samples import (
    EdgeSample,
    EdgeTruth,
    InstanceSample,
    InstanceTruth,
    PanopticSample,
    PanopticSamples,
    Samples,
)
from tracedge.datasets.selection import Selection, Wanted, refuse_missing
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco_reader import CocoFile, CocoImage, read_coco, read_coco_images
from tracedge.export.panoptic_reader import PanopticFile, read_panoptic
from tracedge.images import MAX_PIXELS

SPLITS = ("val2017", "train2017", "val2014", "train2014")
LOOKED_FOR = "COCO: annotations/instances_{train,val}{2014,2017}.json or annotations/panoptic_{train,val}2017.json"

_DIGITS = 12  # of the number in a name of COCO's own
_OWN_NAME = re.compile(r"(?:COCO_(?:train|val)2014_)?(\d{1,12})")


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """The chosen images of one split; `open_coco` makes it.

    Attributes:
        root: the folder with annotations/.
        split: one of SPLITS.
        selection: what was asked for.
        photos: the folder of the photos.
        images: the chosen images, in the order of their names.
        max_pixels: the largest H * W accepted.
    """

    root: Path
    split: str
    selection: Selection
    photos: Path
    images: tuple[CocoImage, ...]
    max_pixels: int = MAX_PIXELS
    layout = "COCO"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the photos, relative to `photos`, in order."""
        return tuple(image.file_name for image in self.images)

    @property
    def instances_file(self) -> Path:
        """instances_<split>.json, which may not be there."""
        return _instances_file(self.root, self.split)

    def edges(self, *, void_edges: bool = False, crowd_edges: bool = False) -> Samples[EdgeSample]:
        """The borders of panoptic segments; see `edges_of_panoptic`.

        Raises:
            DataError: an image without panoptic truth.
        """

        def read(file: PanopticFile, image_id: int) -> EdgeTruth:
            truth = truth_of_panoptic(file, image_id)
            return edges_of_panoptic(truth, void_edges=void_edges, crowd_edges=crowd_edges)

        return Samples(
            [
                EdgeSample(self.photos, image.file_name, partial(read, file, image.id), self.max_pixels)
                for image, file in self._panoptic()
            ]
        )

    def instances(self) -> Samples[InstanceSample]:
        """The objects of instances_<split>.json, their category ids as classes, and its crowds, each by itself.

        Raises:
            DataError: no such file, or one that is not as it should be.
        """
        path = self.instances_file
        if not path.is_file():
            raise DataError(f"{path} is missing: the instances of {self.split} are in it.")
        truth = read_coco(path, only=[image.id for image in self.images], max_pixels=self.max_pixels)
        return Samples(
            [
                InstanceSample(self.photos, image.file_name, partial(instance_truth, truth, image.id), self.max_pixels)
                for image in self.images
            ]
        )

    def panoptic(self) -> PanopticSamples:
        """The panoptic segments.

        Raises:
            DataError: an image without panoptic truth.
        """
        found = self._panoptic()
        return PanopticSamples(
            [
                PanopticSample(
                    self.photos, image.file_name, partial(truth_of_panoptic, file, image.id), self.max_pixels
                )
                for image, file in found
            ],
            categories_of(file for _, file in found),
            tuple(image.id for image in self.images),
        )

    def _panoptic(self) -> list[tuple[CocoImage, PanopticFile]]:
        """Each image with the file that has its panoptic truth; all of them, and their PNGs, are known to be there."""
        files: dict[int, PanopticFile] = {}
        wanted, looked_in = {image.id for image in self.images}, []
        for split in ("train2017", "val2017") if self.split.endswith("2014") else (self.split,):
            path = _panoptic_file(self.root, split)
            looked_in.append(path)
            if path.is_file() and not wanted <= files.keys():
                folder = _panoptic_folder(self.root, split)
                found = read_panoptic(path, folder=folder, only=wanted, max_pixels=self.max_pixels)
                files |= dict.fromkeys(found.images, found)
        missing = [image.file_name for image in self.images if image.id not in files]
        refuse_missing(missing, len(self.images), "panoptic truth", looked_in)
        refuse_absent([files[image.id].png(image.id) for image in self.images], "PNG of panoptic ids")
        return [(image, files[image.id]) for image in self.images]


def open_coco(
    root: Path, split: str | None = None, selection: Selection | None = None, *, max_pixels: int = MAX_PIXELS
) -> CocoDataset:
    """The chosen images of one split of a COCO root.

    Args:
        root: the folder with annotations/.
        split: one of SPLITS; None: val2017 if it is there, else the only one that is.
        selection: which images; a line of its `ids` is an id (139, 000000000139) or a file name (COCO_val2014_000000000139.jpg).
        max_pixels: the largest H * W accepted.

    Raises:
        SettingsError: an unknown split, or none given where there are several.
        DataError: no annotations or photos of that split, an id that is not in it, or a chosen photo that is missing.
    """
    selection = selection or Selection()
    split = _checked_split(root, split)
    photos = first_folder(_photo_folders(root, split), f"The photos of {split}")
    of_split = _annotations(root, split)
    source = next((path for path in of_split if path.is_file()), None)
    if source is None:
        raise DataError(f"The images of {split} are not known: looked for {' and '.join(map(str, of_split))}.")
    images = read_coco_images(source, max_pixels=max_pixels)
    chosen = tuple(images[number] for number in choose_coco_ids(images, selection, f"{split} of {root}"))
    refuse_absent([photos / image.file_name for image in chosen], "photo")
    return CocoDataset(root, split, selection, photos, chosen, max_pixels)


def choose_coco_ids(images: Mapping[int, CocoImage], selection: Selection, what: str) -> list[int]:
    """The ids of the images that are used, in the order of their names.

    Raises:
        DataError: no images, or as `Selection.choose`.
    """
    if not images:
        raise DataError(f"There are no images in {what}.")
    numbers = {Path(image.file_name).with_suffix("").as_posix(): number for number, image in images.items()}
    if len(numbers) < len(images):
        raise DataError(f"{len(images) - len(numbers)} images of {what} have the name of another one.")
    return [numbers[stem] for stem in selection.choose(numbers, what, _number)]


def is_coco(root: Path) -> bool:
    """Whether a folder has annotations that are named as COCO's are."""
    return any(path.is_file() for split in SPLITS for path in _annotations(root, split))


def instance_truth(file: CocoFile, image_id: int) -> InstanceTruth:
    """The objects of an image of a COCO file, their category ids, and its crowds.

    Raises:
        DataError: a segmentation that is damaged.
    """
    return InstanceTruth(*file.truth(image_id))


def _number(wanted: Wanted) -> int | None:
    """The image id that a line of a list names; COCO's own file names say it, whatever number stands beside them.

    In a folder, a few digits are the name of a file as it may be in other folders, and no id.
    """
    short = "/" in wanted.name and len(wanted.stem) < _DIGITS
    named = None if short else number_of(wanted.stem)
    return wanted.number if named is None else named


def number_of(stem: str) -> int | None:
    """The image id that one of COCO's own file names says; None of any other name.

    >>> number_of("COCO_val2014_000000000139"), number_of("000000000139"), number_of("cat")
    (139, 139, None)
    """
    named = _OWN_NAME.fullmatch(stem)
    return int(named.group(1)) if named else None


def _checked_split(root: Path, split: str | None) -> str:
    if split is not None:
        if split not in SPLITS:
            raise SettingsError(f"COCO has the splits {', '.join(SPLITS)}; got {split!r}.")
        return split
    there = [
        name
        for name in SPLITS
        if any(path.is_file() for path in _annotations(root, name))
        and any(folder.is_dir() for folder in _photo_folders(root, name))
    ]
    if "val2017" in there or len(there) == 1:
        return there[0]
    found = f"it has {', '.join(there)}" if there else f"no split of {', '.join(SPLITS)} has annotations and photos"
    raise SettingsError(
        f"{root} is a COCO root, but which split is meant is not clear ({found}): give --split (split=)."
    )


def _annotations(root: Path, split: str) -> list[Path]:
    """The files that say which images are of a split; the first that is there does."""
    files = [_instances_file(root, split)]
    return files if split.endswith("2014") else [*files, _panoptic_file(root, split)]


def _instances_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"


def _panoptic_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"panoptic_{split}.json"


def _panoptic_folder(root: Path, split: str) -> Path:
    places = [place / f"panoptic_{split}" for place in (root / "annotations", root)]
    return first_folder(places, f"The panoptic PNGs of {split}")


def _photo_folders(root: Path, split: str) -> list[Path]:
    return [root / split, root / "images" / split]


def refuse_absent(files: Sequence[Path], what: str) -> None:
    """All files must be there; each folder is listed once, which on a network drive is much faster than 40,000 questions.

    Raises:
        DataError: some are not.
    """
    folders = {file.parent for file in files}
    listed = {file for folder in folders if folder.is_dir() for file in folder.iterdir()}
    missing = [file.name for file in files if file not in listed]
    refuse_missing(missing, len(files), what, sorted(folders))
