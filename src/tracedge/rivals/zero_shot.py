"""The zero-shot rivals by name, and as a kind of proposals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from tracedge.backbones.protocol import Backbone
from tracedge.errors import SettingsError
from tracedge.images import ImageSource
from tracedge.instances import Instances
from tracedge.rivals.diffcut import DiffCut
from tracedge.rivals.diffseg import DiffSeg
from tracedge.rivals.segments import Segments
from tracedge.settings import choose


class ZeroShot(Protocol):
    """`DiffSeg` or `DiffCut`: image -> segments."""

    @property
    def provenance(self) -> dict[str, object]: ...
    def __call__(self, image: ImageSource) -> Segments: ...


def zero_shot(name: str, backbone: Backbone, *, px: int | None = None) -> ZeroShot:
    """The rival of a name of `tracedge.rivals.ZERO_SHOT`, with its published parameters.

    Raises:
        SettingsError: no such rival.
    """
    methods: dict[str, type[DiffSeg] | type[DiffCut]] = {DiffSeg.name: DiffSeg, DiffCut.name: DiffCut}
    return choose("rival", name, methods)(backbone, px=px)


@dataclass(frozen=True)
class SegmentProposer:
    """A zero-shot rival's segments as masks: image -> Instances (see `Segments.instances`).

    min_area: pieces under this part of the image are left out, specks of about one token of which there can be hundreds.
    """

    rival: ZeroShot
    min_area: float = 0.0005

    def __post_init__(self) -> None:
        if not 0 <= self.min_area < 1:
            raise SettingsError(f"min_area is a part of the image, in [0, 1), got {self.min_area}")

    @property
    def provenance(self) -> dict[str, object]:
        """What the masks depend on besides the image, of JSON's types."""
        return {"proposals": self.rival.provenance, "min_area": self.min_area}

    def __call__(self, image: ImageSource) -> Instances:
        found = self.rival(image)
        return found.instances(math.ceil(self.min_area * found.labels.size))
