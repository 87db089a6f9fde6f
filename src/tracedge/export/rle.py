"""Masks as COCO's run-length encoding and back, and its polygons: checked in full before compiled code sees them.

A run-length encoding is `{"size": [H, W], "counts": ...}`: how many pixels are outside, inside, outside, ... of the mask, column
after column. `counts` is a list of numbers, or the same in COCO's ASCII, where each number takes as many characters as it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.images import MAX_PIXELS

Mask: TypeAlias = NDArray[np.bool_]
Runs: TypeAlias = NDArray[np.int64]
Corners: TypeAlias = NDArray[np.float64]
"""Of a polygon, (N, 2): x, y."""

_MAX_CHARACTERS = 7  # of one number: 35 bits, more than any picture has pixels
_SLACK = 1.0  # pixels beside its image at which a polygon is still left to compiled code, which rounds
_LENGTH = (
    1 << 18
)  # pixels along its outline that any mask's polygons may have, however small its image: some 25 MB of compiled code's


class Rle(TypedDict):
    """size: [H, W]; counts: ASCII, as a string, so that it goes into JSON as it is."""

    size: list[int]
    counts: str


def encode(mask: Mask) -> Rle:
    """A mask, bool (H, W), as COCO's run-length encoding.

    Raises:
        DataError: no bool array (H, W) with at least one pixel.

    >>> encode(np.array([[False, True, True]]))
    {'size': [1, 3], 'counts': '12'}
    """
    from faster_coco_eval.core import mask as compiled

    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.ndim != 2 or mask.size == 0:
        got = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise DataError(f"a mask to encode is a bool array (H, W) with at least one pixel, got {got}.")
    made = compiled.encode(np.asfortranarray(mask).view(np.uint8))
    return {"size": [int(side) for side in made["size"]], "counts": made["counts"].decode("ascii")}


def decode(segmentation: object, image_hw: tuple[int, int] | None = None, *, max_pixels: int = MAX_PIXELS) -> Mask:
    """The mask, bool (H, W), of a COCO `segmentation`: a run-length encoding, or polygons [[x1, y1, x2, y2, ...], ...].

    Polygons are in pixels from the top left corner of the image, and filled as COCO's own tools fill them; several are one mask.
    What of a polygon lies outside of the image is cut off; one of fewer than three corners encloses nothing. So a mask may be
    without a pixel.

    Args:
        segmentation: the value as JSON gives it (`counts` may be bytes too, as pycocotools writes them).
        image_hw: the image's size; None takes the size that the run-length encoding names.
        max_pixels: the largest H * W accepted.

    Raises:
        DataError: a value of another form, counts that do not fill the image exactly, another size than the image's, a polygon
            that is no list of finite numbers in pairs, or more pixels than the limit.

    >>> decode({"size": [1, 3], "counts": [1, 2]})
    array([[False,  True,  True]])
    """
    if isinstance(segmentation, Mapping):
        height, width = _size(segmentation)
        if image_hw is not None and (height, width) != tuple(image_hw):
            raise DataError(f"the run-length encoding is of {_by(height, width)}, but its image is {_by(*image_hw)}.")
        _check_pixels(height, width, max_pixels)
        return _filled(_runs(segmentation["counts"], height * width), height, width)
    if not isinstance(segmentation, list):
        raise DataError(f"a segmentation is a run-length encoding or polygons, got {type(segmentation).__name__}.")
    if image_hw is None:
        raise DataError("polygons do not say how large their image is: give image_hw.")
    height, width = image_hw
    _check_pixels(height, width, max_pixels)
    if not segmentation:
        raise DataError("a segmentation of polygons needs at least one.")
    corners = [_corners(points) for points in segmentation]
    kept = [points for points in corners if _may_cover(points, height, width)]
    _refuse_long(kept, height, width)
    return _of_polygons(kept, height, width)


def size_of(segmentation: object) -> tuple[int, int] | None:
    """(H, W) that a segmentation names; None for polygons, which name none.

    Raises:
        DataError: a run-length encoding without a size of two whole numbers above 0, or without counts.
    """
    return _size(segmentation) if isinstance(segmentation, Mapping) else None


def _size(rle: Mapping[str, object]) -> tuple[int, int]:
    size = rle.get("size")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise DataError(f"a run-length encoding needs size [height, width], whole numbers above 0, got {size!r:.60}.")
    if "counts" not in rle:
        raise DataError(f"a run-length encoding needs size and counts, got {sorted(map(str, rle))}.")
    return size[0], size[1]


def _by(height: int, width: int) -> str:
    return f"{height} x {width} (rows x columns)"


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise DataError(
            f"a mask of {_by(height, width)} is more than the limit of {max_pixels} pixels: "
            "raise it by --max-pixels (max_pixels=) if you trust the file."
        )


def _runs(counts: object, pixels: int) -> Runs:
    """The lengths of the runs, int64, in turn outside and inside."""
    if isinstance(counts, str | bytes):
        runs = _runs_of_text(counts)
    elif isinstance(counts, list):
        if not all(type(count) is int and abs(count) <= pixels for count in counts):
            raise DataError(f"the counts of a run-length encoding are whole numbers in 0..{pixels}.")
        runs = np.array(counts, np.int64)
    else:
        raise DataError(f"the counts of a run-length encoding are text or a list, got {type(counts).__name__}.")
    if runs.size and (int(runs.min()) < 0 or int(runs.max()) > pixels):
        wrong = int(runs.min()) if int(runs.min()) < 0 else int(runs.max())
        raise DataError(f"the counts of a run-length encoding are in 0..{pixels}, got {wrong}.")
    if int(runs.sum()) != pixels:
        raise DataError(
            f"the counts of a run-length encoding sum to {int(runs.sum())}, but the image has {pixels} pixels."
        )
    return runs


def _runs_of_text(text: str | bytes) -> Runs:
    """COCO's ASCII: a character from "0" on holds five bits of a number, the lowest first, and a sixth if more of them follow.

    The fifth bit of a number's last character is its sign. From the fourth number on, each is the difference to the last but one.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise DataError(f"the counts of a run-length encoding are ASCII: {error}.") from error
    codes = np.frombuffer(raw, np.uint8).astype(np.int64) - ord("0")
    if codes.size == 0 or int(codes.min()) < 0 or int(codes.max()) > 63:
        raise DataError('the counts of a run-length encoding are characters from "0" to "o", at least one.')
    last = np.flatnonzero(codes < 32)
    if not last.size or last[-1] != codes.size - 1:
        raise DataError("the counts of a run-length encoding end within a number: they are cut short.")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if int(lengths.max()) > _MAX_CHARACTERS:
        raise DataError(
            f"a count of a run-length encoding takes {int(lengths.max())} characters, at most {_MAX_CHARACTERS} do."
        )
    place = np.arange(codes.size) - np.repeat(first, lengths)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, 1 << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _filled(runs: Runs, height: int, width: int) -> Mask:
    inside = np.arange(runs.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(inside, runs).reshape(width, height).T)


