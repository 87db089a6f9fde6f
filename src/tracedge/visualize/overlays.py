"""What was found, laid over its photo: edges, instances, panoptic segments, classes."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import find_objects
from skimage.segmentation import find_boundaries

from tracedge.errors import DataError
from tracedge.instances import Instances, inner_point
from tracedge.panoptic_map import PanopticMap
from tracedge.semantic_map import UNKNOWN, SemanticMap

RGB = NDArray[np.uint8]
Labels = NDArray[np.uint16]

EDGE_COLOUR = (255, 64, 32)
FILL = 0.45
SMALL_NUMBER = 9  # px
BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
PALE = (0.45, 0.8)  # saturation and brightness of stuff, and of classes
GOLDEN = 0.6180339887  # turns of the colour circle by this part never come near each other soon


def overlay(image: RGB, edges: NDArray[np.float32]) -> RGB:
    """The image, dimmed, with edges (H, W) in [0, 1] laid over it in orange: uint8 (H, W, 3)."""
    dimmed = image * 0.65 + 255 * 0.1
    weight = np.sqrt(edges)[..., None]  # faint edges should still be seen
    return (dimmed * (1 - weight) + np.array(EDGE_COLOUR) * weight).round().astype(np.uint8)


def instances_overlay(image: RGB, instances: Instances) -> RGB:
    """The image with each instance in a colour of its own, outlined, and with its number (from 1) inside: uint8 (H, W, 3).

    The colours depend on the number alone; an outline is black or white, whichever is farther from the photo and the colour along
    it. Where instances overlap, the higher score is seen. A number stands at the most inner point of what is seen of its
    instance, small where that is small; it is white with a black rim, so that it can be read on anything.

    Raises:
        DataError: an image of another size than the instances'.
    """
    if image.shape != (*instances.shape, 3) or image.dtype != np.uint8:
        raise DataError(f"expected an image of uint8 {(*instances.shape, 3)}, got {image.dtype} {image.shape}.")
    return labels_overlay(image, instances.to_labels())


def labels_overlay(image: RGB, labels: Labels, *, apart: bool = False) -> RGB:
    """As `instances_overlay`, of a label map (H, W) of uint16 in which 0 is no instance. apart: as in `numbered`."""
    colours = instance_colours(int(labels.max()))[labels]
    weight = FILL * (labels > 0)[..., None]
    drawn = (image * (1 - weight) + colours * weight).round().astype(np.uint8)
    # Padded: closed along the image's border too.
    outline = find_boundaries(np.pad(labels, 1), mode="inner")[1:-1, 1:-1]
    bright = _mean_brightness(drawn[outline], labels[outline], int(labels.max()) + 1) >= 128
    drawn[outline] = np.where(bright, 0, 255)[labels[outline], None]
    return numbered(drawn, labels, apart=apart)


def instance_colours(count: int) -> RGB:
    """uint8 (count + 1, 3): black for the background, then bright colours, far apart for numbers that follow each other."""
    turns = (np.arange(count) * GOLDEN) % 1
    bands = [(1 - 0.25 * (number // 3 % 2), 0.65 + 0.35 * (number % 2)) for number in range(count)]
    colours = [colorsys.hsv_to_rgb(hue, strong, bright) for hue, (bright, strong) in zip(turns, bands, strict=True)]
    return np.round(np.array([(0, 0, 0), *colours]) * 255).astype(np.uint8)


def panoptic_overlay(image: RGB, panoptic: PanopticMap) -> RGB:
    """The image with each segment in the colour of its category, a white line between segments: uint8 (H, W, 3).

    The colours depend on the category ids alone, so that a truth and a prediction can be compared; stuff is paler, things of one
    category take turns in brightness. Void is left grey.

    Raises:
        DataError: an image of another size than the map's.
    """
    if image.shape != (*panoptic.shape, 3) or image.dtype != np.uint8:
        raise DataError(f"expected an image of uint8 {(*panoptic.shape, 3)}, got {image.dtype} {image.shape}.")
    seen: dict[int, int] = {}
    colours = [(0.0, 0.0, 0.0)]
    for segment in panoptic.segments:
        before = seen.get(segment.category_id, 0)
        seen[segment.category_id] = before + 1
        strong, bright = (0.9, 1 - 0.2 * (before % 3)) if segment.isthing else PALE
        colours.append(colorsys.hsv_to_rgb(segment.category_id * GOLDEN % 1, strong, bright))
    return _painted(image, panoptic.places(), colours)


def semantic_overlay(image: RGB, semantic: SemanticMap) -> RGB:
    """The image with each class in a colour that depends on its id alone, a white line between: uint8 (H, W, 3).

    They are the colours that stuff of these categories has in `panoptic_overlay`. Where the class is not known it is left grey.

    Raises:
        DataError: an image of another size than the map's.
    """
    if image.shape != (*semantic.shape, 3) or image.dtype != np.uint8:
        raise DataError(f"expected an image of uint8 {(*semantic.shape, 3)}, got {image.dtype} {image.shape}.")
    ids, places = np.unique(semantic.classes, return_inverse=True)
    places = places.reshape(semantic.shape) + int(ids[0] != UNKNOWN)  # 0 is for what is not known
    colours = [(0.0, 0.0, 0.0)] + [colorsys.hsv_to_rgb(each * GOLDEN % 1, *PALE) for each in ids if each != UNKNOWN]
    return _painted(image, places, colours)


def _painted(image: RGB, places: NDArray[np.integer[Any]], colours: list[tuple[float, float, float]]) -> RGB:
    """The image filled with the colour, in [0, 1], of the number at each pixel (H, W), white between numbers; 0 is grey."""
    grey = np.repeat((image @ np.array(BRIGHTNESS))[..., None], 3, axis=2)
    filled = image * (1 - FILL) + 255 * np.array(colours)[places] * FILL
    drawn = np.where(places[..., None] > 0, filled, grey).round().astype(np.uint8)
    drawn[find_boundaries(places, mode="inner", background=0)] = 255
    return drawn


def _mean_brightness(pixels: RGB, labels: NDArray[np.uint16], count: int) -> NDArray[np.float64]:
    """(count,) mean brightness, 0 to 255, of the pixels (N, 3) of each label; 0 of labels without any."""
    sums = np.bincount(labels, pixels @ np.array(BRIGHTNESS), minlength=count)
    return sums / np.maximum(np.bincount(labels, minlength=count), 1)


def numbered(picture: RGB, labels: Labels, *, apart: bool = False) -> RGB:
    """The picture with the number of each label (H, W) at its most inner point, white with a black rim.

    As large as on all others if it fits its label, else as small as can be read. apart: no number over another's; the larger
    label has it, and the other none.
    """
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    fonts = [ImageFont.load_default(size) for size in (int(np.clip(min(canvas.size) / 25, 12, 32)), SMALL_NUMBER)]
    order, places = np.unique(labels[labels > 0]).tolist(), find_objects(labels)
    if apart:
        order.sort(key=np.bincount(labels.ravel()).__getitem__, reverse=True)
    taken = np.zeros(labels.shape, bool)
    for number in order:
        rows, columns = places[number - 1]
        inner = inner_point(labels[rows, columns] == number)
        row, column = inner[0] + rows.start, inner[1] + columns.start
        for font in fonts:
            left, top, right, bottom = pen.textbbox((column, row), str(number), font=font, anchor="mm", stroke_width=1)
            if min(left, top) >= 0 and (labels[_box(left, top, right, bottom)] == number).all():
                break
        # Moved to where all of it is within the picture.
        x, y = -min(left, 0) - max(right - canvas.width, 0), -min(top, 0) - max(bottom - canvas.height, 0)
        box = _box(left + x, top + y, right + x, bottom + y)
        if apart and taken[box].any():
            continue
        taken[box] = True
        pen.text((column + x, row + y), str(number), "white", font, anchor="mm", stroke_width=1, stroke_fill="black")
    return np.array(canvas)


def _box(left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
    """Rows and columns of what is drawn between these."""
    return slice(max(0, int(top)), int(bottom) + 1), slice(max(0, int(left)), int(right) + 1)
