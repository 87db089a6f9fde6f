"""Settings of a detector's training."""

from __future__ import annotations

from dataclasses import dataclass

from tracedge.errors import SettingsError
from tracedge.settings import check_types


@dataclass(frozen=True)
class DetectorConfig:
    """What a training of Mask2Former depends on besides its pseudo masks. configs/detector.toml is Mask2Former's own recipe.

    backbone: a name of `network.BACKBONES`, a folder or a hub id of a ResNet or Swin, whose weights training starts from; "small"
    has random ones. width: channels of the pixel decoder and of the queries. queries, encoder_layers, decoder_layers, heads: of
    the transformer. px: side of a training picture, and the long side at prediction. scale_low, scale_high: large-scale jitter;
    1 is a picture that just fits into px. copy_paste: the share of pictures onto which objects of another are laid. accumulate:
    forwards to a step. backbone_rate: the backbone's share of learning_rate. warmup, cooldown: steps, and the share of all steps,
    in which the rate rises and falls. clip: largest norm of a gradient. ema: of the weights that are kept; 0 keeps the last ones.
    no_object: weight of queries that match nothing. points: at which masks are compared. precision: "no" or "bf16".
    """

    backbone: str = "small"
    width: int = 256
    queries: int = 100
    encoder_layers: int = 6
    decoder_layers: int = 9
    heads: int = 8
    px: int = 1024
    steps: int = 60_000
    batch: int = 16
    accumulate: int = 1
    scale_low: float = 0.1
    scale_high: float = 2.0
    copy_paste: float = 0.0
    learning_rate: float = 1e-4
    backbone_rate: float = 0.1
    weight_decay: float = 0.05
    warmup: int = 10
    cooldown: float = 0.1
    clip: float = 0.01
    ema: float = 0.0
    no_object: float = 0.1
    points: int = 12_544
    precision: str = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        least_one = ("queries", "encoder_layers", "heads", "steps", "batch", "accumulate", "points")
        if too_small := [name for name in least_one if getattr(self, name) < 1]:
            raise SettingsError(f"{too_small[0]} is at least 1, got {getattr(self, too_small[0])}")
        if self.decoder_layers < 2:
            raise SettingsError(f"decoder_layers is at least 2, got {self.decoder_layers}")
        if self.width < 32 or self.width % 32 or self.width % self.heads:
            raise SettingsError(
                f"width is 32, 64, 96, ... and a multiple of heads, got {self.width} and {self.heads} heads"
            )
        if self.px < 64 or self.px % 32:
            raise SettingsError(f"px is 64, 96, 128, ..., got {self.px}")
        if not 0 < self.scale_low <= self.scale_high:
            raise SettingsError(f"scales are above 0 and in order, got {self.scale_low} and {self.scale_high}")
        shares = ("copy_paste", "cooldown", "no_object")
        if not all(0 <= getattr(self, name) <= 1 for name in shares) or not 0 <= self.ema < 1:
            raise SettingsError("copy_paste, cooldown and no_object lie in [0, 1], ema in [0, 1)")
        if min(self.learning_rate, self.clip) <= 0 or min(self.backbone_rate, self.weight_decay) < 0:
            raise SettingsError("learning_rate and clip are above 0, backbone_rate and weight_decay at least 0")
        if min(self.seed, self.warmup) < 0:
            raise SettingsError("seed and warmup are 0 or more")
        if self.precision not in ("no", "bf16"):
            raise SettingsError(f'precision is "no" or "bf16", got {self.precision!r}')