def _corners(points: object) -> Corners:
    if not isinstance(points, list) or len(points) % 2:
        got = f"{len(points)} numbers" if isinstance(points, list) else type(points).__name__
        raise DataError(f"a polygon is a list [x1, y1, x2, y2, ...] of its corners, got {got}.")
    if not all(type(value) in (int, float) and abs(value) <= MAX_PIXELS for value in points):  # a nan fails too
        raise DataError("the corners of a polygon are finite numbers, in pixels of the image.")
    return np.array(points, np.float64).reshape(-1, 2)


def _may_cover(corners: Corners, height: int, width: int) -> bool:
    """Whether a polygon has three corners, and is not wholly outside of its image: COCO's own files hold others too.

    Those cover no pixel in pycocotools either, but must not reach compiled code, which takes two corners for a box.
    """
    if len(corners) < 3:
        return False
    far = np.array([width, height]) + _SLACK
    return not ((corners.max(axis=0) < -_SLACK).any() or (corners.min(axis=0) > far).any())


def _refuse_long(polygons: list[Corners], height: int, width: int) -> None:
    """Compiled code takes memory and time for each step along an outline, and all polygons of a mask stand there at once."""
    steps = sum(np.abs(np.diff(one, axis=0, append=one[:1])).max(axis=1).sum() for one in polygons)
    if steps > max(_LENGTH, 4 * (height + 2) * (width + 2)):
        raise DataError(f"the polygons of a mask are {steps:.0f} pixels long, more than its image could hold.")


def _of_polygons(polygons: list[Corners], height: int, width: int) -> Mask:
    from faster_coco_eval.core import mask as compiled

    if not polygons:
        return np.zeros((height, width), bool)
    merged = compiled.merge(compiled.frPyObjects([corners.ravel().tolist() for corners in polygons], height, width))
    return _filled(_runs(merged["counts"], height * width), height, width)
