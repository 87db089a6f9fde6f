"""The zero-shot rivals by name, and as a kind of proposals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tracedge.backbones.protocol import Backbone
from tracedge.errors import SettingsError
from tracedge.images import ImageSource
from tracedge.instances import Instances
from tracedge.rivals.diffcut import DiffCut
from tracedge.rivals.diffseg import DiffSeg
from tracedge.rivals.segments import Segments


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
    if name not in methods:
        raise SettingsError(f"unknown rival {name!r}: choose one of {', '.join(methods)}")
    return methods[name](backbone, px=px)


@dataclass(frozen=True)
class SegmentProposer:
    """A zero-shot rival's segments as masks: image -> Instances (see `Segments.instances`)."""

    rival: ZeroShot

    @property
    def provenance(self) -> dict[str, object]:
        """What the masks depend on besides the image, of JSON's types."""
        return {"proposals": self.rival.provenance}

    def __call__(self, image: ImageSource) -> Instances:
        return self.rival(image).instances()
