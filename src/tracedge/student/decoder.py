"""The edge decoder G_phi: from what is read of the attention, and the picture for sharpness, to edges at its resolution."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracedge.errors import SettingsError


@dataclass(frozen=True)
class DecoderConfig:
    """channels: of the reading that comes in. width: of the token branch; the others follow from it."""

    channels: int
    width: int = 32

    def __post_init__(self) -> None:
        if self.channels < 1 or self.width < 8 or self.width % 4:
            raise SettingsError(f"a decoder needs channels >= 1 and a width of 8, 12, 16, ..., got {asdict(self)}")


class EdgeDecoder(nn.Module):
    """Tokens say whether, pixels say where.

    The reading, standardised by fixed statistics, goes through a few convolutions on the token grid;
    the picture goes down to a quarter of its resolution; there they meet, and the way back up keeps the picture's detail.
    About 0.30 MB in fp32 at width 32, plus 136 bytes an input channel.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width, half, quarter = config.width, config.width * 3 // 4, config.width // 2
        self.config = config
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("deviation", torch.ones(config.channels))
        self.tokens = nn.Sequential(
            nn.Conv2d(config.channels, width, 1), nn.GELU(), _conv(width, width), nn.GELU(), _conv(width, width)
        )
        self.fine = _conv(3, quarter)
        self.medium = _conv(quarter, half, stride=2)
        self.coarse = _conv(half, width, stride=2)
        self.meet = nn.Sequential(_conv(2 * width, width), nn.GELU(), _conv(width, width))
        self.up_medium = _conv(width + half, half)
        self.up_fine = _conv(half + quarter, quarter)
        self.edge = nn.Conv2d(quarter, 1, 1)
        nn.init.constant_(self.edge.bias, -3.0)  # type: ignore[arg-type]  # edges are rare

    @torch.no_grad()
    def standardise(self, reading: Tensor) -> None:
        """Set the statistics of the input from a first batch of readings (B, C, h, w)."""
        self.mean.copy_(reading.mean(dim=(0, 2, 3)))
        self.deviation.copy_(reading.std(dim=(0, 2, 3)).clamp_min(1e-3))

    def forward(self, reading: Tensor, images: Tensor) -> Tensor:
        """Logits (B, 1, H, W) of edges from a reading (B, C, h, w) and images (B, 3, H, W) in [0, 1].

        The grid lies over the whole image, whatever their sizes.
        """
        # 1. The tokens, on their own grid.
        tokens = self.tokens((reading.float() - self.mean[:, None, None]) / self.deviation[:, None, None])

        # 2. The picture, down to a quarter.
        fine = F.gelu(self.fine(images * 2 - 1))
        medium = F.gelu(self.medium(fine))
        coarse = self.coarse(medium)

        # 3. Where they meet, and back up.
        tokens = F.interpolate(tokens, size=coarse.shape[-2:], mode="bilinear")
        both = F.gelu(self.meet(F.gelu(torch.cat([tokens, coarse], dim=1))))
        both = F.interpolate(both, size=medium.shape[-2:], mode="bilinear")
        both = F.gelu(self.up_medium(torch.cat([both, medium], dim=1)))
        both = F.interpolate(both, size=fine.shape[-2:], mode="bilinear")
        both = F.gelu(self.up_fine(torch.cat([both, fine], dim=1)))
        logits: Tensor = self.edge(both)
        return logits


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride, padding=1, padding_mode="replicate")
