"""Our instances as SAM's seeds: each says where it is, and SAM draws it, unless it draws something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError, SettingsError
from tracedge.instances import Instances, pairwise_iou
from tracedge.sam import load_sam
from tracedge.sam.model import Answer, Ask, PromptedModel
from tracedge.sam.prompts import KINDS, prompts_of
from tracedge.settings import check_types, choose

CHOICES = ("predicted", "agreement")
SCORES = ("seed", "product")


@dataclass(frozen=True)
class SeedSettings:
    """How instances are given to SAM, and what is taken of its answers.

    prompts: what each says: some of box, points, mask. points: within it, at most. negatives: at most so many points of
    instances that it touches, as not it. choice: which of SAM's masks for one prompt: the one that it predicts to fit best
    ("predicted"), or that agrees best with the seed ("agreement"). agreement: IoU of mask and seed below which the seed stays as
    it was. score: the seed's own ("seed"), or times a number in [0, 1] ("product"): the IoU that SAM predicts, and for a seed
    that stays the IoU of SAM's mask with it.
    """

    prompts: tuple[str, ...] = ("box", "points")
    points: int = 1
    negatives: int = 0
    choice: str = "predicted"
    agreement: float = 0.5
    score: str = "seed"

    def __post_init__(self) -> None:
        check_types(self)
        if not isinstance(self.prompts, tuple) or not self.prompts or len(set(self.prompts)) < len(self.prompts):
            raise SettingsError(f"prompts are some of {', '.join(KINDS)}, each once, got {self.prompts!r}")
        for kind in self.prompts:
            choose("kind of prompt", kind, dict.fromkeys(KINDS))
        choose("choice among SAM's masks", self.choice, dict.fromkeys(CHOICES))
        choose("score of SAM's masks", self.score, dict.fromkeys(SCORES))
        if self.points < 1 or self.negatives < 0:
            raise SettingsError(f"points are at least 1 and negatives 0, got {self.points} and {self.negatives}")
        if not 0 <= self.agreement <= 1:
            raise SettingsError(f"agreement is an IoU, in [0, 1], got {self.agreement}")


class SamSeeds:
    """Photo and instances in, the same instances with SAM's outlines out.

    >>> seeds = SamSeeds.from_pretrained("sam-base")  # doctest: +SKIP
    >>> better = seeds(image, segmenter(image))  # doctest: +SKIP
    """

    def __init__(self, model: PromptedModel, settings: SeedSettings | None = None) -> None:
        self.model, self.settings = model, settings or SeedSettings()

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "sam-base", *, settings: SeedSettings | None = None, **options: Any
    ) -> SamSeeds:
        """With the model that `load_sam(name, **options)` loads."""
        return cls(load_sam(name, **options), settings)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the masks depend on besides photo and seeds, of JSON's types."""
        said = asdict(self.settings) | {"prompts": list(self.settings.prompts)}
        return {"model": self.model.provenance, "seeds": said}

    def __call__(self, image: NDArray[np.uint8], instances: Instances) -> Instances:
        """The instances of a photo, uint8 (H, W, 3), refined; in their order, as many. They may overlap.

        Raises:
            DataError: instances of another size than the photo.
        """
        return self.on(image)(instances) if len(instances) else instances

    def on(self, image: NDArray[np.uint8]) -> Callable[[Instances], Instances]:
        """The same for several sets of instances of one photo, which is encoded once."""
        return partial(self._refined, (image.shape[0], image.shape[1]), self.model.look(image))

    def _refined(self, image_hw: tuple[int, int], ask: Ask, instances: Instances) -> Instances:
        if instances.shape != image_hw:
            raise DataError(
                f"the photo is {image_hw}, masks {instances.shape} (rows, columns): they must be of one image."
            )
        seeds, settings = instances.seen(), self.settings
        provenance = dict(seeds.settings) | {"sam": self.provenance}
        if not len(seeds):
            return Instances.empty(image_hw, provenance)
        prompts = prompts_of(seeds, settings.prompts, points=settings.points, negatives=settings.negatives)
        masks, factors = seeds.masks.copy(), np.ones(len(seeds))
        for number, answer in enumerate(ask(prompts)):
            mask, expected, agreement = _chosen(answer, seeds.masks[number], settings.choice)
            if mask.any() and agreement >= settings.agreement:
                masks[number], factors[number] = mask, min(max(expected, 0.0), 1.0)
            else:
                factors[number] = agreement
        scores = seeds.scores * factors if settings.score == "product" else seeds.scores
        return Instances(masks, scores, provenance)


def _chosen(answer: Answer, seed: NDArray[np.bool_], choice: str) -> tuple[NDArray[np.bool_], float, float]:
    """One of SAM's masks, the IoU that it predicts, and the mask's IoU with the seed."""
    looked_at = range(len(answer.ious)) if choice == "agreement" else [int(answer.ious.argmax())]
    found = []
    for number in looked_at:
        mask = answer.logits(number) > 0
        found.append((mask, float(answer.ious[number]), float(pairwise_iou(mask[None], seed[None])[0, 0])))
    return max(found, key=lambda one: one[2])
