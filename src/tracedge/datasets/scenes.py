"""Synthetic scenes with exact instances: textures, shading, same-class objects that touch and overlap.

A scene is drawn back to front at twice its size and averaged down, so borders are antialiased; the label map says which
object is in front at every pixel. One to three *classes* a scene (a shape family, a colour, a texture, a finish); objects
of a class differ by jitter only, and many are put beside an earlier one of their class so that they touch: the case
that colour or semantics alone cannot separate.

Everything is a function of (seed, px): the same numbers on every machine. Training takes seeds below 1,000,000;
seeds from 1,000,000 on are for measuring.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, shift
from scipy.ndimage import label as components

from tracedge.categories import Category
from tracedge.errors import SettingsError
from tracedge.panoptic_map import PanopticMap, Segment

UNSEEN_SEED = 1_000_000
"""Seeds from here on are never trained on."""

SCENE_CATEGORIES = (Category(1, "ground", False), *(Category(1 + kind, f"kind {kind}", True) for kind in (1, 2, 3)))
"""Of the panoptic maps. Objects of one kind look alike in one scene, and are other ones in the next."""

Float = NDArray[np.float32]
Pattern = Callable[[Float, Float], Float]

_SUPERSAMPLE = 2
_SHAPES = ("ellipse", "superellipse", "polygon", "blob", "capsule", "crescent")
_PATTERNS = ("plain", "noise", "stripes", "waves", "checks", "dots")


@dataclass(frozen=True)
class Scene:
    """A picture and its truth.

    image: (px, px, 3) uint8 RGB. labels: (px, px) uint16, 0 background, 1..K the objects, nearer ones drawn over farther
    ones. classes: K ints, the class of each object, for rules that need "same class".
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    classes: tuple[int, ...]

    @property
    def in_one_piece(self) -> bool:
        """Whether what is seen of each object is connected, sideways or up and down."""
        return all(components(self.labels == number)[1] == 1 for number in np.unique(self.labels) if number)

    @property
    def panoptic(self) -> PanopticMap:
        """The objects, things of `SCENE_CATEGORIES`, and the ground, which is stuff. What is all covered is no segment."""
        present = [int(number) for number in np.unique(self.labels)]
        kinds = [0 if number == 0 else 1 + self.classes[number - 1] for number in present]
        segments = [Segment(1 + number, 1 + kind, kind > 0) for number, kind in zip(present, kinds, strict=True)]
        return PanopticMap(self.labels.astype(np.int32) + 1, tuple(segments))


@dataclass(frozen=True)
class _Style:
    """What all objects of one class share."""

    shape: str
    lobes: int  # corners of a polygon, waves of a blob
    aspect: float
    size: float  # half the long axis, as a share of the picture
    colour: Float  # (3,)
    accent: Float  # (3,), the colour that the pattern moves towards
    pattern: str
    frequency: float
    contrast: float
    relief: float  # 0 flat, 1 a full Lambert dome
    rim: float  # darkening along the contour
    gloss: float


def draw_scenes(seed: int, count: int, px: int) -> Iterator[Scene]:
    """Scenes of seeds seed, seed + 1, ..., seed + count - 1."""
    for offset in range(count):
        yield draw_scene(seed + offset, px)


def draw_scene(seed: int, px: int = 256) -> Scene:
    """Draw one scene.

    Args:
        seed: any integer >= 0; the whole scene follows from it and from px.
        px: side of the square picture in pixels, at least 32.

    Raises:
        SettingsError: px or seed out of range.

    >>> scene = draw_scene(7, px=64)
    >>> scene.image.shape, scene.labels.shape, int(scene.labels.max()) == len(scene.classes)
    ((64, 64, 3), (64, 64), True)
    """
    if seed < 0 or not 32 <= px <= 4096:
        raise SettingsError(f"a scene needs a seed >= 0 and a size from 32 to 4096 px, got seed {seed} and {px} px")
    rng = np.random.default_rng([seed, 77])
    side = px * _SUPERSAMPLE
    light = _unit(rng.uniform(0, 2 * np.pi))
    styles = [_draw_style(rng) for _ in range(int(rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25])))]

    canvas = _paint_background(rng, side)  # (2px, 2px, 3)
    labels = np.zeros((side, side), np.uint16)
    classes: list[int] = []
    placed: list[tuple[int, float, float, float]] = []  # class, row, column, radius, as shares of the picture
    for _ in range(int(rng.integers(2, 15))):
        kind = int(rng.integers(len(styles)))
        row, column, size = _choose_place(rng, styles[kind], kind, placed)
        box, depth, u, v = _outline(rng, styles[kind], side, row, column, size)
        inside = depth > 0
        if inside.size == 0 or not _may_cover(labels, box, inside):
            continue
        _cast_shadow(rng, canvas, box, inside, light, side)
        _paint_object(rng, canvas[box], styles[kind], depth, u, v, light)
        classes.append(kind)
        labels[box][inside] = len(classes)
        placed.append((kind, row, column, size))
    return Scene(_develop(rng, canvas), np.ascontiguousarray(labels[::_SUPERSAMPLE, ::_SUPERSAMPLE]), tuple(classes))


