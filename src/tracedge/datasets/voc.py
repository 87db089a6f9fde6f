"""PASCAL VOC 2012 segmentation as it is unpacked: VOCdevkit/VOC2012 with palette PNGs whose indices are the labels.

    JPEGImages/<stem>.jpg
    SegmentationObject/<stem>.png        0 background, 1..N the objects, 255 void
    SegmentationClass/<stem>.png         0 background, 1..20 the class, 255 void
    ImageSets/Segmentation/{train,val,trainval}.txt

Void is a belt of about five pixels around every object, and whatever the annotators left out. So no object touches background in
these maps, and its border lies somewhere within the belt: for edges, void up to VOID_REACH pixels from a label is given to the
nearest one, which puts the border in the middle of the belt; what is farther away stays unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tracedge.categories import VOC_PANOPTIC, by_id
from tracedge.datasets.panoptic_truth import PanopticTruth
from tracedge.datasets.places import root_of
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
from tracedge.export.png import read_grey
from tracedge.images import MAX_PIXELS
from tracedge.instances import Instances
from tracedge.panoptic_map import PanopticMap, Segment

SPLITS = ("val", "train", "trainval")
_STEM = re.compile(r"\w[\w.-]{0,99}")
LOOKED_FOR = (
    "VOC: ImageSets/Segmentation/, SegmentationObject/ and JPEGImages/, here, in VOC2012/ or in VOCdevkit/VOC2012/"
)
BACKGROUND = 0
"""The id of the one stuff class."""

VOID = 255
THINGS = 20
VOID_REACH = 5
BACKGROUND_SEGMENT = 256
"""The segment id of background in panoptic maps, where 0 is void; objects are 1..254, as in SegmentationObject."""

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class _Files:
    """The two label maps of an image."""

    objects: Path
    classes: Path
    max_pixels: int

    def read_objects(self) -> Labels:
        """(H, W) int32: 0 background, 255 void."""
        return _indices(self.objects, self.max_pixels)

    def read(self) -> tuple[Labels, dict[int, int]]:
        """The objects, and the class of each: the one that most of its pixels are of."""
        objects, classes = self.read_objects(), _indices(self.classes, self.max_pixels)
        if objects.shape != classes.shape:
            raise DataError(f"{self.objects} is {objects.shape} and {self.classes} is {classes.shape} (rows, columns).")
        found: dict[int, int] = {}
        for label in np.unique(objects[(objects > 0) & (objects != VOID)]).tolist():
            votes = np.bincount(classes[objects == label], minlength=VOID + 1)[1 : THINGS + 1]
            if not votes.any():
                raise DataError(f"{self.classes} gives no class of 1..{THINGS} to object {label} of {self.objects}.")
            found[label] = int(votes.argmax()) + 1
        return objects, found


@dataclass(frozen=True, eq=False)
class VocDataset:
    """The chosen images of one split; `open_voc` makes it.

    Attributes:
        root: the folder with JPEGImages/.
        split: one of SPLITS.
        selection: what was asked for.
        stems: the chosen images, in order.
        max_pixels: the largest H * W accepted.
    """

    root: Path
    split: str
    selection: Selection
    stems: tuple[str, ...]
    max_pixels: int = MAX_PIXELS
    layout = "VOC"

    @property
    def names(self) -> tuple[str, ...]:
        """The file names of the photos, in order."""
        return tuple(f"{stem}.jpg" for stem in self.stems)

    def edges(self, *, void_edges: bool = False, crowd_edges: bool = False) -> Samples[EdgeSample]:
        """The borders of objects with each other and with background, in the middle of the void belt.

        Raises:
            SettingsError: `void_edges` or `crowd_edges`: VOC's void is the border itself, and it has no crowds.
        """
        if void_edges or crowd_edges:
            raise SettingsError(
                "--void-edges and --crowd-edges are for COCO: in VOC void lies along every border, and there are no crowds."
            )
        return Samples([EdgeSample(*photo, partial(_edges, files), self.max_pixels) for photo, files in self._files()])

    def instances(self) -> Samples[InstanceSample]:
        """The objects and their class ids; no crowds.

        Void is left out, as is usual for VOC: it is neither an object nor ignored, so a mask that lies in it counts as wrong.
        COCO's evaluation ignores no pixels, and a belt along every border is no crowd, in which objects may be found.
        """
        return Samples(
            [InstanceSample(*photo, partial(_instances, of), self.max_pixels) for photo, of in self._files()]
        )

    def panoptic(self) -> PanopticSamples:
        """20 things, and background as the one kind of stuff; void is 0."""
        samples = [PanopticSample(*photo, partial(_panoptic, of), self.max_pixels) for photo, of in self._files()]
        return PanopticSamples(samples, VOC_PANOPTIC)

    def _files(self) -> list[tuple[tuple[Path, str], _Files]]:
        """The folder and the name of each photo, and its label maps."""
        folder = self.root / "JPEGImages"
        return [((folder, f"{stem}.jpg"), _files(self.root, stem, self.max_pixels)) for stem in self.stems]


def open_voc(
    path: Path, split: str | None = None, selection: Selection | None = None, *, max_pixels: int = MAX_PIXELS
) -> VocDataset:
    """The chosen images of one split of VOC 2012.

    Args:
        path: the folder with JPEGImages/, or one that has it as VOC2012/ or VOCdevkit/VOC2012/.
        split: val (the default), train or trainval.
        selection: which images.
        max_pixels: the largest H * W accepted.

    Raises:
        SettingsError: an unknown split.
        DataError: no such folder, a split without list, or a chosen image without photo or label maps.
    """
    selection, split = selection or Selection(), split or "val"
    root = find_voc(path)
    if root is None:
        raise DataError(f"{path} is not as VOC is unpacked: looked for {LOOKED_FOR}.")
    if split not in SPLITS:
        raise SettingsError(f"VOC has the splits {', '.join(SPLITS)}; got {split!r}.")
    listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    try:
        stems = listed.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listed} cannot be read: {error}.") from error
    if not stems:
        raise DataError(f"{listed} names no image.")
    if strange := [stem for stem in stems if not _STEM.fullmatch(stem)]:
        raise DataError(f"{listed} names {strange[0]!r:.80}, expected the names of photos without folder and suffix.")
    chosen = selection.choose(dict.fromkeys(stems), f"{split} of {root}")
    for what, file in (("photo", _photo), ("object labels", _object_labels), ("class labels", _class_labels)):
        missing = [stem for stem in chosen if not file(root, stem).is_file()]
        refuse_missing(missing, len(chosen), what, [file(root, stem).parent for stem in missing[:1]])
    return VocDataset(root, split, selection, tuple(chosen), max_pixels)


def find_voc(path: Path) -> Path | None:
    """The folder with JPEGImages/, SegmentationObject/ and the lists: this one, or one below it; None if there is none."""
    parts = ("JPEGImages", "SegmentationObject", "ImageSets/Segmentation")
    return root_of(path, ("VOC2012", "VOCdevkit/VOC2012"), parts)


def _photo(root: Path, stem: str) -> Path:
    return root / "JPEGImages" / f"{stem}.jpg"


def _object_labels(root: Path, stem: str) -> Path:
    return root / "SegmentationObject" / f"{stem}.png"


def _class_labels(root: Path, stem: str) -> Path:
    return root / "SegmentationClass" / f"{stem}.png"


def _files(root: Path, stem: str, max_pixels: int) -> _Files:
    return _Files(_object_labels(root, stem), _class_labels(root, stem), max_pixels)


def _indices(path: Path, max_pixels: int) -> Labels:
    expected = "a palette whose indices are labels, 0 background, 255 void"
    return read_grey(path, ("P", "L"), expected, max_pixels=max_pixels).astype(np.int32)


def _edges(files: _Files) -> EdgeTruth:
    """Void near a label is given to the nearest one; the rest stays unknown."""
    objects = files.read_objects()
    void = objects == VOID
    if void.all():
        return EdgeTruth(objects, void)
    distance, nearest = distance_transform_edt(void, return_indices=True)
    labels = objects[tuple(nearest)]
    unknown = distance > VOID_REACH
    return EdgeTruth(np.where(unknown, VOID, labels).astype(np.int32), unknown)


def _instances(files: _Files) -> InstanceTruth:
    objects, classes = files.read()
    found = Instances.from_labels(np.where(objects == VOID, BACKGROUND, objects))
    return InstanceTruth(found, tuple(classes[label] for label in sorted(classes)), np.zeros((0, *found.shape), bool))


def _panoptic(files: _Files) -> PanopticTruth:
    objects, classes = files.read()
    segments = [Segment(label, category, True) for label, category in sorted(classes.items())]
    if (objects == BACKGROUND).any():
        segments.append(Segment(BACKGROUND_SEGMENT, BACKGROUND, False))
    ids = np.where(objects == BACKGROUND, BACKGROUND_SEGMENT, np.where(objects == VOID, 0, objects)).astype(np.int32)
    return PanopticTruth(PanopticMap(ids, tuple(segments)), by_id(VOC_PANOPTIC))
