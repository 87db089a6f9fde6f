"""Ways from a photo to instances that tables compare: proposals alone, with BGP on whose edges, edges alone; each drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.evaluation.edges import EdgesOf
from tracedge.evaluation.instances import LabelledInstances
from tracedge.evaluation.naming import without_suffix
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.regions import closed_regions
from tracedge.rivals import FolderOfEdges
from tracedge.segmentation import SegmentSettings, fitted, segment


class RefinesOften(Protocol):
    """What draws several sets of instances of one photo anew: `tracedge.SamSeeds`."""

    def on(self, image: NDArray[np.uint8], /) -> Callable[[Instances], Instances]: ...


ProposalsOf = Callable[[LabelledInstances], Instances]
Whose = TypeVar("Whose", bound=Hashable)


@dataclass(frozen=True)
class Method(Generic[Whose]):
    """A way to masks.

    edges: whose; None: the proposals as they are. proposals: which; None: masks straight from the edges. refined: whether the
    comparison's refiner draws them anew.
    """

    name: str
    edges: Whose | None
    proposals: str | None
    refined: bool = False


def every_way(edges: Iterable[str], proposals: Iterable[str], refiner: str | None = None) -> tuple[Method[str], ...]:
    """Each of the proposals alone and with BGP on everybody's edges, and masks straight from the edges; each of them once more
    with a refiner of this name.

    >>> [way.name for way in every_way(["our"], ["maskcut"])]
    ['maskcut', 'maskcut + BGP, our edges', 'straight from our edges']
    """
    ways: list[Method[str]] = []
    for name in proposals:
        ways.append(Method(name, None, name))
        ways += [Method(f"{name} + BGP, {whose} edges", whose, name) for whose in edges]
    ways += [Method(f"straight from {whose} edges", whose, None) for whose in edges]
    if refiner is None:
        return tuple(ways)
    return tuple(one for way in ways for one in (way, replace(way, name=f"{way.name} + {refiner}", refined=True)))


@dataclass(frozen=True)
class Comparison(Generic[Whose]):
    """All methods on one image; edges and proposals are made once for it.

    methods: in the order of the table. edges: whose edges -> image (H, W, 3) -> float32 (H, W) in [0, 1], or another detector's
    files. proposals: name -> masks of an image. settings: of propagation and of masks from edges, the same for everybody's edges.
    All masks are kept, unsure and overlapping ones too: the scores rank them. device: where the walk of the propagation is done:
    the CPU or CUDA. refiner: draws the masks of methods that are refined anew.
    """

    methods: tuple[Method[Whose], ...]
    edges: Mapping[Whose, EdgesOf | FolderOfEdges]
    proposals: Mapping[str, ProposalsOf]
    settings: SegmentSettings = field(default_factory=SegmentSettings)
    device: str | torch.device = "cpu"
    refiner: RefinesOften | None = None

    def __call__(self, sample: LabelledInstances) -> dict[str, Instances]:
        if sample.image is None:
            raise DataError("its truth has no image to predict from: give a folder with images/ as --truth.")
        settings = replace(self.settings, overlapping=True, min_score=0.0)
        edges = {whose: EdgeMap(_edges(of, sample.name, sample.image)) for whose, of in self.edges.items()}
        regions = {whose: closed_regions(fitted(theirs.edges, settings.max_side)) for whose, theirs in edges.items()}
        proposals = {name: proposals_of(sample) for name, proposals_of in self.proposals.items()}

        @cache
        def masks(whose: Whose | None, name: str | None) -> Instances:
            given = None if name is None else proposals[name]
            if whose is None:
                assert given is not None  # a method has edges or proposals
                return given
            return segment(edges[whose], given, settings, regions=regions[whose], device=self.device)

        plain = {method.name: masks(method.edges, method.proposals) for method in self.methods}
        if not any(method.refined for method in self.methods):
            return plain
        assert self.refiner is not None  # where methods are refined there is one
        refine = self.refiner.on(sample.image)
        return {
            method.name: refine(plain[method.name]) if method.refined else plain[method.name] for method in self.methods
        }


def _edges(of: EdgesOf | FolderOfEdges, name: str, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    if isinstance(of, FolderOfEdges):
        return of.read(without_suffix(name), (image.shape[0], image.shape[1]))
    return of(image)
