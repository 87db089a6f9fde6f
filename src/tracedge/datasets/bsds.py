"""BSDS500 as it is unpacked: several people drew the boundaries of each image.

    BSR/BSDS500/data/images/{train,val,test}/<stem>.jpg
    BSR/BSDS500/data/groundTruth/{train,val,test}/<stem>.mat

What they drew are regions, parts and textures as well as objects: a score here says how well a detector finds what people outline
in a picture, and not how well it finds instances. It is read to compare with edge detectors (Arbelaez et al., 2011).

Nothing in the .mat files is run: no pickle, no functions (`mat.py`); any other element than a map of booleans or whole numbers
is refused.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tracedge.datasets.mat import fields_of
from tracedge.datasets.places import first_folder, root_of
from tracedge.datasets.samples import EdgeSample, EdgeTruth, InstanceSample, PanopticSamples, Samples
from tracedge.datasets.selection import Selection, refuse_missing
from tracedge.errors import DataError, SettingsError
from tracedge.images import IMAGE_SUFFIXES, MAX_PIXELS

SPLITS = ("test", "val", "train")
LOOKED_FOR = (
    "BSDS: images/ and groundTruth/ with train/, val/ and test/, here, in data/, BSDS500/data/ or BSR/BSDS500/data/"
)
MAX_MAT_BYTES = 1 << 24
"""The files of BSDS500 are below 200 kB; larger ones are refused before they are unpacked."""


@dataclass(frozen=True, eq=False)
class BsdsDataset:
    """The chosen images of one split; `open_bsds` makes it.

    Attributes:
        root: the folder with images/ and groundTruth/.
        split: one of SPLITS.
        selection: what was asked for.
        photos: the chosen photos, in the order of their names.
        max_pixels: the largest H * W accepted.
    """

    root: Path
    split: str
    selection: Selection
    photos: tuple[Path, ...]
    max_pixels: int = MAX_PIXELS
    layout = "BSDS"

    @property
    def names(self) -> tuple[str, ...]:
        """The file names of the photos, in order."""
        return tuple(photo.name for photo in self.photos)

    def edges(self, *, void_edges: bool = False, crowd_edges: bool = False) -> Samples[EdgeSample]:
        """The boundaries of all annotators, bool (A, H, W). They are a pixel wide: score them without thinning (`--bsds`).

        Raises:
            SettingsError: `void_edges` or `crowd_edges`, which BSDS does not have.
        """
        if void_edges or crowd_edges:
            raise SettingsError("--void-edges and --crowd-edges are for panoptic truth: BSDS has boundaries only.")
        mats = (_mat(self.root, self.split, photo.stem) for photo in self.photos)
        return Samples(
            [
                EdgeSample(photo.parent, photo.name, partial(_edges, mat), self.max_pixels)
                for photo, mat in zip(self.photos, mats, strict=True)
            ]
        )

    def instances(self) -> Samples[InstanceSample]:
        """Refused: regions that people outlined are no instances.

        Raises:
            DataError: always.
        """
        self._refuse("instances")

    def panoptic(self) -> PanopticSamples:
        """Refused: regions that people outlined have no categories.

        Raises:
            DataError: always.
        """
        self._refuse("panoptic segments")

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(f"{self.root} is BSDS, whose truth is boundaries that people drew: it has no {what}.")


def open_bsds(
    path: Path, split: str | None = None, selection: Selection | None = None, *, max_pixels: int = MAX_PIXELS
) -> BsdsDataset:
    """The chosen images of one split of BSDS500.

    Args:
        path: the folder with images/ and groundTruth/, or one that has it as data/, BSDS500/data/ or BSR/BSDS500/data/.
        split: test (the default), val or train.
        selection: which images.
        max_pixels: the largest H * W accepted.

    Raises:
        SettingsError: an unknown split.
        DataError: no such folder, or a chosen photo without .mat.
    """
    selection, split = selection or Selection(), split or "test"
    root = find_bsds(path)
    if root is None:
        raise DataError(f"{path} is not as BSDS is unpacked: looked for {LOOKED_FOR}.")
    if split not in SPLITS:
        raise SettingsError(f"BSDS has the splits {', '.join(SPLITS)}; got {split!r}.")
    folder = first_folder([root / "images" / split], f"The photos of {split}")
    photos = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES}
    if not photos:
        raise DataError(f"No image in {folder}: looked for {', '.join(sorted(IMAGE_SUFFIXES))}.")
    chosen = selection.choose(photos, f"{split} of {root}")
    missing = [stem for stem in chosen if not _mat(root, split, stem).is_file()]
    refuse_missing(missing, len(chosen), "boundaries (.mat)", [root / "groundTruth" / split])
    return BsdsDataset(root, split, selection, tuple(photos[stem] for stem in chosen), max_pixels)


def find_bsds(path: Path) -> Path | None:
    """The folder with images/ and groundTruth/: this one, or one below it; None if there is none."""
    return root_of(path, ("data", "BSDS500/data", "BSR/BSDS500/data"), ("images", "groundTruth"))


def read_boundaries(path: Path) -> NDArray[np.bool_]:
    """The boundaries of each of A annotators, bool (A, H, W).

    The file holds a cell array `groundTruth` of A structs, each with a map `Boundaries`, 0 or 1.

    Raises:
        DataError: a file that is too large, damaged, of Matlab's formats 4 and 7.3, or of another form.
    """
    planes = []
    for number, plane in enumerate(_planes(path), start=1):
        if plane is None or plane.ndim != 2 or plane.size == 0:
            raise DataError(f"{path}: annotator {number} has no map of Boundaries of whole numbers (H, W).")
        if plane.min() < 0 or plane.max() > 1:
            raise DataError(
                f"{path}: the Boundaries of annotator {number} are 0 or 1, got {plane.min()}..{plane.max()}."
            )
        planes.append(plane.astype(bool))
    if not planes:
        raise DataError(f"{path}: groundTruth has no annotator.")
    if len({plane.shape for plane in planes}) > 1:
        raise DataError(f"{path}: the Boundaries of its annotators are of different sizes.")
    return np.stack(planes)


def _edges(mat: Path) -> EdgeTruth:
    boundaries = read_boundaries(mat)
    return EdgeTruth(None, np.zeros(boundaries.shape[1:], bool), boundaries=boundaries)


def _mat(root: Path, split: str, stem: str) -> Path:
    return root / "groundTruth" / split / f"{stem}.mat"


def _planes(path: Path) -> list[NDArray[Any] | None]:
    try:
        size = path.stat().st_size
        if size > MAX_MAT_BYTES:
            raise DataError(f"{path} is {size} bytes, more than the limit of {MAX_MAT_BYTES} for a .mat of boundaries.")
        found = fields_of(path.read_bytes(), "groundTruth", "Boundaries")
    except DataError:
        raise
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a .mat file: {error}.") from error
    if found is None:
        raise DataError(f"{path} has no cell array groundTruth.")
    return found
