"""Image-text similarity, token by token: the `Matcher` of CLIP and SigLIP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.backbones.protocol import TextImageSource
from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.semantics.from_tags import Match
from tracedge.semantics.prompts import TEMPLATES


class TextSimilarity:
    """s cos(token, text): s the temperature that the model was trained with, the text the mean of its sentences.

    Args:
        model: which puts tokens and texts into one space.
        px: the long side in pixels at which pictures are seen; larger than the model's own gives more tokens.

    Raises:
        SettingsError: a px out of range.
    """

    def __init__(self, model: TextImageSource, *, px: int = 448) -> None:
        if not 16 <= px <= 4096:
            raise SettingsError(f"px must be from 16 to 4096, got {px}")
        self.model, self.px = model, px
        self._texts: dict[str, Tensor] = {}  # (D,) each, made once

    @property
    def provenance(self) -> dict[str, object]:
        """What the odds depend on besides image and texts, of JSON's types."""
        return {"model": self.model.settings, "px": self.px, "dtype": str(self.model.dtype).removeprefix("torch.")}

    @torch.no_grad()
    def __call__(self, image: NDArray[np.uint8], texts: Sequence[str]) -> Match:
        """Log odds (P, h, w) of an image (H, W, 3)."""
        fit = Fit((image.shape[0], image.shape[1]), self.px, self.model.patch)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        tokens = self.model.tokens(fit.apply(pixels))[0]  # (N, D)
        known = torch.stack([self._text(text) for text in texts])  # (P, D)
        odds = self.model.scale * known @ tokens.T
        return Match(odds.unflatten(1, fit.grid_hw(self.model.patch)), fit)

    def _text(self, text: str) -> Tensor:
        if text not in self._texts:
            mean = self.model.texts([template.format(text) for template in TEMPLATES]).mean(0)
            self._texts[text] = mean / mean.norm()
        return self._texts[text]
