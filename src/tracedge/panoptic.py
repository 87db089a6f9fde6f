"""A panoptic map from a semantic one and instance edges: edges tell apart what is of one class (paper, 3.5 and table 2).

1. regions    of each class by itself, so that nothing runs out of its class: see regions.py
2. cut        a region of a thing class is parted where an edge is strong and short beside what it parts, like a neck,
              and once more wherever sure edges close
3. gather     pieces that are small, or apart from a larger one of their class, join it
4. segments   one a piece of a thing, one a class of stuff; void where no class is known

The paper's steps are these: it cuts by connected components and lets the pieces walk inside their class. Here a region is
closed from the start, and each pixel of a class belongs to one of its pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, maximum_filter, minimum_filter, minimum_position
from scipy.ndimage import label as components

from tracedge.categories import Category, by_id
from tracedge.errors import DataError, SettingsError
from tracedge.panoptic_map import PanopticMap, Segment
from tracedge.regions import Regions, checked_map, closed_regions, ridges_filled
from tracedge.semantic_map import UNKNOWN, SemanticMap
from tracedge.settings import check_types

_EDGE = 0.1  # a pixel of a smaller value is on no edge


@dataclass(frozen=True)
class PanopticSettings:
    """When an edge parts two things of one class.

    cut: an edge of this strength parts, in [0, 1], if it is a neck: no longer than the smaller part is wide, as a disc of its
    area. sure: one of this strength parts however long it is, and however small the part; between the two the strength that is
    asked for falls with the share of the length that the width is. part: otherwise no piece is parted that is a smaller share of
    its region. min_area: a piece of fewer pixels joins the nearest one of its class. joins: and one that
    has less than this share of the nearest one's area.
    """

    cut: float = 0.6
    sure: float = 0.9
    part: float = 0.05
    min_area: int = 64
    joins: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        if not all(0 <= each <= 1 for each in (self.cut, self.sure, self.part, self.joins)):
            raise SettingsError(f"cut, sure, part and joins of panoptic maps lie in [0, 1], got {self}")
        if self.min_area < 0:
            raise SettingsError(f"min_area of panoptic maps is not below 0, got {self.min_area}")


def panoptic_map(
    semantic: SemanticMap,
    edges: NDArray[np.float32] | None,
    categories: Sequence[Category],
    settings: PanopticSettings | None = None,
) -> PanopticMap:
    """Things and stuff of one image.

    Args:
        semantic: the class of each pixel.
        edges: float32 (H, W) in [0, 1], 1 the strongest; None: things are connected components of their class.
        categories: which classes there are, and which are things.
        settings: see `PanopticSettings`.

    Returns:
        A segment for each piece of a thing class and for each stuff class; ids from 1.

    Raises:
        DataError: edges of another size or no map in [0, 1], or a class that is none of the categories.
    """
    settings = settings or PanopticSettings()
    known, classes = by_id(categories), semantic.classes
    if strange := [number for number in semantic.present if number not in known]:
        raise DataError(f"the semantic map has the class {strange[0]}, which is none of the categories.")
    # Stuff and what is unknown are not cut: one class for all that is no thing.
    things = [number for number in semantic.present if known[number].isthing]
    of_things = np.where(np.isin(classes, things), classes, UNKNOWN)
    if edges is None:
        pieces = _components(of_things)
    else:
        pieces = cut_pieces(closed_regions(edges, apart=of_things), settings)
        pieces = _walled(pieces, edges >= settings.sure, of_things)
        pieces = _outlined(pieces, checked_map(edges) >= max(settings.cut, _EDGE), of_things)
    ids = np.zeros(classes.shape, np.int32)
    segments: list[Segment] = []
    for number in semantic.present:
        inside = classes == number
        parts = gathered(np.where(inside, pieces, 0), settings) if number in things else inside.astype(np.int64)
        for piece in np.unique(parts[inside]):
            ids[inside & (parts == piece)] = len(segments) + 1
            segments.append(Segment(len(segments) + 1, number, known[number].isthing))
    return PanopticMap(ids, tuple(segments), dict(semantic.settings) | {"panoptic": asdict(settings)})


def cut_pieces(regions: Regions, settings: PanopticSettings) -> NDArray[np.int64]:
    """(H, W) the piece of each pixel, numbered from 1: nodes of the hierarchy that no edge parts any more, from the top down."""
    count, parents = len(regions.areas), regions.parents()
    areas = regions.gathered(regions.areas.astype(np.float64))
    one, other = regions.merges.T
    smaller = np.minimum(areas[one], areas[other])
    roots = parents.copy()
    for node in range(len(roots) - 1, -1, -1):  # a parent's number is larger than its children's
        roots[node] = roots[roots[node]]
    widths = 2 * np.sqrt(smaller / np.pi)
    necks = np.minimum(widths / np.maximum(regions.given_up, 1), 1)
    asked = settings.cut + np.maximum(settings.sure - settings.cut, 0) * (1 - necks)
    enough = smaller >= settings.part * areas[roots[count:]]
    parted = (regions.strengths >= asked) & (enough | (regions.strengths >= settings.sure))
    tops = np.arange(len(parents))
    for node in range(len(parents) - 1, -1, -1):
        parent = parents[node]
        whole = parent == node or not (parted[parent - count] and tops[parent] == parent)
        tops[node] = tops[parent] if whole else node
    return np.unique(tops[:count], return_inverse=True)[1][regions.basins] + 1


def _walled(pieces: NDArray[np.int64], walls: NDArray[np.bool_], of_things: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pieces parted once more wherever walls close: the paper's own cut. Regions are those of a smoothed map, which a small
    object's outline may be too narrow for."""
    within = of_things != UNKNOWN
    found, count = pieces.copy(), int(pieces.max())
    for number, around in enumerate(find_objects(pieces), start=1):
        if around is None:
            continue
        piece = within[around] & (pieces[around] == number)
        inner, several = components(piece & ~walls[around])
        if several > 1:
            filled = ridges_filled(inner, piece)
            found[around][piece] = np.where(filled[piece] > 1, filled[piece] + count, number)
            count += several
    return found


