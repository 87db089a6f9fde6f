"""Every way from a photo to instances that the table compares: proposals alone, with BGP on whose edges, and edges alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from tracedge.errors import DataError
from tracedge.evaluation.edges import EdgesOf
from tracedge.evaluation.instances import LabelledInstances
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.regions import closed_regions
from tracedge.segmentation import SegmentSettings, fitted, segment

ProposalsOf = Callable[[LabelledInstances], Instances]


@dataclass(frozen=True)
class Comparison:
    """All methods on one image; edges and proposals are made once for it.

    edges: name of whose edges -> image (H, W, 3) -> float32 (H, W) in [0, 1]. proposals: name -> masks of an image. settings: of
    propagation and of masks from edges, the same for everybody's edges. All masks are kept, unsure and overlapping ones too:
    the scores rank them. device: where the walk of the propagation is done: the CPU or CUDA.
    """

    edges: Mapping[str, EdgesOf]
    proposals: Mapping[str, ProposalsOf]
    settings: SegmentSettings
    device: str | torch.device = "cpu"

    def __call__(self, sample: LabelledInstances) -> dict[str, Instances]:
        if sample.image is None:
            raise DataError("its truth has no image to predict from: give a folder with images/ as --truth.")
        settings = replace(self.settings, overlapping=True, min_score=0.0)
        edges = {whose: EdgeMap(edges_of(sample.image)) for whose, edges_of in self.edges.items()}
        regions = {whose: closed_regions(fitted(theirs.edges, settings.max_side)) for whose, theirs in edges.items()}
        found = {}
        for name, proposals_of in self.proposals.items():
            found[name] = proposals_of(sample)
            for whose, theirs in edges.items():
                found[f"{name} + BGP, {whose} edges"] = segment(
                    theirs, found[name], settings, regions=regions[whose], device=self.device
                )
        for whose, theirs in edges.items():
            found[f"straight from {whose} edges"] = segment(theirs, None, settings, regions=regions[whose])
        return found
