"""The figure of `tracedge inspect`: how the edges of one photo came about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.instances import Instances, resized_masks
from tracedge.maps import EdgeMap
from tracedge.visualize.attention import AttentionStep
from tracedge.visualize.figures import new_figure
from tracedge.visualize.overlays import instances_overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RGB = NDArray[np.uint8]

# In inches.
WIDEST, TALLEST, NARROWEST = 3.0, 3.2, 1.25  # a panel
CURVE = (3.6, 2.1)  # the least width and height of the curve with its labels
GAP, TITLE, MARGIN, FOOT = 0.12, 0.26, 0.15, 0.42
LABELS = (0.75, 0.5)  # of the curve: room for those at its left and below it

DPI = 110  # at which the figure is meant to be saved
WHOSE = "edges, instances: the teacher's; `segment` takes a student"

MARK = "#d55e00"  # vermilion, told from grey by every kind of eyes
INK, PALE = "0.15", "0.45"


def inspect_figure(
    image: RGB, found: EdgeMap, steps: Sequence[AttentionStep], instances: Instances | None = None
) -> Figure:
    """Photo, edges, instances and the KL curve with the chosen step; attention colours at several steps below; what made it.

    The layout follows the photo's shape: all panels are of one size, and the curve stands beside the first row, or, under
    wide photos, in a row of its own.

    Args:
        image: uint8 (H, W, 3). found: its edges, with the whole curve. steps: see `attention_steps`.
        instances: of the photo; None leaves their panel out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    first = 2 + (instances is not None)
    plan = _Plan.of(image.shape[0], image.shape[1], first, len(steps))
    figure = new_figure(plan.width, plan.height)
    figure.set_layout_engine("none")
    panels = plan.panels()

    # 1. What went in and what came out.
    _show(figure, next(panels), image, "photo")
    _show(figure, next(panels), 1 - found.edges, "instance edges", cmap="gray", vmin=0, vmax=1)
    if instances is not None:
        _show(figure, next(panels), _at_size(image, instances, plan.panel), f"instances: {len(instances)}")

    # 2. Why this step.
    _draw_curve(figure.add_axes(plan.inches(*plan.curve())), found)

    # 3. What the model attended to on the way.
    named = "attention, " if plan.panel[0] > 1.9 else ""
    for step in steps:
        chosen = step.timestep == found.timestep
        title = f"{named}{'t*' if chosen else 't'} = {step.timestep:g}"
        _show(figure, next(panels), step.colours, title, colour=MARK if chosen else None)

    # 4. What it depends on.
    said = provenance_line(found.settings) + (f"\n{WHOSE}" if instances is not None else "")
    figure.text(MARGIN / plan.width, 0.2 * FOOT / plan.height, said, color=PALE, fontsize=7.5)
    return figure


def provenance_line(settings: Mapping[str, object]) -> str:
    """What edges depend on, as far as it fits one line: model, size, rule, seed; all of it is in the manifest.

    >>> provenance_line({"backbone": {"name": "mini"}, "size": 192, "rule": "argmax", "seed": 0})
    'model mini · 192 px · rule argmax · seed 0'
    """
    backbone = settings.get("backbone")
    said = {"model": backbone.get("name") if isinstance(backbone, Mapping) else None}
    said |= {name: settings.get(name) for name in ("size", "rule", "stride", "ensemble", "seed", "dtype")}
    words = {"size": "{} px", "stride": "every {} steps", "ensemble": "{} draws of noise", "dtype": "{}"}
    plain = {"ensemble": 1, "stride": 100, "dtype": "float32"}  # not worth a word
    kept = {name: value for name, value in said.items() if value is not None and plain.get(name) != value}
    return " · ".join(words.get(name, f"{name} {{}}").format(value) for name, value in kept.items())


