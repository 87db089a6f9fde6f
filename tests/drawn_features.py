"""Token features of drawn scenes, with their truth, for the proposals' tests."""

from __future__ import annotations

import numpy as np

DISCS = ((6, 7, 4), (12, 20, 5))


def scene(grid_hw=(20, 28), discs=DISCS, kinds=None, noise=0.5, depth=48, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Features (h, w, D) and labels (h, w): discs (row, column, radius) on background; kinds: discs of one kind are alike."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: grid_hw[0], : grid_hw[1]]
    labels = np.zeros(grid_hw, int)
    for number, (row, column, radius) in enumerate(discs, 1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    directions = np.linalg.qr(rng.normal(size=(depth, depth)))[0][: len(discs) + 1] * depth**0.5
    kind = np.array([0, *(kinds or range(1, len(discs) + 1))])
    return (directions[kind[labels]] + noise * rng.normal(size=(*grid_hw, depth))).astype(np.float32), labels


def sets(masks: np.ndarray) -> set[bytes]:
    return {mask.tobytes() for mask in masks}
