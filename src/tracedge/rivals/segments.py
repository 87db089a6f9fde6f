"""What zero-shot rivals give: a label for each pixel, and the masks and edges that follow from the labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import label as connected
from torch import Tensor

from tracedge.errors import DataError
from tracedge.fit import Fit
from tracedge.instances import Instances
from tracedge.maps import canonical_json
from tracedge.metrics.instance_boundaries import instance_boundaries

Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Segments:
    """A segmentation of one image. There is no background: every pixel is of a segment, which may be of several pieces.

    Args:
        labels: int32 (H, W), from 1. Kept as a read-only array of its own.
        settings: what the labels depend on, of JSON's types.

    Raises:
        DataError: other labels.

    >>> parts = Segments(np.array([[1, 2, 1], [1, 2, 1]], np.int32))
    >>> len(parts), parts.instances().areas.tolist(), parts.edges()[0].tolist()
    (2, [2, 2, 2], [1.0, 1.0, 0.0])
    """

    labels: Labels
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = self.labels
        if labels.dtype != np.int32 or labels.ndim != 2 or labels.size == 0 or labels.min() < 1:
            raise DataError(f"Segments need labels as int32 (H, W) from 1, got {labels.dtype} {labels.shape}.")
        own = labels.copy()
        own.flags.writeable = False
        object.__setattr__(self, "labels", own)
        object.__setattr__(self, "settings", MappingProxyType(json.loads(canonical_json(self.settings))))

    def __len__(self) -> int:
        return len(np.unique(self.labels))

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W), the size of the image."""
        height, width = self.labels.shape
        return height, width

    def instances(self, min_area: int = 1) -> Instances:
        """The 4-connected pieces of the segments as masks, the largest first; among equals the one whose first pixel is first.

        All scores are 1: the methods do not say what is an object or how sure they are of it, so the ground is among them, and
        what AP there is follows from the order. Pieces under `min_area` pixels are left out.
        """
        pieces = connected(self.labels, background=0, connectivity=1)  # numbered by their first pixels, row by row
        areas = np.bincount(pieces.ravel())[1:]
        kept = np.argsort(-areas, kind="stable")
        kept = kept[areas[kept] >= min_area] + 1
        return Instances(pieces[None] == kept[:, None, None], settings=self.settings)

    def edges(self) -> NDArray[np.float32]:
        """float32 (H, W), 1 where a pixel's right or lower neighbour is of another segment, as the truth is drawn; else 0."""
        return instance_boundaries(self.labels).astype(np.float32)


def labels_of(maps: Iterable[Tensor], fit: Fit) -> Labels:
    """The label of the largest map at each pixel; among equals the first.

    Args:
        maps: K maps (h, w) over the model's frame, each brought to the image by itself (`Fit.undo`).
        fit: how the image was fitted in.

    Returns:
        int32 (H, W), labels from 1 without gaps, in the order of their first pixels.
    """
    best = torch.full(fit.image_hw, -torch.inf)
    winner = torch.zeros(fit.image_hw, dtype=torch.int64)
    for number, one in enumerate(maps):
        values = fit.undo(one[None].float())[0].cpu()
        above = values > best
        best[above], winner[above] = values[above], number
    _, first, flat = np.unique(winner.numpy(), return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[flat].reshape(fit.image_hw)