def _outlined(pieces: NDArray[np.int64], on_edge: NDArray[np.bool_], of_things: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pieces whose pixels on an edge between two of them go to the one on their left or above: edges mark an object's last pixel.

    A piece that has nothing but edges stays.
    """
    within = of_things != UNKNOWN
    border = maximum_filter(np.where(within, pieces, 0), 5) != minimum_filter(np.where(within, pieces, pieces.max()), 5)
    loose = within & border & on_edge
    left = np.bincount(pieces[within & ~loose], minlength=int(pieces.max()) + 1)
    loose &= left[pieces] > 0
    found = np.zeros_like(pieces)
    for number in np.unique(of_things[within]):
        inside = of_things == number
        filled = ridges_filled(np.where(inside & ~loose, pieces, 0).astype(np.int32), inside)
        found[inside] = np.where(filled == 0, pieces, filled)[inside]
    return found


def gathered(pieces: NDArray[np.int64], settings: PanopticSettings) -> NDArray[np.int64]:
    """Pieces (H, W) of one class, 0 elsewhere, in which those that are too small belong to the nearest one that is not."""
    found = _without_crumbs(pieces, settings.min_area)
    areas = np.bincount(found.ravel())
    areas[0] = 0
    largest, sizes = int(areas.argmax()), areas.tolist()
    boxes = dict(enumerate(find_objects(found), start=1))
    alone = areas > 0  # has joined no other
    for number in sorted(set(np.flatnonzero(areas).tolist()) - {largest}, key=lambda each: (sizes[each], each)):
        if sizes[number] >= settings.joins * sizes[largest]:
            break  # none from here on is small beside any other
        alone[number] = False
        nearest = _nearest(found, number, boxes[number], alone)
        if sizes[number] < settings.joins * sizes[nearest]:
            here = found[boxes[number]]
            here[here == number] = nearest
            boxes[nearest] = tuple(map(_spanned, boxes[number], boxes[nearest]))
        else:
            alone[number] = True
    return found


def _without_crumbs(pieces: NDArray[np.int64], min_area: int) -> NDArray[np.int64]:
    """A copy, in which all pieces of fewer pixels, of which there may be thousands, belong to the nearest one of more."""
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    large = areas >= max(min_area, 1)
    large[areas.argmax()] = areas.any()
    crumbs = (areas > 0) & ~large
    if not crumbs.any():
        return pieces.copy()
    away, where = distance_transform_edt(~large[pieces], return_indices=True)
    numbers = np.flatnonzero(crumbs)
    spots = np.array(minimum_position(away, pieces, numbers), np.int64).reshape(len(numbers), 2)
    of_piece = np.arange(len(areas))
    of_piece[numbers] = pieces[tuple(where[:, spots[:, 0], spots[:, 1]])]
    return of_piece[pieces]


def _nearest(pieces: NDArray[np.int64], number: int, box: tuple[slice, slice], others: NDArray[np.bool_]) -> int:
    """That of the others (bool, by number) which comes nearest to a piece that lies in a box; there is one."""
    margin = 16
    while True:
        around = tuple(
            slice(max(side.start - margin, 0), min(side.stop + margin, length))
            for side, length in zip(box, pieces.shape, strict=True)
        )
        here = pieces[around]
        other = others[here]
        if other.any():
            away, where = distance_transform_edt(~other, return_indices=True)
            row, column = np.unravel_index(np.where(here == number, away, np.inf).argmin(), here.shape)
            if away[row, column] <= margin or here.shape == pieces.shape:  # nothing outside is nearer
                return int(here[tuple(where[:, row, column])])
        margin *= 4


def _spanned(one: slice, other: slice) -> slice:
    return slice(min(one.start, other.start), max(one.stop, other.stop))


def _components(classes: NDArray[np.int32]) -> NDArray[np.int64]:
    """(H, W) connected components of each class, numbered from 1; 0 where nothing is known."""
    pieces, count = np.zeros(classes.shape, np.int64), 0
    for number in np.unique(classes[classes != UNKNOWN]):
        found, more = components(classes == number)
        pieces[found > 0] = found[found > 0] + count
        count += more
    return pieces
