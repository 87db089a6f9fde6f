"""What class each pixel of one image is of: what a semantic segmentation of any origin says, checked when made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.maps import canonical_json

UNKNOWN = -1
"""The class of pixels of which nothing is known."""


@dataclass(frozen=True, eq=False)
class SemanticMap:
    """The class of each pixel of one image.

    Args:
        classes: integer (H, W): a category id from 0, or -1 (`UNKNOWN`). Kept as a read-only int32 array of its own.
        settings: what the map depends on, of JSON's types. Kept as a read-only copy.

    Raises:
        DataError: no integer map, or values below -1.

    >>> SemanticMap(np.array([[3, 3, -1]])).present
    (3,)
    """

    classes: NDArray[np.int32]
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        classes = self.classes
        if (
            not isinstance(classes, np.ndarray)
            or classes.dtype.kind not in "iu"
            or classes.ndim != 2
            or not classes.size
        ):
            kind = f"{classes.dtype} {classes.shape}" if isinstance(classes, np.ndarray) else type(classes).__name__
            raise DataError(f"a semantic map needs classes as an integer array (H, W), got {kind}.")
        if classes.min() < UNKNOWN:
            raise DataError(f"a semantic map needs category ids from 0, or -1 for unknown, got {classes.min()}.")
        own = classes.astype(np.int32)
        own.flags.writeable = False
        object.__setattr__(self, "classes", own)
        object.__setattr__(self, "settings", MappingProxyType(json.loads(canonical_json(self.settings))))

    def __reduce__(self) -> tuple[object, ...]:
        return SemanticMap, (self.classes, dict(self.settings))  # a mapping proxy cannot be sent

    @classmethod
    def from_scores(
        cls,
        scores: NDArray[np.floating[Any]],
        categories: NDArray[np.integer[Any]],
        settings: Mapping[str, object] | None = None,
        *,
        least: float = 0.0,
    ) -> SemanticMap:
        """The class of the highest score of each pixel; of equal ones the first.

        Args:
            scores: float (K, H, W).
            categories: (K,) the category id of each, from 0; -1 for a class that is none of the categories.
            settings: as of the map.
            least: where no score is above this, nothing is known.

        Raises:
            DataError: scores that are not finite or not (K, H, W), or another number of categories.
        """
        if scores.ndim != 3 or not len(scores) or scores.dtype.kind != "f":
            raise DataError(f"scores of classes are floats (K, H, W), got {scores.dtype} {scores.shape}.")
        if not np.isfinite(scores).all():
            raise DataError("scores of classes are finite, got some that are not (nan or infinite).")
        if len(categories) != len(scores):
            raise DataError(f"there are scores of {len(scores)} classes and {len(categories)} categories.")
        best = np.asarray(categories)[scores.argmax(axis=0)]
        return cls(np.where(scores.max(axis=0) > least, best, UNKNOWN).astype(np.int32), settings or {})

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W), the size of the image."""
        height, width = self.classes.shape
        return height, width

    @property
    def present(self) -> tuple[int, ...]:
        """The category ids that are there, ascending."""
        return tuple(int(each) for each in np.unique(self.classes) if each != UNKNOWN)