@dataclass(frozen=True)
class _Plan:
    """Where everything stands, in inches from the top left corner. columns: of panels; rows: of steps."""

    panel: tuple[float, float]  # width, height
    columns: int
    first: int  # panels before the steps
    rows: int
    beside: bool  # whether the curve is in the first row

    @classmethod
    def of(cls, height: int, width: int, first: int, steps: int) -> _Plan:
        shape = width / height
        panel = max(NARROWEST, min(WIDEST, TALLEST * shape, 2.5 * math.sqrt(shape)))
        tall = min(TALLEST, panel / shape)
        beside = tall + TITLE >= CURVE[1]
        for_curve = math.ceil((CURVE[0] + GAP) / (panel + GAP)) if beside else 0
        columns = first + for_curve if beside else max(first, 3)
        rows = math.ceil(steps / max(columns, min(steps, 7))) if beside else math.ceil(steps / columns)
        return cls((panel, tall), max(columns, math.ceil(steps / max(rows, 1))), first, rows, beside)

    @property
    def width(self) -> float:
        return 2 * MARGIN + self.columns * (self.panel[0] + GAP) - GAP

    @property
    def height(self) -> float:
        return self._top(1 + self.rows) + FOOT

    def panels(self) -> Iterator[tuple[float, float, float, float]]:
        """Left, top, width, height of each panel: the first ones, then the steps, row by row."""
        for column in range(self.first):
            yield self._left(column), self._top(0) + TITLE, *self.panel
        for row in range(self.rows):
            for column in range(self.columns):
                yield self._left(column), self._top(1 + row) + TITLE, *self.panel

    def curve(self) -> tuple[float, float, float, float]:
        """The same of the curve's own frame, without its labels."""
        left = self._left(self.first) if self.beside else MARGIN
        top = self._top(0) + TITLE if self.beside else self._top(1) - CURVE[1] - GAP + TITLE
        tall = self.panel[1] if self.beside else CURVE[1] - TITLE
        return left + LABELS[0], top, self.width - MARGIN - left - LABELS[0], tall - LABELS[1]

    def inches(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        """As matplotlib counts: parts of the figure, from the bottom left corner."""
        bottom = self.height - top - height
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def _left(self, column: int) -> float:
        return MARGIN + column * (self.panel[0] + GAP)

    def _top(self, row: int) -> float:
        under_first = 0 if self.beside or row == 0 else CURVE[1] + GAP
        return MARGIN + row * (TITLE + self.panel[1] + GAP) + under_first


def _at_size(image: RGB, instances: Instances, panel: tuple[float, float]) -> RGB:
    """`instances_overlay` in the pixels of a panel of so many inches: made smaller after, its numbers could not be read."""
    height, width = instances.shape
    scale = min(1.0, panel[0] * DPI / width, panel[1] * DPI / height)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    photo = np.array(Image.fromarray(image).resize((wide, tall), Image.Resampling.LANCZOS))
    return instances_overlay(
        photo, Instances(resized_masks(instances.masks, (tall, wide)), instances.scores, blanks=True)
    )


def _show(
    figure: Figure,
    panel: tuple[float, ...],
    picture: NDArray[Any],
    title: str,
    colour: str | None = None,
    **options: Any,
) -> None:
    """A picture in its panel, at the panel's left where it is narrower; title and frame stand out if they have a colour."""
    width, height = figure.get_size_inches()
    left, top, wide, tall = panel
    axes = figure.add_axes((left / width, (height - top - tall) / height, wide / width, tall / height))
    axes.imshow(picture, **options)
    axes.set_anchor("NW")
    axes.set(xticks=[], yticks=[])
    weight = "bold" if colour else "normal"
    axes.set_title(title, loc="left", fontsize=9.5, color=colour or INK, fontweight=weight, pad=4)
    axes.spines[:].set(edgecolor=colour or "0.8", linewidth=2.5 if colour else 0.6)


def _draw_curve(axes: Axes, found: EdgeMap) -> None:
    """How much attention changes from step to step, and where the choice fell."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.plot(found.timesteps[1:], found.divergences[1:], "o-", color="0.35", markersize=4, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("timestep t (noise: more to the right)", fontsize=8.5, color=INK)
    axes.set_ylabel("KL, step before to t (nats)", fontsize=8.5, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    title = "how much attention changes"
    if found.timestep is not None:
        axes.axvline(found.timestep, color=MARK, linewidth=2, zorder=0)
        if found.timestep in found.timesteps[1:]:
            at = found.divergences[found.timesteps.index(found.timestep)]
            axes.plot([found.timestep], [at], "o", color=MARK, markersize=8)
        title = f"emergence point t* = {found.timestep:g}"
        title += f" (margin {found.margin:.2f})" if found.margin is not None else ""
    axes.set_title(title, loc="left", fontsize=9.5, color=INK, pad=3)
