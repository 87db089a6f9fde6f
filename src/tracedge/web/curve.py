"""The KL curve as SVG: sharp at any size, in the page's own colours, with the chosen step and the one that is looked at."""

from __future__ import annotations

from collections.abc import Callable

from tracedge.visualize import EDGE_COLOUR
from tracedge.web.reading import Steps

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 26, 40  # margins
TICKS = 4


def curve_svg(steps: Steps, looked_at: float | None = None) -> str:
    """The curve: timesteps to the right, KL upwards. looked_at: the timestep whose attention is shown beside it."""
    points = list(zip(steps.timesteps[1:], steps.divergences[1:], strict=True))  # the first has nothing before it
    top = max((value for _, value in points), default=0) or 1.0
    last = max(steps.timesteps) or 1.0

    def x(timestep: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * timestep / last

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / (1.08 * top)

    colour = f"rgb{EDGE_COLOUR}"
    line = " ".join(f"{x(timestep):.1f},{y(value):.1f}" for timestep, value in points)
    parts = [_axes(steps, top, x, y)]
    if looked_at is not None:
        parts.append(
            f'<line class="looked-at" x1="{x(looked_at):.1f}" x2="{x(looked_at):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
            'stroke="currentColor" stroke-dasharray="3 3" opacity=".6"/>'
        )
    parts.append(
        f'<line class="chosen" x1="{x(steps.chosen):.1f}" x2="{x(steps.chosen):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
        f'stroke="{colour}" stroke-width="2"/>'
        f'<text x="{x(steps.chosen) + 6:.1f}" y="{TOP - 8}" fill="{colour}" font-weight="600">chosen: t = {steps.chosen:g}</text>'
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2"/>'
    )
    parts += [f'<circle cx="{x(t):.1f}" cy="{y(v):.1f}" r="3.5" fill="currentColor"/>' for t, v in points]
    title = f"KL of the attention against the noise level, chosen at {steps.chosen:g}"
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}" font-size="12" '
        f'fill="currentColor">{"".join(parts)}</svg>'
    )


def _axes(steps: Steps, top: float, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """Ticks of both axes, and what they measure."""
    floor = HEIGHT - BOTTOM
    parts = [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="currentColor" opacity=".4"/>']
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            'stroke="currentColor" opacity=".12"/>'
            f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" opacity=".8">{value:.2g}</text>'
        )
    parts += [
        f'<text x="{x(timestep):.1f}" y="{floor + 16}" text-anchor="middle" opacity=".8">{timestep:g}</text>'
        for timestep in steps.timesteps[:: max(1, len(steps.timesteps) // 10)]
    ]
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle" opacity=".8">noise level t</text>'
        f'<text x="6" y="{TOP - 8}" opacity=".8">change (KL, nats)</text>'
    )
    return "".join(parts)
