"""What a detector learns from: photos, and the pseudo masks of each, of instances or panoptic."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category
from tracedge.errors import DataError, ImageError, SettingsError
from tracedge.export.json_lists import lists_of, read_json_text
from tracedge.export.panoptic_reader import read_panoptic
from tracedge.images import MAX_PIXELS, load_image
from tracedge.instances import Instances, Masks
from tracedge.jobs import Job, find_images
from tracedge.panoptic_map import PanopticMap
from tracedge.proposals.from_files import MaskSource, find_masks

OBJECT = (Category(1, "object", True),)
"""All that a detector of instances of any class knows."""


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """image: uint8 (H, W, 3). masks: bool (K, H, W), each with a pixel. classes: int64 (K,), places in the categories."""

    image: NDArray[np.uint8]
    masks: Masks
    classes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Labels:
    """The photos that masks are known of, in the order of their names. `find_labels` makes it.

    categories: what the classes are. panoptic: whether masks are those of a panoptic map. without: how many photos have none.
    provenance: what they depend on, of JSON's types.
    """

    photos: tuple[Job, ...]
    categories: tuple[Category, ...]
    panoptic: bool
    without: int
    provenance: dict[str, Any]
    _read: Callable[[Job, tuple[int, int]], Instances | PanopticMap] = field(repr=False)
    _max_pixels: int = MAX_PIXELS

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, number: int) -> LabelledPhoto:
        """A photo and its masks; crowds are none.

        Raises:
            DataError, ImageError: files that are damaged or of two sizes.
        """
        job = self.photos[number]
        image = load_image(job.source, max_pixels=self._max_pixels)
        hw = (image.shape[0], image.shape[1])
        found = self.read(job, hw)
        if isinstance(found, Instances):
            return LabelledPhoto(image, found.masks, np.zeros(len(found), np.int64))
        segments = [segment for segment in found.segments if not segment.iscrowd]
        masks = np.array([found.ids == segment.id for segment in segments], bool).reshape(-1, *hw)
        places = {category.id: place for place, category in enumerate(self.categories)}
        return LabelledPhoto(image, masks, np.array([places[one.category_id] for one in segments], np.int64))

    def require_masks(self) -> None:
        """Make sure that there is something to learn: photos are looked at up to the first that has a mask.

        Raises:
            DataError: none has.
        """
        for number in range(len(self)):
            try:
                if len(self[number].masks):
                    return
            except (DataError, ImageError):
                continue  # told when it is drawn
        raise DataError(f"none of the {len(self)} photos has a mask: there is nothing to learn from.")

    def read(self, photo: Job, image_hw: tuple[int, int]) -> Instances | PanopticMap:
        """The pseudo masks of one of the photos, of the size that it has: a `PanopticMap` where the labels are panoptic.

        Raises:
            DataError: files that are damaged or of another size.
        """
        return self._read(photo, image_hw)


def find_labels(
    pseudo: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    min_score: float = 0.0,
    max_pixels: int = MAX_PIXELS,
) -> Labels:
    """Photos with the masks that `tracedge segment` or `tracedge panoptic` wrote of them, or any other tool.

    Args:
        pseudo: a panoptic .json or the folder of one (`tracedge panoptic`), or masks as `find_masks` takes them.
        images: the photos: files, folders or globs.
        min_score: instances of a lower score are left out.
        max_pixels: larger pictures are refused.

    Raises:
        DataError: no masks, none of these photos, or two photos of one name.
        SettingsError: a min_score outside of [0, 1], or one for panoptic maps, which are taken whole.
    """
    if not 0 <= min_score <= 1:
        raise SettingsError(f"min_score lies in [0, 1], got {min_score}")
    jobs = find_images(images)
    path = _panoptic_json(Path(pseudo))
    if path is None:
        source = find_masks(_instances_of(Path(pseudo)), max_pixels=max_pixels)
        known = [job for job in jobs if job.file in source]
        read = partial(_instances, source, min_score)
        provenance = {**source.provenance, "min_score": min_score}
        found = Labels(tuple(known), OBJECT, False, len(jobs) - len(known), provenance, read, max_pixels)
    else:
        if min_score:
            raise SettingsError("a panoptic map is taken whole: leave min_score out.")
        found = _panoptic_labels(path, jobs, max_pixels)
    if not found.photos:
        raise DataError(f"{pseudo} has masks of none of the {len(jobs)} photos, such as {jobs[0].file}.")
    return replace(found, provenance=found.provenance | {"photos": _photos(found.photos)})


def _photos(jobs: Sequence[Job]) -> str:
    """Which photos these are, by their names and sizes in bytes: a training's content would take too long to read beforehand."""
    listed = "\n".join(f"{job.file}:{job.source.stat().st_size}" for job in jobs)
    return f"{len(jobs)}, {hashlib.sha256(listed.encode()).hexdigest()[:16]}"


def _panoptic_json(path: Path) -> Path | None:
    """The file, if it is a panoptic one: its annotations have segments_info."""
    file = path / "panoptic.json" if path.is_dir() else path
    if path.is_dir():
        return file if file.is_file() else None
    if not file.is_file() or file.suffix.lower() != ".json":
        return None
    try:
        first = next((records for name, records in lists_of(read_json_text(file)) if name == "annotations"), iter(()))
        entry = next(iter(first), None)
    except DataError:
        return None  # the reader of instances says what is wrong with it
    return file if isinstance(entry, dict) and "segments_info" in entry else None


def _instances_of(path: Path) -> Path:
    """The COCO file of a folder that `tracedge segment` wrote: it has the scores, which label maps have not."""
    file = path / "instances.json"
    return file if file.is_file() else path


def _instances(source: MaskSource, min_score: float, job: Job, image_hw: tuple[int, int]) -> Instances:
    found = source.read(job.file, image_hw)
    return found[found.scores >= min_score]


def _panoptic_labels(path: Path, jobs: Sequence[Job], max_pixels: int) -> Labels:
    file = read_panoptic(path, max_pixels=max_pixels)
    ids: dict[str, int] = {}
    for number, image in file.images.items():
        stem = str(PurePosixPath(image.file_name).with_suffix(""))
        if stem in ids:
            raise DataError(f"{path} has two images named {stem}.")
        ids[stem] = number
    known = tuple(job for job in jobs if str(job.relative) in ids)
    provenance: dict[str, Any] = {"panoptic": file.content(ids[str(job.relative)] for job in known)}

    def read(job: Job, image_hw: tuple[int, int]) -> PanopticMap:
        return file.read(ids[str(job.relative)], image_hw)

    return Labels(known, file.categories, True, len(jobs) - len(known), provenance, read, max_pixels)
