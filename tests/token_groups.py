"""A picture of three parts, and attention and features that know its groups."""

import numpy as np
import torch

FAMILIES = ("sd15", "sdxl", "pixart-sigma", "sd3", "sd35-medium", "flux-dev")


def photo(height: int = 43, width: int = 61) -> np.ndarray:
    image = np.full((height, width, 3), [40, 90, 160], np.uint8)
    image[height // 4 : height // 2, width // 5 : width // 2] = [230, 120, 30]
    image[height // 2 :, width // 2 :] = [30, 200, 60]
    return image


def three_groups(height: int = 12, width: int = 16) -> np.ndarray:
    """Group 0 above, 1 and 2 side by side below."""
    groups = np.zeros((height, width), int)
    groups[height // 3 :, : width // 2] = 1
    groups[height // 3 :, width // 2 :] = 2
    return groups


def group_attention(groups: np.ndarray, seed: int = 0) -> torch.Tensor:
    """Every token attends to its own group almost only, with some noise; rows sum to 1."""
    flat = torch.from_numpy(groups.ravel())
    noise = torch.rand(len(flat), len(flat), generator=torch.Generator().manual_seed(seed))
    attention = (flat[:, None] == flat) * (1 + noise) + 1e-4
    return attention / attention.sum(-1, keepdim=True)


def group_features(groups: np.ndarray, noise: float = 0.05) -> np.ndarray:
    """A direction of its own for each group, with some noise."""
    rng = np.random.default_rng(0)
    directions = np.eye(8, dtype=np.float32)[: groups.max() + 1]
    return (directions[groups] + noise * rng.normal(size=(*groups.shape, 8))).astype(np.float32)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(first.ravel(), second.ravel(), strict=True)}
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))
