"""The only place that draws: overlays, attention as colours, and the figure of `tracedge inspect`."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from tracedge.errors import DataError, MissingExtraError
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.panoptic_map import PanopticMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RGB = NDArray[np.uint8]

EDGE_COLOUR = (255, 64, 32)
FILL = 0.45
SMALL_NUMBER = 9  # px
BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
GOLDEN = 0.6180339887  # turns of the colour circle by this part never come near each other soon


def overlay(image: RGB, edges: NDArray[np.float32]) -> RGB:
    """The image, dimmed, with edges (H, W) in [0, 1] laid over it in orange: uint8 (H, W, 3)."""
    dimmed = image * 0.65 + 255 * 0.1
    weight = np.sqrt(edges)[..., None]  # faint edges should still be seen
    return (dimmed * (1 - weight) + np.array(EDGE_COLOUR) * weight).round().astype(np.uint8)


def instances_overlay(image: RGB, instances: Instances) -> RGB:
    """The image with each instance in a colour of its own, outlined, and with its number (from 1) inside: uint8 (H, W, 3).

    The colours depend on the number alone; an outline is black or white, whichever is farther from the photo and the colour along
    it. Where instances overlap, the higher score is seen. A number stands at the most inner point of what is seen of its
    instance, small where that is small; it is white with a black rim, so that it can be read on anything.

    Raises:
        DataError: an image of another size than the instances'.
    """
    if image.shape != (*instances.shape, 3) or image.dtype != np.uint8:
        raise DataError(f"expected an image of uint8 {(*instances.shape, 3)}, got {image.dtype} {image.shape}.")
    labels = instances.to_labels()
    colours = instance_colours(len(instances))[labels]
    weight = FILL * (labels > 0)[..., None]
    drawn = (image * (1 - weight) + colours * weight).round().astype(np.uint8)
    outline = find_boundaries(np.pad(labels, 1), mode="inner")[
        1:-1, 1:-1
    ]  # padded: closed along the image's border too
    bright = _mean_brightness(drawn[outline], labels[outline], len(instances) + 1) >= 128
    drawn[outline] = np.where(bright, 0, 255)[labels[outline], None]
    seen = Instances.from_labels(labels)
    return _numbered(drawn, np.unique(labels[labels > 0]).tolist(), seen)


def instance_colours(count: int) -> RGB:
    """uint8 (count + 1, 3): black for the background, then bright colours, far apart for numbers that follow each other."""
    turns = (np.arange(count) * GOLDEN) % 1
    bands = [(1 - 0.25 * (number // 3 % 2), 0.65 + 0.35 * (number % 2)) for number in range(count)]
    colours = [colorsys.hsv_to_rgb(hue, strong, bright) for hue, (bright, strong) in zip(turns, bands, strict=True)]
    return np.round(np.array([(0, 0, 0), *colours]) * 255).astype(np.uint8)


def panoptic_overlay(image: RGB, panoptic: PanopticMap) -> RGB:
    """The image with each segment in the colour of its category, a white line between segments: uint8 (H, W, 3).

    The colours depend on the category ids alone, so that a truth and a prediction can be compared; stuff is paler, things of one
    category take turns in brightness. Void is left grey.

    Raises:
        DataError: an image of another size than the map's.
    """
    if image.shape != (*panoptic.shape, 3) or image.dtype != np.uint8:
        raise DataError(f"expected an image of uint8 {(*panoptic.shape, 3)}, got {image.dtype} {image.shape}.")
    seen: dict[int, int] = {}
    colours = [(0.0, 0.0, 0.0)]
    for segment in panoptic.segments:
        before = seen.get(segment.category_id, 0)
        seen[segment.category_id] = before + 1
        strong, bright = (0.9, 1 - 0.2 * (before % 3)) if segment.isthing else (0.45, 0.8)
        colours.append(colorsys.hsv_to_rgb(segment.category_id * GOLDEN % 1, strong, bright))
    places = panoptic.places()
    grey = np.repeat((image @ np.array(BRIGHTNESS))[..., None], 3, axis=2)
    filled = image * (1 - FILL) + 255 * np.array(colours)[places] * FILL
    drawn = np.where(places[..., None] > 0, filled, grey).round().astype(np.uint8)
    drawn[find_boundaries(places, mode="inner", background=0)] = 255
    return drawn


def _mean_brightness(pixels: RGB, labels: NDArray[np.uint16], count: int) -> NDArray[np.float64]:
    """(count,) mean brightness, 0 to 255, of the pixels (N, 3) of each label; 0 of labels without any."""
    sums = np.bincount(labels, pixels @ np.array(BRIGHTNESS), minlength=count)
    return sums / np.maximum(np.bincount(labels, minlength=count), 1)


def _numbered(picture: RGB, numbers: list[int], seen: Instances) -> RGB:
    """With each instance's number: as large as on all others if it fits its mask, else as small as can be read."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    fonts = [ImageFont.load_default(size) for size in (int(np.clip(min(canvas.size) / 25, 12, 32)), SMALL_NUMBER)]
    for number, mask, (row, column) in zip(numbers, seen.masks, seen.inner_points.tolist(), strict=True):
        for font in fonts:
            left, top, right, bottom = pen.textbbox((column, row), str(number), font=font, anchor="mm", stroke_width=1)
            if min(left, top) >= 0 and mask[int(top) : int(bottom) + 1, int(left) : int(right) + 1].all():
                break
        # Moved to where all of it is within the picture.
        x = column - min(left, 0) - max(right - canvas.width, 0)
        y = row - min(top, 0) - max(bottom - canvas.height, 0)
        pen.text((x, y), str(number), "white", font, anchor="mm", stroke_width=1, stroke_fill="black")
    return np.array(canvas)


