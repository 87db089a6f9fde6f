"""How a learning rate rises and falls over a training."""

from __future__ import annotations


def share_at(step: int, steps: int, *, warmup: int, cooldown: float) -> float:
    """The share of the learning rate at a step: up in a line, level, down in a line.

    Args:
        step: from 0. steps: of the whole training.
        warmup: steps in which the rate rises; 0: it begins at its full height.
        cooldown: the last share of all steps, 0 to 1, in which it falls towards 0.

    Returns:
        Above 0, at most 1.

    >>> [share_at(step, 10, warmup=2, cooldown=0.4) for step in (0, 1, 5, 8)]
    [0.5, 1.0, 1.0, 0.5]
    """
    rise = (step + 1) / max(warmup, 1)
    fall = (steps - step) / max(cooldown * steps, 1)
    return min(rise, fall, 1.0)
