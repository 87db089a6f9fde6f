"""Everything that a distillation depends on, besides its labels and its backbone."""

from __future__ import annotations

from dataclasses import dataclass

from tracedge.errors import SettingsError
from tracedge.settings import check_types, choose
from tracedge.student.pseudo_labels import RULES


@dataclass(frozen=True)
class DistillConfig:
    """The settings of `tracedge distill`; a TOML file has these keys.

    px: side in pixels of the crops that the backbone sees; the decoder sees `detail` times as many. rule: how the soft
    edges become labels. values: how many blocks' values the decoder reads besides the divergences of all. rank: of LoRA; 0
    trains the decoder alone. dice, cross_entropy, reconstruction: weights of the
    losses, 0 leaves one out. learning_rate is the decoder's, adapter_rate LoRA's; both rise over `warmup` steps, stay, and
    fall to zero over the last `cooldown` share. batch: crops of one forward in one process; accumulate: forwards of one step.
    blurred: share of the crops that are made smaller and larger again, as small photos are when they are brought to the
    model's size. precision: "no" or "bf16". checkpointing: compute activations twice, for memory.
    """

    px: int = 128
    detail: int = 2
    rule: str = "ridges"
    rank: int = 64
    width: int = 32
    values: int = 6
    steps: int = 1000
    batch: int = 4
    accumulate: int = 1
    learning_rate: float = 2e-3
    adapter_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup: int = 50
    cooldown: float = 0.4
    dice: float = 1.0
    cross_entropy: float = 0.0
    reconstruction: float = 1.0
    ema: float = 0.99
    blurred: float = 0.5
    precision: str = "no"
    checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        choose("rule of pseudo labels", self.rule, RULES)
        if min(self.px, self.detail, self.steps, self.batch, self.accumulate) < 1 or min(self.rank, self.values) < 0:
            raise SettingsError("px, detail, steps, batch and accumulate are at least 1, rank and values at least 0")
        if min(self.dice, self.cross_entropy, self.reconstruction) < 0 or self.dice + self.cross_entropy == 0:
            raise SettingsError("losses weigh 0 or more, and one of dice and cross_entropy more than 0")
        if not 0 <= self.blurred <= 1:
            raise SettingsError(f"blurred is a share, from 0 to 1, got {self.blurred}")
        if min(self.learning_rate, self.adapter_rate) <= 0 or not 0 <= self.cooldown <= 1 or not 0 <= self.ema < 1:
            raise SettingsError("rates must be above 0, cooldown in [0, 1] and ema in [0, 1)")
        if min(self.seed, self.warmup, self.weight_decay) < 0:
            raise SettingsError("seed, warmup and weight_decay are 0 or more")
        if self.width < 8 or self.width % 4:
            raise SettingsError(f"width is 8, 12, 16, ..., got {self.width}")
        if self.precision not in ("no", "bf16"):
            raise SettingsError(f'precision is "no" or "bf16", got {self.precision!r}')
