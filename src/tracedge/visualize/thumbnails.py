"""What to show of one photo of a run, small: its overlay, or its map over the photo, or the map alone."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter

from tracedge.errors import DataError
from tracedge.export.png import read_grey, read_png16, read_rgb
from tracedge.images import MAX_PIXELS, load_image, load_thumbnail
from tracedge.run_entries import RunEntry
from tracedge.visualize.overlays import FILL, instance_colours, labels_overlay, numbered, overlay

RGB: TypeAlias = NDArray[np.uint8]

TO_LOOK_AT = ("overlay.png", ".inspect.png")
INSTANCES_OVERLAY = ".instances.overlay.png"
EDGES, LABELS, SEGMENTS, CLASSES = ".edges.png", ".instances.png", "panoptic/.png", "classes/.png"
PHOTO = ".image.png"  # `tracedge teach` keeps the photo beside its edges


def thumbnail(
    folder: Path, entry: RunEntry, side: int, images: Path | None = None, *, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """A picture of one photo of a run, RGB, within side x side pixels.

    Instances are drawn at this size, so that their numbers can be read: over the photo, on the run's overlay made small, or
    alone. Any other overlay that the run wrote is shown as it is. Else its map (edges, segments or classes) is laid over
    the photo, or stands alone where no photo is at hand: edges dark on white, the rest in colours.

    Args:
        folder: of the run. images: the folder that the run's photos came from.

    Raises:
        DataError, ImageError: a file is missing or damaged, or the run wrote nothing that could be shown.
    """
    overlaid = next((suffix for suffix in entry.suffixes if suffix.endswith(TO_LOOK_AT)), None)
    if LABELS in entry.suffixes and (overlaid is None or entry.output(folder, LABELS).exists()):
        return _instances(folder, entry, side, images, max_pixels)
    if overlaid is not None:
        return load_thumbnail(entry.output(folder, overlaid), side, max_pixels=max_pixels)
    photo = _photo(folder, entry, side, images, max_pixels)
    if EDGES in entry.suffixes:
        return _edges(read_png16(entry.output(folder, EDGES), max_pixels=max_pixels), photo, side)
    colours = _colours(folder, entry, max_pixels)
    small = np.asarray(Image.fromarray(colours).resize(_size(colours, photo, side), Image.Resampling.NEAREST))
    if photo is None:
        return Image.fromarray(small)
    weight = FILL * small.any(axis=2, keepdims=True)
    return Image.fromarray((np.asarray(photo) * (1 - weight) + small * weight).round().astype(np.uint8))


def _instances(folder: Path, entry: RunEntry, side: int, images: Path | None, max_pixels: int) -> Image.Image:
    numbers = read_grey(entry.output(folder, LABELS), ("I;16",), "a label map", max_pixels=max_pixels)
    photo, drawn = _photo(folder, entry, side, images, max_pixels), INSTANCES_OVERLAY in entry.suffixes
    ground = photo
    if photo is None and drawn:
        ground = load_thumbnail(entry.output(folder, INSTANCES_OVERLAY), side, max_pixels=max_pixels)
    size = _size(numbers, ground, side)
    labels = np.asarray(Image.fromarray(numbers).resize(size, Image.Resampling.NEAREST)).astype(np.uint16)
    if photo is not None:
        return Image.fromarray(labels_overlay(np.asarray(photo), labels, apart=True))
    picture = instance_colours(int(labels.max()))[labels] if ground is None else np.asarray(ground)
    return Image.fromarray(numbered(picture, labels, apart=True))


def _photo(folder: Path, entry: RunEntry, side: int, images: Path | None, max_pixels: int) -> Image.Image | None:
    if PHOTO in entry.suffixes:
        return load_thumbnail(entry.output(folder, PHOTO), side, max_pixels=max_pixels)
    if images is None or not (images / entry.file).exists():  # it was in an archive, or is not there any more
        return None
    return load_thumbnail(images / entry.file, side, max_pixels=max_pixels)


def _edges(edges: NDArray[np.float32], photo: Image.Image | None, side: int) -> Image.Image:
    """Made small by the strongest edge nearby: the mean of a thin line and its ground would be gone."""
    width, height = _size(edges, photo, side)
    factor = max(1, round(edges.shape[1] / width))
    rows, columns = ((np.arange(n) + 0.5) * of // n for n, of in ((height, edges.shape[0]), (width, edges.shape[1])))
    small = maximum_filter(edges, factor)[np.ix_(rows.astype(int), columns.astype(int))]
    if photo is None:
        return Image.fromarray(np.rint(255 * (1 - small)).astype(np.uint8)).convert("RGB")
    return Image.fromarray(overlay(np.asarray(photo), small))


def _colours(folder: Path, entry: RunEntry, max_pixels: int) -> RGB:
    """The run's map as colours (H, W, 3), black where nothing is."""
    if SEGMENTS in entry.suffixes:
        ids = read_rgb(entry.output(folder, SEGMENTS), max_pixels=max_pixels).astype(np.int64) @ (1, 256, 65536)
        present, places = np.unique(ids, return_inverse=True)
        places = places.reshape(ids.shape) + int(present[0] != 0)  # 0 is void
        return instance_colours(int(places.max()))[places]
    if CLASSES in entry.suffixes:
        return load_image(entry.output(folder, CLASSES), max_pixels=max_pixels)  # its palette has the colours
    raise DataError(
        f"the run wrote {', '.join(entry.suffixes) or 'nothing'} of {entry.file}, of which nothing can be shown."
    )


def _size(picture: NDArray[np.generic], photo: Image.Image | None, side: int) -> tuple[int, int]:
    """Width and height of the photo's thumbnail, or within side x side."""
    if photo is not None:
        return photo.size
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
