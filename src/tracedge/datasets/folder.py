"""A labelled folder: images/, masks/ or panoptic/, and ignore/, one file of each an image.

root/images/<stem>.jpg      the photos (any suffix of tracedge.images)
root/panoptic/<stem>.png    COCO panoptic, id = R + 256 G + 65536 B, 0 is void; if it is there, its segments,
                            things and stuff, are the truth of edges
root/masks/<stem>.png       otherwise: grey labels, 8 or 16 bits, 0 background, 1..N instances
root/ignore/<stem>.png      optional, for some images or all: > 0 where nothing is known
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracedge.datasets.samples import EdgeSample, EdgeTruth, Samples
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError
from tracedge.export.png import ONE_CHANNEL, read_grey, read_not_black, read_rgb
from tracedge.images import IMAGE_SUFFIXES, MAX_PIXELS
from tracedge.panoptic_map import VOID, ids_from_rgb


@dataclass(frozen=True)
class TruthFiles:
    """The truth of one image, not yet read.

    Attributes:
        labels: masks/<stem>.png or panoptic/<stem>.png.
        ignore: ignore/<stem>.png, or None.
        void: the label of pixels nobody labelled: 0 in panoptic maps. None in masks, where 0 is background, and the
            border of an instance with background is a true edge.
        max_pixels: a larger PNG is refused before it is decoded.
    """

    labels: Path
    ignore: Path | None
    void: int | None
    max_pixels: int = MAX_PIXELS

    def read(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """The labels, int32 (H, W), one a segment, and what ignore/ marks, bool (H, W).

        Raises:
            DataError: a file that cannot be read, is too large or no label map, or an ignore map of another size.
        """
        if self.void is None:
            expected = "one channel of labels, 0 background"
            labels = read_grey(self.labels, ONE_CHANNEL, expected, max_pixels=self.max_pixels).astype(np.int32)
        else:
            labels = ids_from_rgb(read_rgb(self.labels, max_pixels=self.max_pixels))
        if self.ignore is None:
            return labels, np.zeros(labels.shape, bool)
        marked = read_not_black(self.ignore, max_pixels=self.max_pixels)
        if marked.shape != labels.shape:
            got = " x ".join(map(str, marked.shape))
            raise DataError(f"{self.ignore} is {got} (rows x columns), another size than {self.labels}.")
        return labels, marked

    def edges(self) -> EdgeTruth:
        """The labels; nothing is known where ignore/ says so, and in void.

        Raises:
            DataError: as `read`.
        """
        labels, ignore = self.read()
        return EdgeTruth(labels, ignore if self.void is None else ignore | (labels == self.void), self.void)


def photo_names(root: Path, selection: Selection) -> tuple[str, ...]:
    """The file names of the chosen photos of root/images, in order.

    Raises:
        DataError: no images, two of one stem, or as `Selection.choose`.
    """
    photos = _photos_in(root / "images")
    return tuple(photos[stem] for stem in selection.choose(photos, str(root)))


def folder_edges(root: Path, names: tuple[str, ...], max_pixels: int = MAX_PIXELS) -> Samples[EdgeSample]:
    """The edges of these photos: of panoptic/ where it is there, else of masks/.

    Raises:
        DataError: as `truth_files`.
    """
    files = truth_files(root, names, "panoptic" if (root / "panoptic").is_dir() else "masks", max_pixels)
    photos = root / "images"
    return Samples([EdgeSample(photos, name, of.edges, max_pixels) for name, of in zip(names, files, strict=True)])


def truth_files(root: Path, names: tuple[str, ...], kind: str, max_pixels: int = MAX_PIXELS) -> list[TruthFiles]:
    """The truth of each of these photos, in `kind`, "masks" or "panoptic".

    Raises:
        DataError: no such folder, or a photo without truth.
    """
    truth = root / kind
    if not truth.is_dir():
        looked_for = "no masks/" if (root / "panoptic").is_dir() else "neither panoptic/ nor masks/"
        raise DataError(f"{root} has {looked_for} beside images/: the truth is missing.")
    stems = [Path(name).stem for name in names]
    missing = [stem for stem in stems if not (truth / f"{stem}.png").is_file()]
    if missing:
        raise DataError(f"{len(missing)} of {len(stems)} images have no truth: {truth / missing[0]}.png is missing.")
    ignore = [root / "ignore" / f"{stem}.png" for stem in stems]
    void = VOID if kind == "panoptic" else None
    return [
        TruthFiles(truth / f"{stem}.png", path if path.is_file() else None, void, max_pixels)
        for stem, path in zip(stems, ignore, strict=True)
    ]


def _photos_in(folder: Path) -> dict[str, str]:
    """Stem -> file name."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; a labelled folder has images/ and masks/ or panoptic/.")
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem in found:
            raise DataError(f"{found[path.stem]} and {path.name} in {folder} have one stem: rename one of them.")
        found[path.stem] = path.name
    if not found:
        raise DataError(f"No image in {folder}: looked for {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return found
