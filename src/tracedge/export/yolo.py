"""YOLO-seg labels: polygons in a text file an image, and the yaml file that names the classes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from tracedge.atomic import atomic_path
from tracedge.errors import SettingsError
from tracedge.instances import Instances

_EIGHT = np.ones((3, 3), bool)


def write_yolo(
    path: str | os.PathLike[str], instances: Instances, *, tolerance: float = 0.25, min_area: int = 4
) -> None:
    """Write the lines of `yolo_lines`, whole or not at all; without instances an empty file, which YOLO takes as background."""
    lines = yolo_lines(instances, tolerance=tolerance, min_area=min_area)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="ascii", newline="\n")


def yolo_lines(instances: Instances, *, tolerance: float = 0.25, min_area: int = 4) -> list[str]:
    """The lines "0 x1 y1 x2 y2 ..." of a label file, one for each connected piece of each instance; x and y in [0, 1].

    A corner is the centre of a pixel on the border of the mask, its column / W and row / H: what cv2.findContours gives, and
    what supervision and Ultralytics fill, border included. The format is lossy: holes are lost, pieces of one instance become
    instances, scores are not in it. Filled again, a mask without holes of more than 100 pixels keeps an IoU above 0.95.

    Args:
        instances: what to write.
        tolerance: how far, in pixels, the polygon may be from the border of the mask; up to 0.25 every turn is kept.
        min_area: pieces of fewer pixels are left out, except the largest of an instance.

    Raises:
        SettingsError: a tolerance or an area below 0.

    >>> yolo_lines(Instances(np.ones((1, 4, 5), bool)))
    ['0 0.000000 0.000000 0.800000 0.000000 0.800000 0.750000 0.000000 0.750000']
    """
    if not (math.isfinite(tolerance) and tolerance >= 0 and min_area >= 0):
        raise SettingsError(f"expected a tolerance and a min_area of at least 0, got {tolerance} and {min_area}.")
    instances = instances.seen()
    height, width = instances.shape
    lines = []
    for mask, (top, left, bottom, right) in zip(instances.masks, instances.boxes, strict=True):
        for corners in _polygons(mask[top:bottom, left:right], tolerance, min_area):
            numbers = ((corners[:, ::-1] + np.array([left, top])) / (width, height)).ravel()
            lines.append(" ".join(["0", *(f"{number:.6f}" for number in numbers)]))
    return lines


def write_yolo_yaml(
    path: str | os.PathLike[str], *, train: str = "images", val: str = "images", names: Sequence[str] = ("object",)
) -> None:
    """Write the yaml file of a data set; the labels of images/a.jpg are looked for in labels/a.txt.

    Ultralytics looks for labels by replacing the last /images/ in a photo's real path, so a link to the folder of photos will not
    do: the photos themselves, or links to each, must lie in it.

    Args:
        path: where; the folders of images are relative to this file's.
        train: the folder of images to train on.
        val: the folder of images to validate on.
        names: the classes; ours is one.
    """
    rows = ["# labels/a.txt is of images/a.jpg: copy the photos into images/ beside this file, with their folders."]
    rows += [f"train: {_quoted(train)}", f"val: {_quoted(val)}", "names:"]
    rows += [f"  {number}: {_quoted(name)}" for number, name in enumerate(names)]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's strings are YAML's, but for escaped pairs of surrogates


def _polygons(mask: NDArray[np.bool_], tolerance: float, min_area: int) -> list[NDArray[np.float64]]:
    """The border of each connected piece, largest first, as (N, 2) row and column of at least three corners."""
    pieces, count = ndimage.label(ndimage.binary_fill_holes(mask), _EIGHT)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable")
    windows = ndimage.find_objects(pieces)
    found = []
    for number in (order[0], *(piece for piece in order[1:] if areas[piece] >= min_area)):
        rows, columns = windows[number]
        corners = _simplified(_border(pieces[rows, columns] == number + 1), tolerance)
        found.append(corners + np.array([rows.start, columns.start]))
    return found


def _border(piece: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The closed walk (N, 2) along the centres of the border pixels of one piece without holes, from its topmost corner."""
    inside = np.pad(piece, 1).astype(np.float64)  # so that a border of the image closes the contour too
    (contour,) = measure.find_contours(inside, 1 - 2**-10, fully_connected="high")
    walk = np.rint(contour[:-1]) - 1  # the level leaves the contour a thousandth of a pixel outside of the centres
    walk = walk[(walk != np.roll(walk, 1, axis=0)).any(axis=1)] if len(np.unique(walk, axis=0)) > 1 else walk[:1]
    walk = np.roll(walk, -np.lexsort(walk.T[::-1])[0], axis=0)
    return np.concatenate([walk, walk[:1]])


def _simplified(walk: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """The corners (N, 2) of a closed walk, at least three, by Douglas and Peucker: no point is farther off than the tolerance.

    scikit-image's own takes seconds to import, for signal processing that is not used here.
    """
    kept = np.zeros(len(walk), bool)
    kept[0] = True
    parts = [(0, len(walk) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        off = _off_the_line(walk[first + 1 : last], walk[first], walk[last])
        farthest = int(off.argmax())
        if off[farthest] > tolerance:
            middle = first + 1 + farthest
            kept[middle] = True
            parts += [(first, middle), (middle, last)]
    corners = walk[kept]
    missing = max(3 - len(corners), 0)  # a pixel or a line has fewer corners than a polygon: the last is said again
    return np.concatenate([corners, corners[-1:].repeat(missing, axis=0)])


def _off_the_line(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The distance of points (N, 2) to the straight line between two, which may be one."""
    along = end - start
    place = np.clip((points - start) @ along / max(float(along @ along), 1e-9), 0, 1)
    return np.hypot(*(points - start - place[:, None] * along).T)