def _draw_style(rng: np.random.Generator) -> _Style:
    pattern = str(rng.choice(_PATTERNS, p=[0.3, 0.22, 0.16, 0.1, 0.1, 0.12]))
    relief = float(rng.choice([0.0, rng.uniform(0.35, 1.0)], p=[0.3, 0.7]))
    return _Style(
        shape=str(rng.choice(_SHAPES, p=[0.25, 0.15, 0.2, 0.2, 0.12, 0.08])),
        lobes=int(rng.integers(3, 7)),
        aspect=float(rng.uniform(0.45, 1.0)),
        size=float(np.exp(rng.uniform(np.log(0.06), np.log(0.26)))),
        colour=_colour(rng),
        accent=_colour(rng),
        pattern=pattern,
        frequency=float(rng.uniform(1.5, 6.0)),
        contrast=0.0 if pattern == "plain" else float(rng.uniform(0.15, 0.7)),
        relief=relief,
        # a flat object shows where it ends by its rim alone, when its neighbour has the same colour
        rim=float(rng.uniform(0.25, 0.6) if relief == 0.0 else rng.uniform(0.0, 0.4)),
        gloss=float(rng.choice([0.0, rng.uniform(0.1, 0.5)])),
    )


def _colour(rng: np.random.Generator) -> Float:
    hue, saturation, value = rng.uniform(), rng.beta(1.5, 1.5), rng.uniform(0.2, 0.95)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def _unit(angle: float) -> tuple[float, float]:
    return float(np.sin(angle)), float(np.cos(angle))


def _choose_place(
    rng: np.random.Generator, style: _Style, kind: int, placed: list[tuple[int, float, float, float]]
) -> tuple[float, float, float]:
    """Row, column and size of the next object: often beside one of its own class, so that the two touch."""
    size = style.size * float(rng.uniform(0.85, 1.15))
    siblings = [place for place in placed if place[0] == kind]
    if siblings and rng.uniform() < 0.7:
        _, row, column, other = siblings[int(rng.integers(len(siblings)))]
        reach = (size + other) * (1 + style.aspect) / 2 * float(rng.uniform(0.7, 1.0))
        down, right = _unit(rng.uniform(0, 2 * np.pi))
        row, column = row + reach * down, column + reach * right
        if 0 < row < 1 and 0 < column < 1:
            return row, column, size
    return float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.05, 0.95)), size


def _outline(
    rng: np.random.Generator, style: _Style, side: int, row: float, column: float, size: float
) -> tuple[tuple[slice, slice], Float, Float, Float]:
    """The object's window, its depth there (> 0 inside, 1 at the centre) and its own coordinates u, v."""
    reach = int(np.ceil(size * 1.35 * side))
    centre = int(row * side), int(column * side)
    box = (
        slice(max(centre[0] - reach, 0), min(centre[0] + reach, side)),
        slice(max(centre[1] - reach, 0), min(centre[1] + reach, side)),
    )
    y = (np.arange(box[0].start, box[0].stop, dtype=np.float32) - centre[0])[:, None] / (size * side)
    x = (np.arange(box[1].start, box[1].stop, dtype=np.float32) - centre[1])[None, :] / (size * side)
    sine, cosine = _unit(rng.uniform(0, 2 * np.pi))
    u, v = cosine * x + sine * y, (cosine * y - sine * x) / style.aspect
    phases = rng.uniform(0, 2 * np.pi, 4)
    radius = np.sqrt(u * u + v * v)
    if style.shape == "ellipse":
        reached = radius
    elif style.shape == "superellipse":
        reached = (np.abs(u) ** 4 + np.abs(v) ** 4) ** 0.25
    elif style.shape == "polygon":
        turns = phases[0] + 2 * np.pi * np.arange(style.lobes) / style.lobes
        reached = np.max([np.cos(turn) * u + np.sin(turn) * v for turn in turns], axis=0) / np.float32(0.75)
    elif style.shape == "blob":
        angle = np.arctan2(v, u)
        wave = sum(np.cos((k + 1) * angle + phases[k]) / (k + 1) for k in range(1, 4))
        reached = radius / (1 + 0.22 * wave)
    elif style.shape == "capsule":
        reached = np.sqrt(np.maximum(np.abs(u) - 0.55, 0) ** 2 + (v * 0.45) ** 2) / np.float32(0.45)
    else:  # crescent: a disc without the disc beside it
        reached = np.maximum(radius, 1.75 - np.sqrt((u - 0.75) ** 2 + v * v) / 0.62)
    return box, (1 - reached).astype(np.float32), u.astype(np.float32), v.astype(np.float32)


def _may_cover(labels: NDArray[np.uint16], box: tuple[slice, slice], inside: NDArray[np.bool_]) -> bool:
    """Every object keeps enough visible area: the new one is not a speck, and it leaves each old one a third of itself."""
    if inside.sum() < 0.0015 * labels.size:
        return False
    under = labels[box]
    for label in np.unique(under[inside]):
        if label and (under[~inside] == label).sum() < 0.35 * (labels == label).sum():
            return False
    return True


