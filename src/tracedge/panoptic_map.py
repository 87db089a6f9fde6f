"""Things and stuff of one image: every pixel belongs to one segment or to none, checked when made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import MAX_CATEGORY
from tracedge.errors import DataError
from tracedge.maps import canonical_json
from tracedge.semantic_map import UNKNOWN

VOID = 0
"""The id of pixels that belong to no segment."""

MAX_ID = (1 << 24) - 1
"""The largest id that a colour can hold."""


@dataclass(frozen=True)
class Segment:
    """One segment of a `PanopticMap`: what it is. Where it is, the map says.

    Args:
        id: 1..16,777,215, once in an image.
        category_id: a whole number from 0 to 2,147,483,647; see `tracedge.categories`.
        isthing: a thing is one object; a stuff segment is all of its class in the image.
        score: how sure, in [0, 1], or None where nothing says it.
        iscrowd: a group of things nobody took apart; of a truth only.
        area: in pixels; None: the map counts it.

    Raises:
        DataError: a value outside of the above.
    """

    id: int
    category_id: int
    isthing: bool
    score: float | None = None
    iscrowd: bool = False
    area: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("id", 1), ("category_id", 0), ("area", 1)):
            value = getattr(self, name)
            if name == "area" and value is None:
                continue
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise DataError(f"a segment needs a whole number from {least} as {name}, got {value!r:.60}.")
            object.__setattr__(self, name, int(value))
        if self.category_id > MAX_CATEGORY:
            raise DataError(f"a segment needs a category_id up to {MAX_CATEGORY}, got {self.category_id}.")
        if self.id > MAX_ID:
            raise DataError(f"a segment needs an id up to {MAX_ID}, which a colour can hold, got {self.id}.")
        for name in ("isthing", "iscrowd"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise DataError(f"a segment needs True or False as {name}, got {getattr(self, name)!r:.60}.")
            object.__setattr__(self, name, bool(getattr(self, name)))
        object.__setattr__(self, "score", _checked_score(self.score))


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """K segments of one image that do not overlap, things and stuff.

    Args:
        ids: integer (H, W): the id of each pixel's segment, 0 where there is none (void). Kept as a read-only int32 array of
            its own.
        segments: one `Segment` for each id of the map but 0, in any order, which is kept; `area` is filled in.
        settings: what the map depends on (model, parameters, ...), of JSON's types. Kept as a read-only copy.

    Raises:
        DataError: no integer map of 0..16,777,215, an id that comes twice, that is in the map or in the segments only, or an
            area that is not the map's.

    >>> two = PanopticMap(np.array([[7, 7, 0], [7, 9, 9]]), (Segment(7, 1, True), Segment(9, 187, False)))
    >>> two.shape, [segment.area for segment in two.segments], two.boxes.tolist()
    ((2, 3), [3, 2], [[0, 0, 2, 2], [1, 1, 2, 3]])
    >>> two.to_rgb()[1].tolist()
    [[7, 0, 0], [9, 0, 0], [9, 0, 0]]
    """

    ids: NDArray[np.int32]
    segments: tuple[Segment, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _checked_ids(self.ids))
        object.__setattr__(self, "segments", _checked_segments(self.segments))
        places = self.places()
        self._require_known(places)
        areas = np.bincount(places.ravel(), minlength=len(self.segments) + 1)[1:].tolist()
        object.__setattr__(self, "segments", tuple(map(_measured, self.segments, areas)))
        object.__setattr__(self, "settings", MappingProxyType(json.loads(canonical_json(self.settings))))

    def __reduce__(self) -> tuple[object, ...]:
        return PanopticMap, (self.ids, self.segments, dict(self.settings))  # a mapping proxy cannot be sent

    @classmethod
    def empty(cls, image_hw: tuple[int, int], settings: Mapping[str, object] | None = None) -> PanopticMap:
        """No segment in an image of (H, W): all of it is void."""
        return cls(np.zeros(image_hw, np.int32), (), settings or {})

    @classmethod
    def from_rgb(
        cls, rgb: NDArray[np.uint8], segments: Sequence[Segment], settings: Mapping[str, object] | None = None
    ) -> PanopticMap:
        """The map whose ids are written as colours, id = R + 256 G + 65536 B (COCO panoptic).

        Raises:
            DataError: no uint8 (H, W, 3), or as for the map itself.
        """
        return cls(ids_from_rgb(rgb), tuple(segments), settings or {})

    def to_rgb(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3): each id as a colour, id = R + 256 G + 65536 B."""
        return np.stack([(self.ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], axis=2)

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W), the size of the image."""
        height, width = self.ids.shape
        return height, width

    @property
    def boxes(self) -> NDArray[np.int64]:
        """(K, 4): first row, first column, last row + 1, last column + 1 of each segment."""
        from scipy.ndimage import find_objects

        corners = [(y.start, x.start, y.stop, x.stop) for y, x in find_objects(self.places(), len(self.segments))]
        return np.array(corners, np.int64).reshape(len(self.segments), 4)

    def places(self) -> NDArray[np.int32]:
        """int32 (H, W): i + 1 where `segments[i]` is, 0 where void is."""
        known = np.array([segment.id for segment in self.segments], np.int32)
        if not len(known):
            return np.zeros(self.ids.shape, np.int32)
        order = np.argsort(known)
        # Only the first pixel of each run of equal ids is looked up: a table of 2^24 ids, or a sort, takes fifty times as long.
        pixels = self.ids.ravel()
        starts = np.flatnonzero(np.concatenate([[True], pixels[1:] != pixels[:-1]]))
        at = order[np.minimum(np.searchsorted(known[order], pixels[starts]), len(known) - 1)]
        places = np.where(known[at] == pixels[starts], at + 1, 0).astype(np.int32)
        return np.repeat(places, np.diff(np.append(starts, pixels.size))).reshape(self.ids.shape)

    def classes(self) -> NDArray[np.int32]:
        """int32 (H, W): the category id of each pixel's segment, crowds by theirs too; `UNKNOWN` where void is."""
        of_place = np.array([UNKNOWN, *(segment.category_id for segment in self.segments)], np.int32)
        return of_place[self.places()]

    def _require_known(self, places: NDArray[np.int32]) -> None:
        known = [segment.id for segment in self.segments]
        if len(set(known)) < len(known):
            twice = next(number for number in known if known.count(number) > 1)
            raise DataError(f"a panoptic map needs each id once among its segments, got {twice} twice.")
        seen = np.bincount(places.ravel(), minlength=len(known) + 1)[1:] > 0
        unseen = [number for number, there in zip(known, seen.tolist(), strict=True) if not there]
        unnamed = np.unique(self.ids[(places == 0) & (self.ids != VOID)]).tolist()
        if unseen or unnamed:
            raise DataError(
                "a panoptic map needs one segment for each id of the map but 0, got "
                f"{_listed(unnamed)} in the map only and {_listed(unseen)} among the segments only."
            )


