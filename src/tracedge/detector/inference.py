"""From what the queries of a Mask2Former say to masks: its own rules, for instances of any class and for panoptic maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.categories import Category
from tracedge.errors import SettingsError
from tracedge.instances import Instances
from tracedge.panoptic_map import PanopticMap, Segment
from tracedge.settings import check_types

_AT_ONCE = 16  # masks of the image's size, in float32


@dataclass(frozen=True)
class DetectSettings:
    """Which queries become masks.

    min_score: the least score of a mask that is kept: the probability of its class. visible: one is dropped if a smaller share
    of it is left after each pixel went to one mask. overlapping: masks stay whole, as AP and AR want them; nothing is dropped for
    `visible`, and the score is the probability times the mean of the mask inside, as Mask2Former ranks instances.
    """

    min_score: float = 0.8
    visible: float = 0.8
    overlapping: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if not (0 <= self.min_score <= 1 and 0 <= self.visible <= 1):
            raise SettingsError(f"min_score and visible lie in [0, 1], got {self.min_score:g} and {self.visible:g}")


@dataclass(frozen=True, eq=False)
class Queries:
    """What a network says of one picture.

    classes: (Q, C + 1) probabilities, the last of no object. masks: (Q, h, w) log-odds. placed: brings some of them, (n, h, w),
    onto the picture's own pixels, (n, H, W). image_hw: (H, W).
    """

    classes: Tensor
    masks: Tensor
    placed: Callable[[Tensor], Tensor]
    image_hw: tuple[int, int]


def instances_of(queries: Queries, categories: Sequence[Category], settings: DetectSettings) -> Instances:
    """The things, of whatever class. Without `overlapping`: see `panoptic_of`, of which they are the things.

    Returns:
        Instances of the picture's size, the best score first.
    """
    if not settings.overlapping:
        ids, segments = _parted(queries, categories, settings)
        things = [segment for segment in segments if segment.isthing]
        if not things:
            return Instances.empty(queries.image_hw)
        masks = np.stack([ids == segment.id for segment in things])
        return Instances(masks, np.array([segment.score for segment in things], np.float64)).sorted()
    things_at = torch.tensor([place for place, one in enumerate(categories) if one.isthing], dtype=torch.long)
    likely = queries.classes[:, things_at].amax(1) if len(things_at) else queries.classes.new_zeros(len(queries.masks))
    kept: list[NDArray[np.bool_]] = []
    scores: list[float] = []
    for first in range(0, len(queries.masks), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        soft = queries.placed(queries.masks[part])
        for score, mask in zip(likely[part].tolist(), soft, strict=True):
            inside = mask > 0
            sure = score * float(mask[inside].sigmoid().mean()) if bool(inside.any()) else -1.0
            if sure >= settings.min_score:
                kept.append(inside.numpy())
                scores.append(min(sure, 1.0))
    return Instances(np.stack(kept), np.array(scores)).sorted() if kept else Instances.empty(queries.image_hw)


def panoptic_of(queries: Queries, categories: Sequence[Category], settings: DetectSettings) -> PanopticMap:
    """Things and stuff (Cheng et al. 2022, 4.1; as in MaskFormer).

    1. Queries whose class is likelier than `min_score` are kept, and are not "no object".
    2. A pixel goes to the query with the largest probability times sigmoid of the mask.
    3. A query is dropped if its pixels are a smaller share of its mask (above one half) than `visible`; it keeps those of them
       that lie in its mask.
    4. Segments of one class of stuff become one.
    """
    ids, segments = _parted(queries, categories, settings)
    return PanopticMap(ids, tuple(segments))


def _parted(
    queries: Queries, categories: Sequence[Category], settings: DetectSettings
) -> tuple[NDArray[np.int32], list[Segment]]:
    scores, classes = queries.classes.max(1)
    sure = torch.nonzero((classes < len(categories)) & (scores > settings.min_score))[:, 0]
    winner, best = np.full(queries.image_hw, -1), np.zeros(queries.image_hw, np.float32)
    areas: dict[int, int] = {}
    own = np.zeros(queries.image_hw, bool)  # whether the winner's mask is above one half
    for chunk in sure.split(_AT_ONCE):
        for query, mask in zip(chunk.tolist(), queries.placed(queries.masks[chunk]).numpy(), strict=True):
            areas[query] = int((mask > 0).sum())
            value = float(scores[query]) / (1 + np.exp(-np.clip(mask, -60, 60)))
            wins = value > best
            winner[wins], best[wins], own[wins] = query, value[wins], mask[wins] > 0
    ids = np.zeros(queries.image_hw, np.int32)
    segments: list[Segment] = []
    of_stuff: dict[int, int] = {}
    for query in sure.tolist():
        won = winner == query
        left = won & own
        if not left.any() or won.sum() < settings.visible * areas[query]:
            continue
        category, score = categories[int(classes[query])], min(float(scores[query]), 1.0)
        number = len(segments) + 1
        if not category.isthing and category.id in of_stuff:
            number = of_stuff[category.id]
            before = segments[number - 1].score or 0.0
            segments[number - 1] = Segment(number, category.id, False, max(before, score))
        else:
            segments.append(Segment(number, category.id, category.isthing, score))
            if not category.isthing:
                of_stuff[category.id] = number
        ids[left] = number
    return ids, segments
