"""A photo in, instances out: edges, then masks straight from them, or proposals that the edges cut, grow and merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray

from tracedge.errors import DataError, SettingsError
from tracedge.images import ImageSource, load_image
from tracedge.instances import Instances, resized_masks
from tracedge.maps import EdgeMap
from tracedge.propagation import PropagationSettings, boundary_guided_propagation
from tracedge.proposals.from_edges import FromEdgesSettings, instances_from_edges
from tracedge.regions import Regions
from tracedge.settings import check_types
from tracedge.walk import walk_device


class PredictsEdges(Protocol):
    """What is asked of an `EdgePredictor` or `EdgeTeacher`. device: where it computes, and where the walk of BGP then does."""

    @property
    def device(self) -> torch.device: ...
    @property
    def provenance(self) -> dict[str, Any]: ...
    def __call__(self, image: Any, /) -> Any: ...


class Proposes(Protocol):
    """Masks of an image, before any edges: a `Proposer` of `tracedge.proposals.from_features`, or any other."""

    @property
    def provenance(self) -> dict[str, Any]: ...
    def __call__(self, image: NDArray[np.uint8], /) -> Instances: ...


class Refines(Protocol):
    """Instances of an image, drawn anew: `tracedge.SamSeeds`, or any other."""

    @property
    def provenance(self) -> dict[str, Any]: ...
    def __call__(self, image: NDArray[np.uint8], instances: Instances, /) -> Instances: ...


@dataclass(frozen=True)
class SegmentSettings:
    """How edges become instances.

    bgp: whether proposals are cut, grown and merged by the edges. overlapping: keep masks that overlap, straight from edges also
    a heap and the coins in it; otherwise each pixel goes to one mask. min_score: what is less sure, of masks straight from
    edges, is left out. max_side: edges larger than this, in pixels, are made smaller before masks are made of them, and the
    masks larger again. from_edges, propagation: of the two.
    """

    bgp: bool = True
    overlapping: bool = False
    min_score: float = 0.14
    max_side: int = 1024
    from_edges: FromEdgesSettings = field(default_factory=FromEdgesSettings)
    propagation: PropagationSettings = field(default_factory=PropagationSettings)

    def __post_init__(self) -> None:
        check_types(self)
        if self.max_side < 32:
            raise SettingsError(f"max_side is at least 32 pixels, got {self.max_side}")
        if not 0 <= self.min_score <= 1:
            raise SettingsError(f"min_score lies in [0, 1], got {self.min_score}")


def segment(
    edges: EdgeMap,
    proposals: Instances | None = None,
    settings: SegmentSettings | None = None,
    *,
    regions: Regions | None = None,
    device: str | torch.device = "cpu",
) -> Instances:
    """Instances of one image from its edges.

    Args:
        edges: of the image, from a teacher or a student.
        proposals: masks of the same image to cut, grow and merge by the edges; None: closed regions of the edges themselves.
        settings: see `SegmentSettings`.
        regions: `closed_regions(fitted(edges.edges, settings.max_side))`, if the caller has them already.
        device: where the walk of the propagation is done: the CPU or CUDA.

    Returns:
        Instances of the image's size, the best score first; unless settings say otherwise they do not overlap.

    Raises:
        DataError: proposals of another size than the image.

    >>> wall = np.zeros((48, 64), np.float32)
    >>> wall[8:40, [10, 30, 31, 52]] = wall[[8, 39], 10:53] = 1  # two boxes side by side
    >>> len(segment(EdgeMap(wall)))
    2
    """
    settings = settings or SegmentSettings()
    if proposals is not None and proposals.shape != edges.shape:
        raise DataError(f"edges are {edges.shape}, masks {proposals.shape} (rows, columns): they must be of one image.")
    proposals = proposals.seen() if proposals is not None else None
    if proposals is not None and not settings.bgp:
        found = proposals
    else:
        small = fitted(edges.edges, settings.max_side)
        if proposals is None:
            found = instances_from_edges(small, settings.from_edges, overlapping=settings.overlapping, regions=regions)
            found = found[found.scores >= settings.min_score]
        else:
            least = round(settings.propagation.min_area * small.size / edges.edges.size)  # of the image's own pixels
            propagation = replace(settings.propagation, min_area=least)
            found = boundary_guided_propagation(
                small, _resized(proposals, small.shape), propagation, regions=regions, device=device
            )
        found = _resized(found, edges.shape)
    return _told_apart(found, settings)


@dataclass(frozen=True)
class MaskMaker:
    """What makes instances of a photo whose edges are known.

    proposer: where masks come from; None: the edges themselves. refiner: what draws the instances anew; None: nothing.
    """

    proposer: Proposes | None = None
    settings: SegmentSettings = field(default_factory=SegmentSettings)
    refiner: Refines | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """What the instances depend on besides the edges, of JSON's types."""
        proposals = self.proposer.provenance if self.proposer is not None else {"proposals": "edges"}
        refined = {"refined": self.refiner.provenance} if self.refiner is not None else {}
        return {"proposals": proposals, "segment": asdict(self.settings)} | refined

    def __call__(
        self,
        image: NDArray[np.uint8],
        edges: EdgeMap,
        proposals: Instances | None = None,
        *,
        device: str | torch.device = "cpu",
    ) -> Instances:
        """Instances of a photo (H, W, 3) of these edges. proposals, device: as `segment`'s; None: the proposer's."""
        if proposals is None and self.proposer is not None:
            proposals = self.proposer(image)
        found = segment(edges, proposals, self.settings, device=walk_device(torch.device(device)))
        if self.refiner is None:
            return found
        return _told_apart(self.refiner(image, found), self.settings)


