"""What the student is trained on: Dice (or cross-entropy) on the certain pixels, and reconstruction (paper, 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tracedge.student.pseudo_labels import UNCERTAIN


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - 2 |E E'| / (|E|^2 + |E'|^2) over the certain pixels of each image, averaged over the images (Milletari, 2016).

    Args:
        logits: (B, 1, H, W), edges before the sigmoid.
        labels: (B, H, W), EDGE 1, INTERIOR 0, UNCERTAIN -1.

    Returns:
        a scalar in [0, 1]. An image without a certain edge counts by the edges it invents.
    """
    certain = (labels != UNCERTAIN).float()
    found = torch.sigmoid(logits[:, 0].float()) * certain
    truth = labels.clamp_min(0).float()
    both = (found * truth).sum(dim=(1, 2))
    size = found.square().sum(dim=(1, 2)) + truth.square().sum(dim=(1, 2))
    return (1 - (2 * both + 1) / (size + 1)).mean()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over the certain pixels, edges and interior each with half of the weight: keeps the order of soft edges."""
    truth = labels.clamp_min(0).float()
    loss = F.binary_cross_entropy_with_logits(logits[:, 0].float(), truth, reduction="none")
    on, off = (labels == 1).float(), (labels == 0).float()
    return ((loss * on).sum() / on.sum().clamp_min(1) + (loss * off).sum() / off.sum().clamp_min(1)) / 2


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of the decoded output and the picture, both (B, 3, H, W) in [0, 1]."""
    return F.mse_loss(decoded.float(), images.float())
