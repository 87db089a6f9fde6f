"""DiffCut: features of one pass are cut in two again and again, as long as the normalised cut is cheap.

Written from a description of the method (Couairon, Shukor, Haugeard, Cord, Thome, "DiffCut: Catalyzing Zero-Shot Semantic
Segmentation with Diffusion Features and Recursive Normalized Cut", NeurIPS 2024, section 3).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tracedge.attention import BlockCall, record_attention
from tracedge.backbones.protocol import Backbone
from tracedge.errors import RecordingError, SettingsError
from tracedge.images import ImageSource, load_image
from tracedge.proposals.maskcut import checked_tokens
from tracedge.proposals.ncut import Matrix, normalised, second_eigenvector
from tracedge.rivals.latents import latents_at
from tracedge.rivals.segments import Segments, labels_of
from tracedge.settings import check_types

Features = NDArray[np.float32]


@dataclass(frozen=True)
class DiffCutSettings:
    """What the segments depend on, besides the model and the picture.

    timestep: to which the latents are noised. alpha: power of the affinity. tau: a group whose normalised cut is not below this
    stays whole. thresholds: at which the eigenvector is tried. side: tokens of the long side, about, to which the features are
    enlarged at last. seed: of the noise.
    """

    timestep: float = 50.0
    alpha: float = 10.0
    tau: float = 0.5
    thresholds: int = 100
    side: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.timestep < 1000:
            raise SettingsError(f"a timestep lies in [0, 1000), got {self.timestep}")
        if self.alpha <= 0 or not 0 < self.tau < 1:
            raise SettingsError(
                f"alpha must be above 0 and tau between 0 and 1 (a cut of tokens all alike is 1), got {self.alpha} and {self.tau}"
            )
        if self.thresholds < 1 or not 1 <= self.side <= 1024:
            raise SettingsError(
                f"thresholds must be at least 1 and side from 1 to 1024, got {self.thresholds} and {self.side}"
            )


class DiffCut:
    """Segments of an image by recursive normalised cuts of what a self-attention block of any backbone puts out.

    The published runs cut pictures to squares; here they keep their aspect, and are padded as for `EdgeTeacher`. Similarities
    are interpolated from the enlarged grid to the pixels. There is no PAMR and no median filter afterwards.

    Args:
        backbone: whose features.
        settings: see `DiffCutSettings`.
        px: long side in pixels that the model sees; None: what it was made for.
        block: one of the backbone's `attention_blocks`; None: see `encoder_block`.

    Raises:
        SettingsError: the backbone has no such block.

    >>> from tracedge.backbones import load_backbone
    >>> DiffCut(load_backbone("mini", device="cpu"), px=64)(np.zeros((31, 64, 3), np.uint8)).shape
    (31, 64)
    """

    name = "diffcut"

    def __init__(
        self,
        backbone: Backbone,
        settings: DiffCutSettings | None = None,
        *,
        px: int | None = None,
        block: str | None = None,
    ) -> None:
        if px is not None and px < 16:
            raise SettingsError(f"px must be at least 16, got {px}.")
        if block is not None and block not in backbone.attention_blocks:
            known = ", ".join(backbone.attention_blocks)
            raise SettingsError(f"{backbone.name} has no self-attention block {block!r}: choose among {known}")
        self.backbone, self.settings, self.px = backbone, settings or DiffCutSettings(), px or backbone.px
        self.block = block or encoder_block(backbone)

    @property
    def provenance(self) -> dict[str, object]:
        """What the segments depend on besides the image, of JSON's types."""
        numbers = str(self.backbone.dtype).removeprefix("torch.")
        own = {"method": self.name, "px": self.px, "model": self.backbone.settings, "dtype": numbers}
        return own | {"block": self.block, "parameters": asdict(self.settings)}

    @torch.no_grad()
    def __call__(self, image: ImageSource) -> Segments:
        picture, chosen = load_image(image), self.settings

        # 1. What the block puts out.
        fit, latents, timestep = latents_at(
            self.backbone, picture, self.px, chosen.timestep, noise=True, seed=chosen.seed
        )
        features = block_output(self.backbone, self.block, latents, timestep)  # (h, w, D)

        # 2. Cut, and cut again.
        affinity = cosine_affinity(features, chosen.alpha)  # (N, N)
        groups = recursive_cut(affinity, chosen.tau, chosen.thresholds).reshape(features.shape[:2])  # (h, w)

        # 3. Each place of a finer grid, then each pixel, goes to the group whose mean it resembles most.
        return Segments(labels_of(group_similarity(features, groups, chosen.side), fit), self.provenance)


