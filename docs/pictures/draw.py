"""The pictures of docs/concepts, drawn anew: one scene, made by `tracedge scenes --seed 1000042`, at every station of the method.

python docs/pictures/draw.py [FOLDER]     (half a minute on two cores; needs the extra `figures`)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

import tracedge
from tracedge.datasets.scenes import SCENE_CATEGORIES, draw_scene
from tracedge.divergence import attention_boundary_divergence
from tracedge.emergence import RULES, instance_emergence_point
from tracedge.metrics.edges import instance_boundaries
from tracedge.metrics.matching import match_edges
from tracedge.metrics.thinning import thin
from tracedge.metrics.touching import touching_pairs
from tracedge.panoptic import panoptic_map
from tracedge.placement import contrast, place_edges
from tracedge.propagation import PropagationSettings, boundary_guided_propagation, cut
from tracedge.regions import closed_regions
from tracedge.semantic_map import SemanticMap
from tracedge.student.pseudo_labels import ternary
from tracedge.visualize import attention_colours, instance_colours, instances_overlay, panoptic_overlay

SEED, PX = 1_000_042, 256
RGB = NDArray[np.uint8]
Panel = tuple[str, NDArray, str | ListedColormap | None]

SCENE = draw_scene(SEED, PX)
TOUCHING = draw_scene(1_000_013, PX)  # objects of one kind that touch
TEACHER = tracedge.EdgeTeacher("mini", early_stop=False)
STUDENT = tracedge.EdgePredictor.from_pretrained("mini")
STEPS = {t: (maps, grid) for t, maps, grid in TEACHER.curve_maps(SCENE.image)}
TAUGHT, FOUND = TEACHER(SCENE.image), STUDENT(SCENE.image)
SEEN = tracedge.EdgeTeacher(TEACHER.backbone, timestep=TAUGHT.timestep).look(SCENE.image)


def row_of(panels: list[Panel], marks: list[tuple[int, int]] = ()) -> Figure:
    """Panels side by side; marks are drawn on the first one, (row, column)."""
    figure = Figure(figsize=(3.1 * len(panels), 3.4), layout="constrained")
    for number, (title, picture, colours) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        axes.imshow(picture, cmap=colours, interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.axis("off")
        for place, colour in zip(marks, ("white", "yellow"), strict=True) if number == 0 and marks else ():
            axes.plot(place[1], place[0], "o", color=colour, markeredgecolor="black", markersize=8)
    return figure


def attention() -> Figure:
    """Where two tokens of touching objects look, and all tokens by colour."""
    maps, (height, width) = STEPS[TAUGHT.timestep]
    places = [tuple(np.argwhere(SCENE.labels == label).mean(axis=0).astype(int)) for label in (6, 7)]
    rows = []
    for number, (row, column) in enumerate(places):
        token = row * height // PX * width + column * width // PX
        rows.append(
            (
                f"{('white', 'yellow')[number]} token attends to",
                maps[token].sqrt().reshape(height, width).numpy(),
                "magma",
            )
        )
    colours = attention_colours(maps, (height, width), SCENE.image.shape[:2])
    return row_of([("scene", SCENE.image, None), *rows, ("all tokens: alike, one colour", colours, None)], places)


def emergence() -> Figure:
    """The curve and the rules, and what attention is like before, at and after the chosen step."""
    figure = Figure(figsize=(12.4, 3.4), layout="constrained")
    axes = figure.add_subplot(1, 4, 1)
    axes.plot(TAUGHT.timesteps[1:], TAUGHT.divergences[1:], "o-", color="0.3")
    for (rule, colour), style in zip(
        {"first_peak": "tab:orange", "argmax": "tab:blue"}.items(), ("-", "--"), strict=True
    ):
        assert rule in RULES
        chosen = instance_emergence_point(TAUGHT.timesteps, TAUGHT.divergences, rule).timestep
        axes.axvline(chosen, color=colour, linestyle=style, label=f"{rule}: t* = {chosen:g}")
    axes.set(xlabel="timestep t", ylabel="KL to the step before (nats)")
    axes.legend(fontsize=8)
    for number, step in enumerate((0.0, TAUGHT.timestep, 700.0)):
        axes = figure.add_subplot(1, 4, number + 2)
        axes.imshow(attention_colours(*STEPS[step], SCENE.image.shape[:2]))
        axes.set_title(f"attention at t = {step:g}" + (" = t*" if step == TAUGHT.timestep else ""), fontsize=10)
        axes.axis("off")
    return figure


def _divergence() -> tuple[NDArray, NDArray]:
    """ABDiv on the tokens, and on the pixels."""
    tokens = attention_boundary_divergence(SEEN.attention, SEEN.grid_hw)
    return tokens[0].numpy(), SEEN.fit.undo(tokens)[0].numpy()


def divergence() -> Figure:
    maps = SEEN.attention[0].unflatten(0, SEEN.grid_hw)
    down = (maps[2:] * ((maps[2:] + 1e-12).log() - (maps[:-2] + 1e-12).log())).sum(-1).numpy()
    tokens, _ = _divergence()
    return row_of(
        [
            ("scene", SCENE.image, None),
            ("KL of the tokens above and below", np.sqrt(down.clip(0)), "magma"),
            ("ABDiv: both directions", np.sqrt(tokens), "magma"),
        ]
    )


def placement() -> Figure:
    _, pixels = _divergence()
    gradient = contrast(SCENE.image, 1.5)
    placed = place_edges(SCENE.image, pixels, PX / SEEN.grid_hw[0])
    return row_of(
        [
            ("ABDiv on the pixels", np.sqrt(pixels), "magma"),
            ("contrast of the picture", np.sqrt(gradient), "gray_r"),
            ("edges: both, thinned, levelled", np.sqrt(placed), "gray_r"),
        ]
    )


def student() -> Figure:
    labels = ternary(TAUGHT.edges)
    three = ListedColormap(["0.8", "white", "tab:red"])
    return row_of(
        [
            ("teacher, several forwards", np.sqrt(TAUGHT.edges), "gray_r"),
            ("labels: edge, interior, uncertain (grey)", labels, three),
            ("student, one forward", FOUND.edges, "gray_r"),
        ]
    )


def regions() -> Figure:
    known = closed_regions(FOUND.edges)
    coloured = instance_colours(256)

    def shown(numbers: NDArray[np.int64]) -> RGB:
        return coloured[1 + numbers % 255]

    level = known.at_level(0.15)
    found = tracedge.segment(FOUND)
    return row_of(
        [
            ("edges", FOUND.edges, "gray_r"),
            (f"{len(known.areas)} basins", shown(known.basins), None),
            (f"cut at 0.15: {level.max() + 1} regions", shown(level[known.basins]), None),
            (f"{len(found)} instances", instances_overlay(SCENE.image, found), None),
        ]
    )


def propagation() -> Figure:
    first, second = touching_pairs(TOUCHING.labels, TOUCHING.classes)[0]
    blob = binary_dilation(np.isin(TOUCHING.labels, (first, second)), iterations=4)  # both in one mask
    left = np.arange(PX) < np.argwhere(TOUCHING.labels == first)[:, 1].mean()
    given = tracedge.Instances(np.stack([blob, (TOUCHING.labels == first) & left]))  # and half of one
    edges = STUDENT(TOUCHING.image).edges
    settings, known = PropagationSettings(), closed_regions(edges)
    fragments, _ = cut(given.masks, edges, known, settings)
    found = boundary_guided_propagation(edges, given, settings, regions=known)
    return row_of(
        [
            ("edges", edges, "gray_r"),
            ("given: both in one mask; half of one", instances_overlay(TOUCHING.image, given), None),
            (
                f"cut: {len(fragments)} fragments",
                instances_overlay(TOUCHING.image, tracedge.Instances(fragments)),
                None,
            ),
            (f"grown and merged: {len(found)}", instances_overlay(TOUCHING.image, found.sorted()), None),
        ]
    )


def panoptic() -> Figure:
    truth = TOUCHING.panoptic
    semantic = SemanticMap(truth.classes())
    without = panoptic_map(semantic, None, SCENE_CATEGORIES)
    parted = panoptic_map(semantic, STUDENT(TOUCHING.image).edges, SCENE_CATEGORIES)
    return row_of(
        [
            ("classes", instance_colours(8)[semantic.classes], None),
            (f"components: {len(without)} segments", panoptic_overlay(TOUCHING.image, without), None),
            (f"cut by edges: {len(parted)}", panoptic_overlay(TOUCHING.image, parted), None),
            (f"truth: {len(truth)}", panoptic_overlay(TOUCHING.image, truth), None),
        ]
    )


def metrics() -> Figure:
    truth = thin(instance_boundaries(SCENE.labels))
    cut_at = thin(FOUND.edges >= 0.5)
    hits, matched = match_edges(cut_at, truth, 0.0075 * np.hypot(PX, PX))
    shown = np.full((PX, PX, 3), 255, np.uint8)
    for pixels, colour in ((cut_at & ~hits, (220, 50, 30)), (truth & ~matched, (40, 90, 220)), (hits, (20, 150, 60))):
        shown[pixels] = colour
    precision, recall = hits.sum() / cut_at.sum(), matched.sum() / truth.sum()
    title = f"matched, false, missed: P {precision:.2f}, R {recall:.2f}"
    return row_of(
        [("truth, thinned", truth, "gray_r"), ("found, cut at 0.5, thinned", cut_at, "gray_r"), (title, shown, None)]
    )


STATIONS: tuple[Callable[[], Figure], ...] = (
    attention, emergence, divergence, placement, student, regions, propagation, panoptic, metrics,
)  # fmt: skip


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for station in STATIONS:
        figure = station()
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(90)
        canvas.draw()
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        drawn.quantize(192, dither=Image.Dither.NONE).save(folder / f"{station.__name__}.png", optimize=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
