"""A labelled folder: images/, masks/ or panoptic/, and ignore/, one file of each an image."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.datasets.fingerprint import fingerprint
from tracedge.datasets.panoptic_truth import read_panoptic_ids
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError
from tracedge.images import IMAGE_SUFFIXES, MAX_PIXELS, load_image

_LABEL_MODES = ("1", "L", "P", "I", "I;16")


@dataclass(frozen=True)
class Sample:
    """One image and its truth. Files are read when asked for, once a sample.

    Attributes:
        stem: file name without its suffix; names the image everywhere.
        image_path: the photo.
        labels_path: masks/<stem>.png or panoptic/<stem>.png.
        ignore_path: ignore/<stem>.png, or None.
        void: the label of pixels nobody labelled: 0 in panoptic maps. None in masks, where 0 is background, and the
            border of an instance with background is a true edge.
        max_pixels: a larger photo is refused before it is decoded.
    """

    stem: str
    image_path: Path
    labels_path: Path
    ignore_path: Path | None
    void: int | None
    max_pixels: int = MAX_PIXELS

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), turned upright by its EXIF orientation."""
        return load_image(self.image_path, max_pixels=self.max_pixels)

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """(H, W) int32: one label a segment.

        Raises:
            DataError: a file that is no label map, or of another size than the image.
        """
        labels = read_masks(self.labels_path) if self.void is None else read_panoptic_ids(self.labels_path)
        self._require_image_size(labels, self.labels_path)
        return labels

    @cached_property
    def ignore(self) -> NDArray[np.bool_]:
        """(H, W) bool: pixels where nothing is known, by ignore/ or because they are void.

        Raises:
            DataError: an ignore map of another size than the image.
        """
        ignore = np.zeros(self.labels.shape, bool) if self.void is None else self.labels == self.void
        if self.ignore_path is not None:
            marked = read_ignore(self.ignore_path)
            self._require_image_size(marked, self.ignore_path)
            ignore = ignore | marked
        return ignore

    @property
    def name(self) -> str:
        """The file name of the photo."""
        return self.image_path.name

    @cached_property
    def fingerprint(self) -> str:
        """Of the files of the photo and of its truth; nothing is decoded."""
        return fingerprint(self.image_path, self.labels_path, self.ignore_path, self.void)

    @property
    def boundaries(self) -> None:
        """None: the borders of `labels` are the truth."""
        return None

    def _require_image_size(self, values: NDArray[np.generic], path: Path) -> None:
        height, width = self.image.shape[:2]
        if values.shape != (height, width):
            raise DataError(
                f"{path} is {values.shape[0]} x {values.shape[1]} (rows x columns), "
                f"but its image {self.image_path} is {height} x {width}, upright."
            )


class FolderDataset:
    """The samples of a folder, in the order of their file names.

        root/images/<stem>.jpg      the photos (any suffix of tracedge.images)
        root/panoptic/<stem>.png    COCO panoptic, id = R + 256 G + 65536 B, 0 is void; if it is there, its segments,
                                    things and stuff, are the truth
        root/masks/<stem>.png       otherwise: grey labels, 8 or 16 bits, 0 background, 1..N instances
        root/ignore/<stem>.png      optional, for some images or all: > 0 where nothing is known

    Args:
        root: the folder.
        limit: keep only the first so many images.
        panoptic: whether panoptic/ is the truth where it is there; False: always masks/.
        selection: which images; `limit` is then its own.
        max_pixels: see `Sample`.

    Raises:
        DataError: no images, no truth folder, an image without truth, or two images of one stem.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        limit: int | None = None,
        *,
        panoptic: bool = True,
        selection: Selection | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.root, self.max_pixels = Path(root), max_pixels
        images = _images_in(self.root / "images")
        self.panoptic = panoptic and (self.root / "panoptic").is_dir()
        truth = self.root / ("panoptic" if self.panoptic else "masks")
        if not truth.is_dir():
            looked_for = "neither panoptic/ nor masks/" if panoptic else "no masks/"
            raise DataError(f"{self.root} has {looked_for} beside images/: the truth is missing.")
        missing = [stem for stem in images if not (truth / f"{stem}.png").is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(images)} images have no truth: {truth / missing[0]}.png is missing."
            )
        selection = Selection(limit=limit) if selection is None else selection
        chosen = selection.choose(images, str(self.root))
        self._samples = [self._sample(stem, images[stem], truth) for stem in chosen]

    @property
    def names(self) -> tuple[str, ...]:
        """The file names of the photos, in order."""
        return tuple(sample.image_path.name for sample in self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._samples:
            # A fresh one each time: what it has read is freed with it.
            yield Sample(**{name: getattr(sample, name) for name in Sample.__dataclass_fields__})

    def _sample(self, stem: str, path: Path, truth: Path) -> Sample:
        ignore = self.root / "ignore" / f"{stem}.png"
        void = 0 if self.panoptic else None
        labels, known = truth / f"{stem}.png", ignore if ignore.is_file() else None
        return Sample(stem, path, labels, known, void, self.max_pixels)


def _images_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; a labelled folder has images/ and masks/ or panoptic/.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem in found:
            raise DataError(f"{found[path.stem].name} and {path.name} in {folder} have one stem: rename one of them.")
        found[path.stem] = path
    if not found:
        raise DataError(f"No image in {folder}: looked for {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return found


def read_masks(path: Path) -> NDArray[np.int32]:
    """The labels of a grey PNG, int32 (H, W), 0 background.

    Raises:
        DataError: a file that cannot be read, or of several channels.
    """
    picture = _read_png(path)
    if picture.mode not in _LABEL_MODES:
        raise DataError(f"{path} is a PNG of mode {picture.mode}; expected one channel of labels, 0 background.")
    return np.asarray(picture).astype(np.int32)


def read_ignore(path: Path) -> NDArray[np.bool_]:
    """(H, W) bool: where a PNG is not black.

    Raises:
        DataError: a file that cannot be read.
    """
    return np.asarray(_read_png(path).convert("L")) > 0


def _read_png(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            return picture
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a PNG: {error}.") from error