def attention_colours(attention: torch.Tensor, grid_hw: tuple[int, int], image_hw: tuple[int, int]) -> RGB:
    """An attention map (N, N) as a picture: tokens that attend alike get the same colour.

    The three first principal components of the square roots of the rows (the Hellinger geometry of distributions) become red,
    green and blue, each stretched between its 2nd and 98th percentile. uint8 (H, W, 3) of the image's size.
    """
    rows = attention.float().clamp_min(0).sqrt()
    rows = rows - rows.mean(dim=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # pca_lowrank draws its start at random
        _, _, directions = torch.pca_lowrank(rows, q=min(6, *rows.shape), center=False, niter=4)
    parts = (rows @ directions[:, :3]).cpu().numpy()
    parts *= np.where(parts[np.abs(parts).argmax(axis=0), np.arange(parts.shape[1])] < 0, -1, 1)  # a fixed sign
    low, high = np.percentile(parts, (2, 98), axis=0)
    colours = np.clip((parts - low) / np.maximum(high - low, 1e-12), 0, 1)
    colours = np.pad(colours, ((0, 0), (0, 3 - colours.shape[1])))
    grid = Image.fromarray((colours.reshape(*grid_hw, 3) * 255).round().astype(np.uint8))
    return np.asarray(grid.resize((image_hw[1], image_hw[0]), Image.Resampling.NEAREST))


@dataclass(frozen=True)
class AttentionStep:
    """One column of the figure: a timestep and the attention there, as colours (H, W, 3)."""

    timestep: float
    colours: RGB


def side_by_side(pictures: Sequence[RGB], gap: int = 6) -> RGB:
    """Pictures uint8 (H, W, 3) of one height in a row, white between them.

    Raises:
        DataError: none, or of different heights.
    """
    if len({picture.shape[0] for picture in pictures}) != 1:
        raise DataError(f"expected pictures of one height, got {[picture.shape[:2] for picture in pictures]}.")
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, white)]
    return np.concatenate(row[:-1], axis=1)


def curves_picture(title: str, curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> RGB:
    """Precision against recall, a line for each (recall (K,), precision (K,)), with the best F of each on its line.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(6, 5)
    axes = figure.add_subplot()
    for wanted in np.arange(0.1, 1, 0.1):
        recall = np.linspace(wanted / (2 - wanted) + 1e-6, 1, 100)
        axes.plot(recall, wanted * recall / (2 * recall - wanted), color="0.85", linewidth=0.8)
    for name, (recall, precision) in curves.items():
        f = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        (line,) = axes.plot(recall, precision, label=f"{name} (F {f.max():.3f})")
        axes.plot(recall[f.argmax()], precision[f.argmax()], "o", color=line.get_color())
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", title=title)
    axes.legend(loc="lower left", fontsize="small")
    return _drawn(figure)


def require_matplotlib() -> None:
    """To be asked before the work whose figures need it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("the figure needs matplotlib: pip install 'tracedge[figures]'") from error


def _figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _drawn(figure: Figure) -> RGB:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def inspect_figure(image: RGB, found: EdgeMap, steps: list[AttentionStep]) -> Figure:
    """Image, edges and the KL curve with the chosen step above; attention colours at several steps below.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    columns = max(3, len(steps))
    figure = _figure(3 * columns, 6.4)
    grid = figure.add_gridspec(2, columns * 3)
    third = columns
    for number, (title, picture, colour_map) in enumerate(
        [("image", image, None), ("instance edges", 1 - found.edges, "gray")]
    ):
        axes = figure.add_subplot(grid[0, number * third : (number + 1) * third])
        axes.imshow(picture, cmap=colour_map, vmin=0 if colour_map else None, vmax=1 if colour_map else None)
        axes.set_title(title)
        axes.axis("off")
    axes = figure.add_subplot(grid[0, 2 * third :])
    axes.plot(found.timesteps[1:], found.divergences[1:], "o-", color="0.3")
    if found.timestep is not None:
        axes.axvline(found.timestep, color=np.array(EDGE_COLOUR) / 255, linewidth=2)
        axes.set_title(f"instance emergence point t* = {found.timestep:g}")
    axes.set_xlabel("timestep t")
    axes.set_ylabel("KL of attention, previous step to t (nats)")
    for number, step in enumerate(steps):
        axes = figure.add_subplot(grid[1, number * 3 : (number + 1) * 3])
        axes.imshow(step.colours)
        is_chosen = step.timestep == found.timestep
        axes.set_title(
            f"attention at t = {step.timestep:g}" + (" = t*" if is_chosen else ""),
            fontweight="bold" if is_chosen else None,
        )
        axes.axis("off")
    return figure