def _cast_shadow(
    rng: np.random.Generator,
    canvas: Float,
    box: tuple[slice, slice],
    inside: NDArray[np.bool_],
    light: tuple[float, float],
    side: int,
) -> None:
    strength = float(rng.choice([0.0, rng.uniform(0.15, 0.5)]))
    if strength == 0.0:
        return
    softness = float(rng.uniform(0.004, 0.02)) * side
    fall = float(rng.uniform(0.005, 0.03)) * side
    cast = shift(inside.astype(np.float32), (-light[0] * fall, -light[1] * fall), order=1, mode="nearest")
    shade = gaussian_filter(cast, softness, mode="nearest")
    canvas[box] *= (1 - strength * shade)[..., None]


def _paint_object(
    rng: np.random.Generator,
    window: Float,
    style: _Style,
    depth: Float,
    u: Float,
    v: Float,
    light: tuple[float, float],
) -> None:
    inside = depth > 0
    colour = np.clip(style.colour * rng.uniform(0.88, 1.12) + rng.normal(0, 0.03, 3), 0.02, 1).astype(np.float32)
    mix = style.contrast * _pattern(rng, style.pattern, style.frequency)(u, v)
    paint = colour + mix[..., None] * (style.accent - colour)
    shade = np.ones_like(depth)
    if style.relief:
        height = np.sqrt(np.clip(1 - (1 - depth) ** 2, 0, 1))  # a dome over the outline
        down, right = np.gradient(height * min(depth.shape) * 0.35)
        facing = (1 + right * light[1] + down * light[0]) / np.sqrt(2 * (1 + right**2 + down**2))
        shade = 1 - style.relief * (1 - np.clip(0.35 + 0.75 * facing, 0.1, 1.15))
        paint = paint + style.gloss * (np.clip(facing, 0, 1) ** 24)[..., None]
    shade = shade * (1 - style.rim * np.exp(-np.clip(depth, 0, 1) / 0.06))
    window[inside] = np.clip(paint * shade[..., None], 0, 1)[inside]


def _pattern(rng: np.random.Generator, kind: str, frequency: float) -> Pattern:
    """A texture with values in [0, 1] over an object's own coordinates, so that it turns and grows with the object."""
    a, b, turn = rng.uniform(0, 2 * np.pi, 3)
    sine, cosine = _unit(turn)
    if kind == "noise":
        grid = Image.fromarray(rng.uniform(0, 1, (33, 33)).astype(np.float32)).resize(
            (264, 264), Image.Resampling.BICUBIC
        )
        table = np.clip(np.asarray(grid), 0, 1)
        scale = 264 / (10 / frequency * 4)

        def noise(u: Float, v: Float) -> Float:
            return table[(np.abs(v * scale + 20 * b) % 264).astype(int), (np.abs(u * scale + 20 * a) % 264).astype(int)]

        return noise
    if kind == "stripes":
        return lambda u, v: (np.sin(2 * frequency * (cosine * u + sine * v) + a) > 0).astype(np.float32)
    if kind == "waves":
        return lambda u, v: 0.5 + 0.5 * np.sin(2 * frequency * (cosine * u + sine * v + 0.2 * np.sin(4 * v + b)) + a)
    if kind == "checks":
        return lambda u, v: ((np.sin(2 * frequency * u + a) > 0) ^ (np.sin(2 * frequency * v + b) > 0)).astype(
            np.float32
        )
    if kind == "dots":
        return lambda u, v: (np.sin(3 * frequency * u + a) * np.sin(3 * frequency * v + b) > 0.45).astype(np.float32)
    return lambda u, v: np.zeros_like(u)


def _paint_background(rng: np.random.Generator, side: int) -> Float:
    y, x = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32)] * 2, indexing="ij")
    first, second = _colour(rng), _colour(rng)
    kind = str(rng.choice(_PATTERNS, p=[0.35, 0.3, 0.1, 0.1, 0.08, 0.07]))
    weight = rng.uniform(0.1, 0.6) * _pattern(rng, kind, float(rng.uniform(1.5, 8.0)))(x, y)
    down, right = _unit(rng.uniform(0, 2 * np.pi))
    ramp = 1 + rng.uniform(0, 0.35) * (down * y + right * x)
    return np.clip((first + weight[..., None] * (second - first)) * ramp[..., None], 0, 1).astype(np.float32)


def _develop(rng: np.random.Generator, canvas: Float) -> NDArray[np.uint8]:
    """The camera: light falling off, averaging, a little blur and noise."""
    side = canvas.shape[0]
    px = side // _SUPERSAMPLE
    image = canvas.reshape(px, _SUPERSAMPLE, px, _SUPERSAMPLE, 3).mean(axis=(1, 3))
    blur = float(rng.uniform(0, 0.7)) * px / 256
    if blur > 0.2:
        image = gaussian_filter(image, (blur, blur, 0))
    image = image + rng.normal(0, rng.uniform(0.002, 0.03), image.shape)
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
