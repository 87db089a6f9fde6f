"""DiffSeg: attention maps of one pass that resemble each other are merged, and each pixel goes to the map it is most in.

Written from a description of the method (Tian, Aggarwal, Colaco, Kira, Gonzalez-Franco, "Diffuse, Attend, and Segment:
Unsupervised Zero-Shot Segmentation using Stable Diffusion", CVPR 2024, section 3).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from tracedge.attention import CHUNK_ELEMENTS, fused_attention
from tracedge.backbones.mini import MiniBackbone
from tracedge.backbones.protocol import Backbone
from tracedge.criteria import EPSILON
from tracedge.errors import SettingsError
from tracedge.images import ImageSource, load_image
from tracedge.rivals.latents import latents_at
from tracedge.rivals.segments import Segments, labels_of
from tracedge.settings import check_types


@dataclass(frozen=True)
class DiffSegSettings:
    """What the segments depend on, besides the model and the picture.

    timestep: of the one pass. noise: noise the latent to it; as released, the clean latent is given. anchors: of a side of the
    grid of first proposals. threshold: two maps nearer than this, in nats, are merged; None: 0.9, as published (1.1 on
    COCO-Stuff), but 0.7 for mini models, which finds more of balloons. rounds: of merging. seed: of the noise.
    """

    timestep: float = 300.0
    noise: bool = False
    anchors: int = 16
    threshold: float | None = None
    rounds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.timestep < 1000:
            raise SettingsError(f"a timestep lies in [0, 1000), got {self.timestep}")
        if self.anchors < 1 or self.rounds < 1:
            raise SettingsError(f"anchors and rounds must be at least 1, got {self.anchors} and {self.rounds}")
        if self.threshold is not None and (
            type(self.threshold) not in (int, float) or not 0 < self.threshold < math.inf
        ):
            raise SettingsError(f"the threshold of a distance is a number above 0, got {self.threshold!r}")


class DiffSeg:
    """Segments of an image by merging the self-attention of any backbone.

    The maps of all blocks are averaged by resolution (`FusedAttention`). The published runs cut pictures to squares; here they
    keep their aspect, and are padded as for `EdgeTeacher`. There is no k-means afterwards.

    Args:
        backbone: whose self-attention.
        settings: see `DiffSegSettings`.
        px: long side in pixels that the model sees; None: what it was made for.

    >>> from tracedge.backbones import load_backbone
    >>> DiffSeg(load_backbone("mini", device="cpu"), px=64)(np.zeros((31, 64, 3), np.uint8)).shape
    (31, 64)
    """

    name = "diffseg"

    def __init__(self, backbone: Backbone, settings: DiffSegSettings | None = None, *, px: int | None = None) -> None:
        if px is not None and px < 16:
            raise SettingsError(f"px must be at least 16, got {px}.")
        chosen = settings or DiffSegSettings()
        if chosen.threshold is None:
            chosen = replace(chosen, threshold=0.7 if isinstance(backbone, MiniBackbone) else 0.9)
        self.backbone, self.settings, self.px = backbone, chosen, px or backbone.px

    @property
    def provenance(self) -> dict[str, object]:
        """What the segments depend on besides the image, of JSON's types."""
        numbers = str(self.backbone.dtype).removeprefix("torch.")
        own = {"method": self.name, "px": self.px, "model": self.backbone.settings, "dtype": numbers}
        return own | {"parameters": asdict(self.settings)}

    @torch.no_grad()
    def __call__(self, image: ImageSource) -> Segments:
        picture, chosen = load_image(image), self.settings
        assert chosen.threshold is not None  # since it was made

        # 1. One pass; all self-attention on the finest grid.
        fit, latents, timestep = latents_at(
            self.backbone, picture, self.px, chosen.timestep, noise=chosen.noise, seed=chosen.seed
        )
        attention, grid_hw = fused_attention(self.backbone, latents, timestep, by_resolution=True)  # (1, N, N)

        # 2. Maps that resemble each other are one.
        proposals = merged_attention(
            attention[0], grid_hw, anchors=chosen.anchors, threshold=chosen.threshold, rounds=chosen.rounds
        )  # (K, h, w)

        # 3. Each pixel goes to the largest.
        return Segments(labels_of(proposals, fit), self.provenance)


def merged_attention(
    attention: Tensor, grid_hw: tuple[int, int], *, anchors: int = 16, threshold: float = 0.9, rounds: int = 3
) -> Tensor:
    """Iterative attention merging (section 3.3): from the maps of all tokens to those of a few proposals.

    The first round replaces the map of each anchor by the mean of all maps nearer to it than the threshold, by symmetric KL.
    In each later round the first proposal takes all that are nearer to it, and their mean stands for them; then the first of
    those left; and so on.

    Args:
        attention: (N, N), rows sum to 1.
        grid_hw: (h, w) with h w = N.
        anchors: A; A x A tokens, evenly spaced (all rows or columns of a grid that has fewer).
        threshold: in nats, above 0.
        rounds: at least 1.

    Returns:
        (K, h, w) fp32, each sums to 1, K from 1 to A^2.

    Raises:
        SettingsError: another shape, or numbers that are not finite.
    """
    tokens = grid_hw[0] * grid_hw[1]
    if attention.shape != (tokens, tokens) or not attention.isfinite().all():
        raise SettingsError(
            f"expected finite attention ({tokens}, {tokens}) of a {grid_hw[0]} x {grid_hw[1]} grid, got "
            f"{tuple(attention.shape)}; a network in half precision may have overflowed."
        )
    rows, columns = (_spread(side, anchors, attention.device) for side in grid_hw)
    starts = attention[(rows[:, None] * grid_hw[1] + columns).flatten()]  # (A A, N)
    near = (symmetric_kl(starts, attention) < threshold).float()  # (A A, N)
    proposals = near @ attention / near.sum(-1, keepdim=True).clamp(min=1)
    for _ in range(rounds - 1):
        proposals = _merged(proposals, threshold)
    return proposals.unflatten(-1, grid_hw)


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """(KL(p || q) + KL(q || p)) / 2 in nats of rows p of (M, N) and q of (R, N), each summing to 1: (M, R)."""
    log_first = (first + EPSILON).log()
    own = (first * log_first).sum(-1, keepdim=True)  # (M, 1)
    distances = first.new_empty(len(first), len(second))
    for start in range(0, len(second), step := max(1, CHUNK_ELEMENTS // second.shape[1])):
        part = second[start : start + step]
        log_part = (part + EPSILON).log()
        crossed = first @ log_part.T + log_first @ part.T
        distances[:, start : start + step] = (own + (part * log_part).sum(-1) - crossed) / 2
    return distances


def _merged(proposals: Tensor, threshold: float) -> Tensor:
    near = (symmetric_kl(proposals, proposals) < threshold).fill_diagonal_(True)  # (K, K)
    left = torch.ones(len(proposals), dtype=torch.bool, device=proposals.device)
    means = []
    for number in range(len(proposals)):
        if left[number]:
            taken = near[number] & left
            means.append(proposals[taken].mean(0))
            left &= ~taken
    return torch.stack(means)


def _spread(side: int, count: int, device: torch.device) -> Tensor:
    """The middles of `count` equal parts of a side; of a shorter side all its tokens."""
    count = min(side, count)
    return (2 * torch.arange(count, device=device) + 1) * side // (2 * count)
