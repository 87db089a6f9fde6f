"""Panoptic truth: each pixel's segment, each segment's category, and which pixels nobody labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category
from tracedge.errors import DataError
from tracedge.panoptic_map import PanopticMap


@dataclass(frozen=True, eq=False)
class PanopticTruth:
    """The segments of an image, and the categories of its data set, by id.

    Raises:
        DataError: a segment of a category that is not among the data set's.
    """

    map: PanopticMap
    categories: Mapping[int, Category]

    def __post_init__(self) -> None:
        for segment in self.map.segments:
            if segment.category_id not in self.categories:
                raise DataError(f"segment {segment.id} is of the category {segment.category_id}, which is unknown.")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.map.shape

    @property
    def crowds(self) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels of things nobody told apart."""
        return np.isin(self.map.ids, [segment.id for segment in self.map.segments if segment.iscrowd])
