"""From the tags of an image to soft scores of classes, with no training: image-text similarity, refined by attention.

This is not DHR, which trains on tags and on features without labels (and which the paper's figures are of); it is a way of
having classes at all where there are only tags. With DHR's masks at hand, take them.

1. match     every token of the picture with a sentence of each tag, and of what a background is of (similarity.py)
2. weigh     softmax over the tags and the background: what is not tagged has no score anywhere
3. refine    by the self-attention of a diffusion model, and by a CRF (refine.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.categories import Category, by_id
from tracedge.errors import DataError
from tracedge.fit import Fit
from tracedge.images import ImageSource, load_image
from tracedge.semantic_map import UNKNOWN, SemanticMap
from tracedge.semantics.from_files import LEAST
from tracedge.semantics.prompts import BACKGROUND, TEMPLATES, background_phrases, spoken
from tracedge.semantics.refine import Refiner
from tracedge.semantics.tags import background_of

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Match:
    """How well each place of a picture fits each text: log odds (P, h, w), over the frame of a fit."""

    odds: Tensor
    fit: Fit


class Matcher(Protocol):
    """`TextSimilarity`, or anything else that knows what a text means in a picture."""

    @property
    def provenance(self) -> dict[str, object]: ...
    def __call__(self, image: Image, texts: Sequence[str]) -> Match: ...


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Soft scores of one image's classes.

    scores: float32 (K, H, W) in [0, 1], each pixel's sum 1. categories: (K,) the category id of each, ascending tags first; the
    last one may be the background, -1 where no category is called so. settings: what they depend on, of JSON's types.
    """

    scores: NDArray[np.float32]
    categories: NDArray[np.int32]
    settings: dict[str, object]

    def semantic_map(self) -> SemanticMap:
        """The class of the highest score of each pixel, as scores in files are read."""
        return SemanticMap.from_scores(self.scores, self.categories, self.settings, least=LEAST)


@dataclass(frozen=True)
class FromTags:
    """Image and tags -> scores.

    Args:
        match: image and texts to log odds.
        refiner: scores to better scores.
        categories: all there may be.
        background: whether what is not tagged competes too, as the likeliest of some phrases (`BACKGROUND`); None: where no tag
            is stuff, since stuff is what the background is of.
    """

    match: Matcher
    refiner: Refiner
    categories: Sequence[Category]
    background: bool | None = None

    @property
    def provenance(self) -> dict[str, object]:
        """What the scores depend on besides image and tags, of JSON's types."""
        texts = {"templates": list(TEMPLATES), "phrases": list(BACKGROUND), "background": self.background}
        return {"semantic": "tags", "match": self.match.provenance, "refine": self.refiner.provenance, **texts}

    @torch.no_grad()
    def __call__(self, image: ImageSource, tags: Sequence[int]) -> ClassScores:
        """Scores of one image.

        Args:
            image: a path, a PIL image or an array.
            tags: category ids, each once. Without any, all is background.

        Raises:
            DataError: a tag that is none of the categories.
        """
        picture, known = load_image(image), by_id(self.categories)
        if strange := [tag for tag in tags if tag not in known]:
            raise DataError(f"the tag {strange[0]} is none of the {len(known)} categories.")
        numbers = sorted(set(tags))
        names = [spoken(known[number].name) for number in numbers]
        asked = all(known[number].isthing for number in numbers) if self.background is None else self.background
        if not numbers:
            everywhere = np.ones((1, *picture.shape[:2]), np.float32)
            return self._scores(everywhere, [background_of(self.categories)])

        # 1. Every token with every sentence.
        phrases = background_phrases(names) if asked else []
        found = self.match(picture, [*names, *phrases])  # (K + P, h, w)

        # 2. The likeliest phrase stands for the background.
        odds = found.odds.float().cpu()
        if phrases:
            odds = torch.cat([odds[: len(names)], odds[len(names) :].amax(0, keepdim=True)])
            numbers = [*numbers, background_of(self.categories)]
        scores = found.fit.undo(odds.softmax(0)).numpy()  # (K, H, W)

        # 3. What belongs together.
        return self._scores(self.refiner(picture, scores), numbers)

    def _scores(self, scores: NDArray[np.float32], numbers: list[int]) -> ClassScores:
        assert UNKNOWN not in numbers[:-1]
        return ClassScores(scores, np.array(numbers, np.int32), self.provenance)
