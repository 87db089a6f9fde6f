"""SAM's automatic masks: a point on each place of a grid, what is sure and stable of the answers, each once.

Written from the paper's description (Kirillov et al., Segment Anything, ICCV 2023, section 5 and appendix B) and the published
defaults. The further passes over crops of the picture, which are off by default, are not built.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import SettingsError
from tracedge.images import ImageSource, load_image
from tracedge.instances import Instances
from tracedge.sam.model import Answer, PromptedModel
from tracedge.sam.nms import box_nms
from tracedge.sam.prompts import WITHIN, Prompts
from tracedge.settings import check_types


@dataclass(frozen=True)
class AutomaticSettings:
    """Which masks are kept; the published defaults.

    side: points along each side. min_iou: masks that SAM does not predict to fit better are dropped; None: as published for the
    model, 0.88 for SAM and 0.8 for SAM 2. offset, min_stability: so are those for which the mask at a threshold of `offset` is no
    larger a share of that at -`offset` than `min_stability`. max_overlap: IoU of boxes above which the less sure one goes.
    min_area: smaller masks are dropped, in pixels.
    """

    side: int = 32
    min_iou: float | None = None
    offset: float = 1.0
    min_stability: float = 0.95
    max_overlap: float = 0.7
    min_area: int = 64

    def __post_init__(self) -> None:
        check_types(self)
        if self.side < 1 or self.min_area < 0 or self.offset < 0:
            raise SettingsError(f"side is at least 1, min_area and offset are at least 0, got {self}")
        if not all(0 <= one <= 1 for one in (self.min_iou or 0.0, self.min_stability, self.max_overlap)):
            raise SettingsError(f"min_iou, min_stability and max_overlap lie in [0, 1], got {self}")


@dataclass(frozen=True)
class _Found:
    """A mask, cut to its box (first row, first column, last row + 1, last column + 1) and packed: there can be thousands."""

    score: float
    box: tuple[int, int, int, int]
    bits: NDArray[np.uint8]

    def paste(self, mask: NDArray[np.bool_]) -> None:
        top, left, bottom, right = self.box
        height, width = bottom - top, right - left
        whole = np.unpackbits(self.bits, count=height * width)
        mask[top:bottom, left:right] = whole.reshape(height, width)


class SamAutomatic:
    """SAM without any instances of ours: image -> Instances, the surest first. They may overlap: parts, objects and wholes.

    The score is the IoU that SAM predicts.
    """

    def __init__(self, model: PromptedModel, settings: AutomaticSettings | None = None) -> None:
        self.model, self.settings = model, settings or AutomaticSettings()

    @property
    def provenance(self) -> dict[str, Any]:
        """What the masks depend on besides the image, of JSON's types."""
        return {"proposals": "sam", "model": self.model.provenance, "automatic": asdict(self.settings)}

    def __call__(self, image: ImageSource) -> Instances:
        """All that is found in an image: a path, a PIL image or an array."""
        picture = load_image(image)  # (H, W, 3)
        height, width = picture.shape[:2]
        # 1. A point in the middle of each cell of a grid.
        points = grid((height, width), self.settings.side)[:, None]  # (P, 1, 2)
        # 2. What is sure and stable of the masks that each could mean.
        found: list[_Found] = []
        for answer in self.model.look(picture)(Prompts(points, np.full(points.shape[:2], WITHIN))):
            found += self._kept(answer)
        # 3. Each object once.
        boxes, scores = np.array([one.box for one in found]).reshape(-1, 4), np.array([one.score for one in found])
        stay = box_nms(boxes, scores, self.settings.max_overlap)
        masks = np.zeros((len(stay), height, width), bool)
        for number, mask in zip(stay, masks, strict=True):
            found[number].paste(mask)
        return Instances(masks, scores[stay], self.provenance)

    def _kept(self, answer: Answer) -> list[_Found]:
        settings = self.settings
        min_iou = self.model.confident if settings.min_iou is None else settings.min_iou
        kept = []
        for number in np.flatnonzero(answer.ious > min_iou).tolist():
            logits = answer.logits(number)
            mask = logits > 0
            if mask.sum() >= max(settings.min_area, 1) and stability(logits, settings.offset) > settings.min_stability:
                kept.append(_packed(mask, min(float(answer.ious[number]), 1.0)))
        return kept


def grid(image_hw: tuple[int, int], side: int) -> NDArray[np.float64]:
    """float64 (side^2, 2): x and y of the middles of side x side equal cells of a picture of (H, W), row by row.

    >>> grid((2, 4), 2).tolist()
    [[1.0, 0.5], [3.0, 0.5], [1.0, 1.5], [3.0, 1.5]]
    """
    height, width = image_hw
    middles = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(middles * width, middles * height)
    return np.stack((x.ravel(), y.ravel()), axis=1)


def stability(logits: NDArray[np.float32], offset: float) -> float:
    """How little a mask depends on its threshold: pixels above `offset` / pixels above -`offset`, which is their IoU; 0 if none.

    >>> stability(np.array([[3.0, 0.5, -0.5, -3.0]], np.float32), 1.0)
    0.3333333333333333
    """
    return float((logits > offset).sum() / max((logits > -offset).sum(), 1))


def _packed(mask: NDArray[np.bool_], score: float) -> _Found:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    return _Found(score, (top, left, bottom, right), np.packbits(mask[top:bottom, left:right]))
