"""What data sets take of COCO's panoptic files (`tracedge.export.panoptic_reader`): segments, and the edges between them."""

from __future__ import annotations

from collections.abc import Iterable

from tracedge.categories import Category, by_id
from tracedge.datasets.panoptic_truth import PanopticTruth
from tracedge.datasets.samples import EdgeTruth
from tracedge.errors import DataError
from tracedge.export.panoptic_reader import PanopticFile
from tracedge.panoptic_map import VOID


def truth_of_panoptic(file: PanopticFile, image_id: int) -> PanopticTruth:
    """The segments of an image with their pixels.

    Raises:
        DataError: as `PanopticFile.read`.
    """
    return PanopticTruth(file.read(image_id), by_id(file.categories))


def categories_of(files: Iterable[PanopticFile]) -> tuple[Category, ...]:
    """The categories of the data set that these are of; none of no files.

    Raises:
        DataError: they are of data sets with different ones.
    """
    distinct = list(dict.fromkeys(files))
    for file in distinct[1:]:
        if by_id(file.categories) != by_id(distinct[0].categories):
            raise DataError(f"{file.path} has other categories than {distinct[0].path}: give one data set.")
    return distinct[0].categories if distinct else ()


def edges_of_panoptic(truth: PanopticTruth, *, void_edges: bool = False, crowd_edges: bool = False) -> EdgeTruth:
    """The pixels between distinct segments, things and stuff (TRACE, section 4, the instance-edge benchmark).

    Args:
        truth: the segments.
        void_edges: whether the border of a segment with pixels nobody labelled is an edge; if not, nothing is known there.
        crowd_edges: the same of its border with a crowd.
    """
    ignore = truth.map.ids == VOID
    if void_edges:
        ignore[:] = False
    if not crowd_edges:
        ignore |= truth.crowds
    return EdgeTruth(truth.map.ids, ignore, None if void_edges else VOID)
