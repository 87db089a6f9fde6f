"""What a student is shown: random crops of pseudo labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tracedge.errors import SettingsError
from tracedge.student.pseudo_labels import UNCERTAIN, PseudoLabels, ternary


class Crops:
    """Random crops of pseudo labels, folder by folder with equal weight: every draw follows from its generator."""

    def __init__(
        self, labels: Sequence[PseudoLabels], rule: str, side: int, multiple_of: int, blurred: float = 0.0
    ) -> None:
        """side: of the crops, in the labels' own pixels. Pictures smaller than it are mirrored up to it."""
        if side % multiple_of:
            raise SettingsError(f"crops of {side} px do not fit the model: its sides are multiples of {multiple_of}")
        self.labels, self.rule, self.side, self.blurred = labels, rule, side, blurred

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, side, side) in [0, 1] and labels (B, side, side) int64."""
        images, labels = [], []
        for _ in range(count):
            folder = self.labels[int(rng.integers(len(self.labels)))]
            pair = folder[int(rng.integers(len(folder)))]
            image, label = pair.image, ternary(pair.edges, self.rule)
            short = [max(0, self.side - length) for length in label.shape]
            image = np.pad(image, ((0, short[0]), (0, short[1]), (0, 0)), mode="symmetric")
            label = np.pad(label, ((0, short[0]), (0, short[1])), constant_values=UNCERTAIN)
            top, left = (int(rng.integers(length - self.side + 1)) for length in label.shape)
            window = slice(top, top + self.side), slice(left, left + self.side)
            image, label = image[window], label[window]
            if rng.uniform() < 0.5:
                image, label = image[:, ::-1], label[:, ::-1]
            pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
            if rng.uniform() < self.blurred:
                pixels = _smaller_and_back(pixels, float(rng.uniform(0.4, 0.9)))
            images.append(pixels)
            labels.append(torch.from_numpy(label.copy()).long())
        return torch.stack(images), torch.stack(labels)


def _smaller_and_back(pixels: Tensor, scale: float) -> Tensor:
    """An image (3, H, W) as if it had come with fewer pixels."""
    hw = pixels.shape[-2:]
    small = F.interpolate(
        pixels[None], size=[max(1, int(side * scale)) for side in hw], mode="bilinear", antialias=True
    )
    return F.interpolate(small, size=hw, mode="bilinear")[0]