class Segmenter:
    """Instances of photos: an edge predictor, and what makes masks of its edges.

    >>> segmenter = Segmenter.from_pretrained("mini")
    >>> segmenter(np.zeros((48, 64, 3), np.uint8)).shape
    (48, 64)
    """

    def __init__(
        self,
        predictor: PredictsEdges,
        proposer: Proposes | None = None,
        settings: SegmentSettings | None = None,
        refiner: Refines | None = None,
    ) -> None:
        """proposer, refiner: see `MaskMaker`."""
        self.predictor, self.masks = predictor, MaskMaker(proposer, settings or SegmentSettings(), refiner)

    @classmethod
    def from_pretrained(
        cls, name: str = "mini", *, settings: SegmentSettings | None = None, **options: Any
    ) -> Segmenter:
        """On the student `name`, loaded as `EdgePredictor.from_pretrained(name, **options)` does; masks from its edges."""
        from tracedge.student.predictor import EdgePredictor

        return cls(EdgePredictor.from_pretrained(name, **options), settings=settings)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the instances depend on, of JSON's types."""
        return {"edges": self.predictor.provenance} | self.masks.provenance

    @overload
    def __call__(self, images: ImageSource, proposals: Instances | None = None) -> Instances: ...
    @overload
    def __call__(
        self, images: list[ImageSource], proposals: Sequence[Instances | None] | None = None
    ) -> list[Instances]: ...
    def __call__(
        self, images: ImageSource | list[ImageSource], proposals: Instances | Sequence[Instances | None] | None = None
    ) -> Instances | list[Instances]:
        """Instances of an image (a path, PIL image or array), or of each of a list of them.

        proposals: masks of the image, or of each, from elsewhere; they are taken instead of the proposer's.

        Raises:
            SettingsError: a list of proposals for one image, one for a list, or a list of another length.
        """
        if not isinstance(images, list):
            if not isinstance(proposals, Instances | None):
                raise SettingsError(f"one image takes one Instances as proposals, got {type(proposals).__name__}")
            return self([images], [proposals])[0]
        given = [None] * len(images) if proposals is None else proposals
        if not isinstance(given, Sequence) or not all(isinstance(one, Instances | None) for one in given):
            raise SettingsError(f"{len(images)} images take a list of Instances or None, got {type(given).__name__}")
        if len(given) != len(images):
            raise SettingsError(
                f"{len(images)} images take as many proposals, one Instances or None each, got {len(given)}"
            )
        pixels = [load_image(image) for image in images]
        edges: Sequence[EdgeMap] = self.predictor(pixels)
        device = self.predictor.device
        return [
            self.masks(image, found, masks, device=device)
            for image, found, masks in zip(pixels, edges, given, strict=True)
        ]


def fitted(edges: NDArray[np.float32], max_side: int) -> NDArray[np.float32]:
    """The map, made smaller with antialiasing if its long side is above `max_side`."""
    scale = max_side / max(edges.shape)
    if scale >= 1:
        return edges
    height, width = (max(1, round(side * scale)) for side in edges.shape)
    small = torch.nn.functional.interpolate(
        torch.from_numpy(edges.copy())[None, None], (height, width), mode="bilinear", antialias=True
    )
    return small[0, 0].clamp(0, 1).numpy()


def _told_apart(instances: Instances, settings: SegmentSettings) -> Instances:
    """Best first, and each pixel in one of them unless they may overlap."""
    return (instances if settings.overlapping else instances.non_overlapping()).sorted()


def _resized(instances: Instances, image_hw: tuple[int, ...]) -> Instances:
    """The instances at another size; those whose mask vanishes are dropped."""
    if instances.shape == image_hw:
        return instances
    masks = resized_masks(instances.masks, image_hw)
    kept = masks.any(axis=(1, 2))
    return Instances(masks[kept], instances.scores[kept], instances.settings)