def ids_from_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """int32 (H, W) of colours uint8 (H, W, 3): R + 256 G + 65536 B.

    Raises:
        DataError: another kind or shape.
    """
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise DataError(f"ids are read from colours uint8 (H, W, 3), got {_kind_of(rgb)}.")
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    return np.asarray(red + 256 * green + 65536 * blue, np.int32)


def _checked_ids(ids: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iu" or ids.ndim != 2 or ids.size == 0:
        raise DataError(
            f"a panoptic map needs ids as an integer array (H, W) with at least one pixel, got {_kind_of(ids)}."
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high > MAX_ID:
        raise DataError(f"a panoptic map needs ids in 0..{MAX_ID}, got {low}..{high}.")
    own = ids.astype(np.int32)
    own.flags.writeable = False
    return own


def _checked_segments(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    own = tuple(segments)
    if not all(isinstance(segment, Segment) for segment in own):
        raise DataError(f"a panoptic map needs a tuple of Segment, got {sorted({type(one).__name__ for one in own})}.")
    return own


def _checked_score(score: object) -> float | None:
    if score is None:
        return None
    number = isinstance(score, int | float | np.integer | np.floating) and not isinstance(score, bool)
    if not (number and 0 <= float(score) <= 1):  # type: ignore[arg-type]  # a nan fails too
        raise DataError(f"a segment needs a score in [0, 1] or None, got {score!r:.60}.")
    return float(score)  # type: ignore[arg-type]


def _measured(segment: Segment, area: int) -> Segment:
    if segment.area is None:
        return replace(segment, area=area)
    if segment.area != area:
        raise DataError(f"the segment {segment.id} covers {area} pixels of its map, not {segment.area}.")
    return segment


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:3])) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "") or "none"


def _kind_of(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