def encoder_block(backbone: Backbone) -> str:
    """The last self-attention block of a U-Net's encoder; of a transformer, which has no encoder, the one after half of them.

    Of balloons, the mini model's middle block finds more than its last.
    """
    blocks = backbone.attention_blocks
    encoder = [name for name in blocks if name.startswith("down_blocks.")]
    return encoder[-1] if encoder else blocks[len(blocks) // 2]


def block_output(backbone: Backbone, block: str, latents: Tensor, timestep: Tensor) -> Features:
    """float32 (h, w, D): what a self-attention block puts out for the image tokens, before it is added to its input.

    Args:
        backbone: is run once, on latents (1, C, h', w') at the timestep (1,).
        block: one of its `attention_blocks`.

    Raises:
        RecordingError: as `record_attention`; or the block puts out something else than a row for each token.
    """
    kept: list[Any] = []
    handle = backbone.network.get_submodule(block).register_forward_hook(lambda *io: kept.append(io[2]))
    try:
        place = _Place(block)
        with torch.no_grad(), record_attention(backbone, (latents.shape[-2], latents.shape[-1]), place) as taken:
            backbone.denoise(latents, timestep)
    finally:
        handle.remove()
    assert taken.call is not None  # the recorder has raised otherwise
    rows, columns = taken.call.grid_hw
    output = kept[0][0] if isinstance(kept[0], tuple) else kept[0]  # joint attention gives (image, text)
    if output.ndim != 3 or output.shape[1] not in (rows * columns, taken.call.query.shape[-2]):
        raise RecordingError(
            f"{backbone.name}: block {block} puts out {tuple(output.shape)}, expected a row for each of "
            f"{rows} x {columns} image tokens"
        )
    if output.shape[1] != rows * columns:
        output = output[:, taken.call.image]  # one sequence of text and image
    features: Features = output[0].float().cpu().numpy().reshape(rows, columns, -1)
    return features


class _Place:
    """A reduction that keeps where the image tokens of one block are."""

    def __init__(self, block: str) -> None:
        self._block = block
        self.call: BlockCall | None = None

    def add(self, call: BlockCall) -> None:
        if call.block == self._block:
            self.call = call


def cosine_affinity(features: Features, alpha: float = 10.0) -> Matrix:
    """((c - min c) / (max c - min c))^alpha with c the cosines of all pairs of tokens; float32 (N, N), 1 on the diagonal.

    Args:
        features: float32 (h, w, D).
        alpha: above 0; the larger, the less counts what is not quite alike.

    Raises:
        SettingsError: other features.
    """
    _, _, tokens = checked_tokens(features)
    unit = normalised(tokens)
    cosines = unit @ unit.T
    low, high = cosines.min(), cosines.max()
    if high - low < 1e-6:  # all alike, up to rounding
        return np.ones_like(cosines)
    affinity: Matrix = ((cosines - low) / (high - low)) ** np.float32(alpha)
    np.fill_diagonal(affinity, 1)  # tokens of zero features resemble themselves
    return affinity


def recursive_cut(affinity: Matrix, tau: float = 0.5, thresholds: int = 100) -> NDArray[np.int32]:
    """Groups of tokens: cut in two by `best_split` as long as the normalised cut is below tau.

    Each group is cut as a graph of its own.

    Args:
        affinity: float32 (N, N), symmetric, from 0 upwards, 1 on the diagonal.
        tau: in (0, 1).
        thresholds: see `best_split`.

    Returns:
        int32 (N,), groups from 0 in the order of their first tokens.
    """
    groups = np.zeros(len(affinity), np.int32)
    waiting, finished = [np.arange(len(affinity))], []
    while waiting:
        tokens = waiting.pop()
        own = affinity if len(tokens) == len(affinity) else affinity[np.ix_(tokens, tokens)]
        side, cut = best_split(own, thresholds) if len(tokens) > 1 else (np.ones(1, bool), np.inf)
        if cut < tau:
            waiting += [tokens[side], tokens[~side]]
        else:
            finished.append(tokens)
    for number, tokens in enumerate(sorted(finished, key=lambda group: int(group[0]))):
        groups[tokens] = number
    return groups


def best_split(affinity: Matrix, thresholds: int = 100) -> tuple[NDArray[np.bool_], float]:
    """The cheapest of the cuts of the second eigenvector at evenly spaced values between its smallest and its largest.

    Ncut(A, B) = cut(A, B) / assoc(A) + cut(A, B) / assoc(B), with assoc the sum of a side's degrees (Shi and Malik, PAMI 2000).

    Returns:
        bool (N,), the side above the threshold, and its Ncut; infinite where no threshold parts anything.
    """
    vector = second_eigenvector(affinity)
    levels = np.linspace(vector.min(), vector.max(), thresholds + 2)[1:-1]
    sides = vector > levels[:, None]  # (T, N)
    weights = sides.astype(np.float32)
    degrees = affinity.sum(axis=1, dtype=np.float64)
    joined = sides @ degrees  # (T,) assoc of the upper sides
    within = ((weights @ affinity) * weights).sum(axis=1, dtype=np.float64)
    left = degrees.sum() - joined
    parted = sides.any(axis=1) & ~sides.all(axis=1)
    if not parted.any():
        return sides[0], float("inf")
    costs = np.full(len(levels), np.inf)
    costs[parted] = (joined - within)[parted] * (1 / joined[parted] + 1 / left[parted])
    best = int(costs.argmin())
    return sides[best], float(costs[best])


def group_similarity(features: Features, groups: NDArray[np.int32], side: int = 128) -> Tensor:
    """Cosine of the enlarged features with the mean (of unit length features) of each group.

    Args:
        features: float32 (h, w, D).
        groups: int32 (h, w), 0 .. K - 1.
        side: the grid is enlarged by the whole number that brings its long side nearest to this, bilinearly.

    Returns:
        (K, f h, f w) fp32 in [-1, 1].
    """
    rows, columns, tokens = checked_tokens(features)
    unit = normalised(tokens)
    means = np.stack([unit[groups.ravel() == group].mean(axis=0) for group in range(int(groups.max()) + 1)])  # (K, D)
    factor = max(1, round(side / max(rows, columns)))
    grid = torch.from_numpy(unit).T.reshape(1, -1, rows, columns)
    fine = F.interpolate(grid, scale_factor=factor, mode="bilinear")[0]  # (D, f h, f w)
    return torch.einsum("kd,dhw->khw", torch.from_numpy(normalised(means)), F.normalize(fine, dim=0))
