"""Proposals from token features: MaskCut or ProMerge on one numbered page."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass

from tracedge.crf import CrfSettings
from tracedge.errors import SettingsError
from tracedge.images import ImageSource, load_image
from tracedge.instances import Instances
from tracedge.proposals.features import TokenFeatures
from tracedge.proposals.maskcut import Masks, maskcut
from tracedge.proposals.pixels import tokens_to_masks
from tracedge.proposals.promerge import promerge
from tracedge.settings import choose

METHODS: dict[str, Callable[..., Masks]] = {"maskcut": maskcut, "promerge": promerge}


def propose(
    image: ImageSource,
    features: TokenFeatures,
    method: str = "maskcut",
    *,
    crf: bool | CrfSettings = True,
    min_iou: float = 0.5,
    px: int = 480,
    **parameters: float,
) -> Instances:
    """Objects of an image, with no labels; they are rough and touching ones come out as one, which edges can mend.

    Args:
        image: a path, a PIL image or an array.
        features: `DinoFeatures` (as published), `BackboneFeatures`, or anything else that gives an image's tokens.
        method: "maskcut" or "promerge".
        crf: whether a dense CRF moves the outlines onto the picture's contours, or the settings of one.
        min_iou: see `tokens_to_masks`.
        px: the long side of the picture at which masks are refined, if it is larger. Both methods were published with a CRF
            at 480, for which its standard deviations were chosen; masks are enlarged to the image afterwards.
        parameters: those of `maskcut` or `promerge`, by name.

    Returns:
        `Instances` of the image's size, all scores 1 (neither method gives any), in the order that the method gives them.

    Raises:
        SettingsError: an unknown method or parameter, or one out of range.
        ImageError: the image cannot be read.

    >>> from tracedge.proposals.features import BackboneFeatures
    >>> import numpy as np
    >>> scene = np.zeros((64, 64, 3), np.uint8)
    >>> scene[16:48, 16:48] = [255, 200, 0]
    >>> len(propose(scene, BackboneFeatures("mini", px=64, device="cpu"), count=1))
    1
    """
    known = parameters_of(method)
    if unknown := sorted(parameters.keys() - known.keys()):
        raise SettingsError(f"{method} has no parameter {unknown[0]!r}: choose among {', '.join(known)}.")
    crf_settings = (CrfSettings() if crf else None) if isinstance(crf, bool) else crf
    settings = {
        "proposals": method,
        "parameters": known | parameters,
        "crf": asdict(crf_settings) if crf_settings else None,
        "min_iou": min_iou,
        "px": px,
        "features": features.provenance,
    }

    # 1. What the network sees of each token.
    picture = load_image(image)  # (H, W, 3)
    tokens = features(picture)  # (h, w, D)

    # 2. Which tokens make an object.
    grid_masks = METHODS[method](tokens, **parameters)  # (K, h, w)

    # 3. Which pixels.
    masks = tokens_to_masks(picture, grid_masks, crf_settings, min_iou=min_iou, px=px)  # (L, H, W)
    return Instances(masks, settings=settings)


def parameters_of(method: str) -> dict[str, float]:
    """The parameters of a method and their defaults.

    Raises:
        SettingsError: an unknown method.

    >>> parameters_of("maskcut")["count"]
    3
    """
    signature = inspect.signature(choose("method", method, METHODS)).parameters.values()
    return {one.name: one.default for one in signature if one.kind is one.KEYWORD_ONLY}


@dataclass(frozen=True)
class Proposer:
    """`propose` with everything but the image chosen: image -> Instances."""

    features: TokenFeatures
    method: str = "maskcut"
    crf: bool = True

    def __post_init__(self) -> None:
        parameters_of(self.method)

    @property
    def provenance(self) -> dict[str, object]:
        """What the masks depend on besides the image, of JSON's types."""
        return {"proposals": self.method, "crf": self.crf, "features": self.features.provenance}

    def __call__(self, image: ImageSource) -> Instances:
        return propose(image, self.features, self.method, crf=self.crf)
