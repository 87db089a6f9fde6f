"""The instance emergence point, IEP (paper, 3.2, equation 1): the noise level at which attention turns to instances.

The divergence between the maps of consecutive timesteps, D(SA(X_{t_prev}) || SA(X_t)), is a curve over t. The paper takes
its largest value. With small models that is at times the collapse into noise instead, so the rule is a choice: see RULES.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracedge.criteria import criterion, mean_over_rows
from tracedge.errors import SettingsError
from tracedge.settings import choose

Rule = Callable[[Sequence[float], Sequence[float]], int]

PROMINENCE = 0.1
"""A peak counts if the curve has fallen by this share of it, before it rises higher."""

NOISE_BOUND = 500.0
"""`bounded` looks at timesteps up to here only: beyond, most of the signal is gone (flow matching: sigma 0.5)."""


def argmax(timesteps: Sequence[float], divergences: Sequence[float]) -> int:
    """Equation 1 to the letter: the largest divergence; of equal ones the earliest."""
    return max(range(1, len(divergences)), key=lambda i: (divergences[i], -i))


def first_peak(timesteps: Sequence[float], divergences: Sequence[float]) -> int:
    """The first peak that the curve leaves by PROMINENCE of its height; without one, the largest divergence."""
    best = 1
    for i in range(1, len(divergences)):
        if divergences[i] > divergences[best]:
            best = i
        elif divergences[i] < (1 - PROMINENCE) * divergences[best]:
            return best
    return best


def bounded(timesteps: Sequence[float], divergences: Sequence[float]) -> int:
    """The largest divergence among timesteps up to NOISE_BOUND."""
    last = max(2, sum(timestep <= NOISE_BOUND for timestep in timesteps))
    return argmax(timesteps[:last], divergences[:last])


RULES: dict[str, Rule] = {"argmax": argmax, "first_peak": first_peak, "bounded": bounded}


def is_settled(timesteps: Sequence[float], divergences: Sequence[float], rule: str, following: float) -> bool:
    """Whether no later timestep can change the choice: not even an infinite divergence at the `following` one would."""
    if len(divergences) < 2:
        return False
    return RULES[rule]([*timesteps, following], [*divergences, float("inf")]) == RULES[rule](timesteps, divergences)


@dataclass(frozen=True)
class Emergence:
    """The instance emergence point of one image.

    index: position of the chosen timestep in `timesteps`. timesteps: (T,), ascending. divergences: (T,), the curve;
    divergences[i] compares timestep i - 1 with timestep i, and divergences[0] is 0. margin: how clearly it won, the
    chosen divergence minus the largest of the others that were looked at, over the chosen one, never below 0; in [0, 1].
    """

    index: int
    timesteps: tuple[float, ...]
    divergences: tuple[float, ...]
    margin: float

    @property
    def timestep(self) -> float:
        return self.timesteps[self.index]


def emergence_scores(attention: Tensor, grid_hw: tuple[int, int], measure: str = "kl") -> Tensor:
    """The curve in its plain form, from all maps at once: attention (T, N, N), one image, to (T,) float64, first 0."""
    compare = criterion(measure)
    steps = mean_over_rows(compare, attention[:-1], attention[1:], grid_hw).clamp_min(0)
    return torch.cat([steps.new_zeros(1), steps])


def instance_emergence_point(
    timesteps: Sequence[float], divergences: Sequence[float], rule: str = "first_peak"
) -> Emergence:
    """Choose t* from a curve of at least two points.

    Raises:
        SettingsError: an unknown rule, fewer than two timesteps, or lengths that differ.

    >>> instance_emergence_point([0, 100, 200, 300], [0.0, 0.2, 0.6, 0.1], rule="argmax").timestep
    200
    """
    rule_of = choose("rule", rule, RULES)
    if len(timesteps) != len(divergences) or len(timesteps) < 2:
        raise SettingsError(
            f"a curve needs two or more timesteps, got {len(timesteps)} with {len(divergences)} divergences"
        )
    index = rule_of(timesteps, divergences)
    chosen = divergences[index]
    others = [d for i, d in enumerate(divergences) if i != index]
    margin = max(0.0, (chosen - max(others)) / chosen) if chosen > 0 else 0.0
    return Emergence(index, tuple(timesteps), tuple(divergences), margin)


class EmergenceTracker:
    """The streaming twin: timesteps come one by one, and at most three maps an image are held (previous, current, best).

    `update` after each timestep, then `finish`. Same numbers as `emergence_scores` and `instance_emergence_point`.
    """

    def __init__(self, rule: str = "first_peak", measure: str = "kl") -> None:
        self.rule, self.measure, self._compare = rule, measure, criterion(measure)
        self._timesteps: list[float] = []
        self._curves: list[list[float]] = []
        self._previous: Tensor | None = None
        self._best: Tensor | None = None
        self._held: list[int] = []
        self._settled: list[bool] = []

    def update(self, timestep: float, attention: Tensor, grid_hw: tuple[int, int]) -> None:
        """Take the maps (B, N, N) of one timestep, for all images of the batch; timesteps ascend."""
        self._timesteps.append(float(timestep))
        if self._previous is None:
            self._curves = [[0.0] for _ in attention]
            self._held, self._settled = [0] * len(attention), [False] * len(attention)
            self._previous = attention
            return
        steps = mean_over_rows(self._compare, self._previous, attention, grid_hw).clamp_min(0)
        self._previous = attention
        if self._best is None:
            self._best = torch.empty_like(attention)
        for image, (curve, step) in enumerate(zip(self._curves, steps.tolist(), strict=True)):
            if self._settled[image]:
                continue
            curve.append(step)
            if RULES[self.rule](self._timesteps, curve) == len(curve) - 1:
                self._best[image] = attention[image]
                self._held[image] = len(curve) - 1

    def is_settled(self, following: float) -> bool:
        """Whether the choice of every image stands, whatever the `following` timestep would bring: the walk may end.

        An image whose choice stands takes no further step: its curve does not depend on the batch that it is in.
        """
        for image, curve in enumerate(self._curves):
            if not self._settled[image]:
                self._settled[image] = is_settled(self._timesteps[: len(curve)], curve, self.rule, following)
        return bool(self._curves) and all(self._settled)

    def finish(self) -> tuple[list[Emergence], Tensor, list[bool]]:
        """The choice for each image, the maps held (B, N, N), and whether each is the map of the choice.

        It always is for rules that never return to an earlier timestep (argmax, first_peak, bounded); a rule of yours
        that does costs one more forward.
        """
        if self._best is None:
            raise SettingsError(f"a curve needs two or more timesteps, got {len(self._timesteps)}")
        found = [instance_emergence_point(self._timesteps[: len(curve)], curve, self.rule) for curve in self._curves]
        return found, self._best, [point.index == held for point, held in zip(found, self._held, strict=True)]
