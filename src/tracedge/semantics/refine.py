"""Soft scores of classes, made better by what belongs together in the picture: the attention of a diffusion model.

Image-text similarity knows what there is better than where: it is coarse, and wrong in spots. The self-attention of a diffusion
model at its emergence point says which tokens are of one thing; a walk by it lets each token take the mean of its own kind. As
a way from classes to masks that is Nguyen et al., "Dataset Diffusion" (NeurIPS 2023, 3.3); there the scores are a diffusion
model's cross-attention.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tracedge.crf import CrfSettings, refine_scores
from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.from_attention import Look
from tracedge.settings import check_types

Image = NDArray[np.uint8]
Scores = NDArray[np.float32]


class Looks(Protocol):
    """`EdgeTeacher`, as far as scores are refined by it."""

    @property
    def provenance(self) -> dict[str, object]: ...
    def look(self, image: Image) -> Look: ...


@dataclass(frozen=True)
class RefineSettings:
    """steps: of the walk by the attention; 0: none. sharpness: see `walked`. crf: whether a dense CRF of all classes follows.

    All three were chosen on drawn scenes with the mini model (docs/experiments.md): at sharpness 1 its attention is nearly flat,
    and mixes all classes within a few steps. With that model no steps at all are as good or better.
    """

    steps: int = 1
    sharpness: float = 2.0
    crf: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.steps <= 64:
            raise SettingsError(f"steps of the walk by the attention are from 0 to 64, got {self.steps}")
        if not 0 < self.sharpness <= 16:
            raise SettingsError(f"the sharpness of the attention is above 0, up to 16, got {self.sharpness}")


@dataclass(frozen=True)
class Refiner:
    """Scores (K, H, W) of a picture -> scores of the same shape, each pixel's sum as before.

    model: whose attention; None where the walk has no steps.
    """

    model: Looks | None
    settings: RefineSettings

    def __post_init__(self) -> None:
        if self.model is None and self.settings.steps:
            raise SettingsError("a walk by the attention needs a model to attend.")

    @property
    def provenance(self) -> dict[str, object]:
        """What the scores depend on besides image and scores, of JSON's types."""
        attention = self.model.provenance if self.model is not None and self.settings.steps else None
        return asdict(self.settings) | {"attention": attention}

    def __call__(self, image: Image, scores: Scores) -> Scores:
        if self.model is not None and self.settings.steps:
            scores = walked_on_pixels(self.model.look(image), scores, self.settings.steps, self.settings.sharpness)
        return followed(image, scores) if self.settings.crf else scores


CRF_PX = 640
CRF = CrfSettings(smooth_sxy=1, smooth_weight=3, bilateral_sxy=67, bilateral_srgb=3, bilateral_weight=4)
"""The usual ones of semantic segmentation (Chen et al., DeepLab, 2015), ten iterations, for pictures of
`CRF_PX` at most: larger ones are made as small for it."""


def walked(attention: Tensor, scores: Tensor, steps: int, sharpness: float = 1.0) -> Tensor:
    """T^steps scores: each token's scores become the mean of those that a walk by the attention comes to.

    T_ij = A_ij^sharpness / sum_k A_ik^sharpness: what is attended to most counts more than in proportion (as the inflation of
    Markov clustering: van Dongen, 2000).

    Args:
        attention: A (N, N), rows sum to 1.
        scores: (N, K).
        steps: at least 0.
        sharpness: above 0.

    Returns:
        float32 (N, K) in the range of the scores; rows that summed to 1 do so still.

    Raises:
        SettingsError: other shapes.

    >>> walked(torch.full((2, 2), 0.5), torch.eye(2), 1).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    if attention.ndim != 2 or len({*attention.shape, len(scores)}) > 1:
        raise SettingsError(
            f"expected attention (N, N) and scores (N, K), got {tuple(attention.shape)}, {tuple(scores.shape)}."
        )
    transition, scores = attention.float(), scores.float()
    if sharpness != 1:
        transition = (transition / transition.amax(-1, keepdim=True)) ** sharpness  # the largest is 1: no row vanishes
        transition /= transition.sum(-1, keepdim=True)
    for _ in range(steps):
        scores = transition @ scores
    return scores


def walked_on_pixels(look: Look, scores: Scores, steps: int, sharpness: float = 1.0) -> Scores:
    """`walked` for scores (K, H, W) on the pixels: averaged to the tokens of a look, walked, and brought back, linearly."""
    grid_hw = look.grid_hw
    framed = look.fit.apply(torch.from_numpy(scores)[None])  # (1, K, h, w)
    tokens = F.adaptive_avg_pool2d(framed, grid_hw)[0].flatten(1).T.to(look.attention.device)  # (N, K)
    moved = walked(look.attention[0], tokens, steps, sharpness).T.unflatten(1, grid_hw)  # (K, h', w')
    found: Scores = look.fit.undo(moved.cpu()).numpy()
    return found


def followed(image: Image, scores: Scores) -> Scores:
    """Scores (K, H, W) after a dense CRF of all classes, `CRF`; of a large picture at a long side of `CRF_PX`."""
    image_hw = image.shape[0], image.shape[1]
    if max(image_hw) <= CRF_PX:
        return refine_scores(image, scores, CRF)
    fit = Fit(image_hw, CRF_PX)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    small = fit.apply(pixels)[0].permute(1, 2, 0).round().byte().numpy()  # (h, w, 3)
    refined = refine_scores(small, fit.apply(torch.from_numpy(scores)[None])[0].numpy(), CRF)
    found: Scores = fit.undo(torch.from_numpy(refined)).numpy()
    return found
