"""Ways from a photo to a panoptic map that a table compares: the classes of the truth or of files, cut by whose edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import Category
from tracedge.errors import DataError
from tracedge.evaluation.edges import EdgesOf
from tracedge.evaluation.naming import without_suffix
from tracedge.evaluation.panoptic_sets import LabelledPanoptic
from tracedge.metrics.instance_boundaries import instance_boundaries
from tracedge.panoptic import PanopticSettings, panoptic_map
from tracedge.panoptic_map import PanopticMap
from tracedge.semantic_map import SemanticMap
from tracedge.semantics.from_files import SemanticFolder
from tracedge.semantics.from_tags import FromTags
from tracedge.semantics.tags import tags_of

T = TypeVar("T")
SemanticsOf = Callable[[LabelledPanoptic], SemanticMap]
EdgesOfSample = Callable[[LabelledPanoptic], NDArray[np.float32]]


@dataclass(frozen=True)
class FromSemantics:
    """Classes and edges to a panoptic map. edges: None: things are connected components."""

    semantics: SemanticsOf
    edges: EdgesOfSample | None
    categories: Sequence[Category]
    settings: PanopticSettings = field(default_factory=PanopticSettings)

    def __call__(self, sample: LabelledPanoptic) -> PanopticMap:
        """The map of a sample.

        Raises:
            DataError: no semantic map of it, or one that does not fit it.
        """
        edges = None if self.edges is None else self.edges(sample)
        return panoptic_map(self.semantics(sample), edges, self.categories, self.settings)


def true_semantics(sample: LabelledPanoptic) -> SemanticMap:
    """The class of each pixel as the truth has it, crowds by their class too; unknown where the truth is void."""
    return SemanticMap(sample.truth.classes())


def true_edges(sample: LabelledPanoptic) -> NDArray[np.float32]:
    """1 on the borders between the segments of the truth, else 0."""
    return instance_boundaries(sample.truth.ids).astype(np.float32)


@dataclass(frozen=True)
class OfFiles:
    """The semantic maps of a folder, by the names of the photos."""

    folder: SemanticFolder

    def __call__(self, sample: LabelledPanoptic) -> SemanticMap:
        return self.folder.read(without_suffix(sample.name), sample.truth.shape)


@dataclass(frozen=True)
class OfTags:
    """Classes made of the photo and of the tags that a person would give it: the classes of its truth, without where."""

    made: FromTags

    def __call__(self, sample: LabelledPanoptic) -> SemanticMap:
        """The map of a sample.

        Raises:
            DataError: no photo is at hand.
        """
        image = _photo(sample, "match with tags")
        return self.made(image, tags_of(sample.truth, self.made.categories)).semantic_map()


class Remembered(Generic[T]):
    """A function of a sample that is not computed again while the sample is the same: one photo, several rows."""

    def __init__(self, of: Callable[[LabelledPanoptic], T]) -> None:
        self._of = of
        self._last: tuple[LabelledPanoptic, T] | None = None

    def __call__(self, sample: LabelledPanoptic) -> T:
        if self._last is None or self._last[0] is not sample:
            self._last = sample, self._of(sample)
        return self._last[1]


@dataclass(frozen=True)
class OfPhotos:
    """Edges that a predictor finds in a photo."""

    edges: EdgesOf

    def __call__(self, sample: LabelledPanoptic) -> NDArray[np.float32]:
        """Edges (H, W).

        Raises:
            DataError: no photo is at hand.
        """
        return self.edges(_photo(sample, "find edges in"))


def _photo(sample: LabelledPanoptic, why: str) -> NDArray[np.uint8]:
    if sample.image is None:
        raise DataError(f"{sample.name} has no photo to {why}.")
    return sample.image
