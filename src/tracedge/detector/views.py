"""What a detector is shown: photos scaled at random and cut to a square (large-scale jitter), with objects of others on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from tracedge.categories import Category
from tracedge.detector.config import DetectorConfig
from tracedge.detector.labels import LabelledPhoto, Labels
from tracedge.errors import DataError, ImageError
from tracedge.instances import Masks

LEAST_PIXELS = 16
"""A mask of fewer pixels in a view is left out: nothing can be learnt of it."""

VISIBLE = 0.1
"""And one of which less than this share is left under what was pasted."""

_ATTEMPTS = 10  # broken photos in a row, before a training gives up


@dataclass(frozen=True, eq=False)
class View:
    """image: float32 (px, px, 3) in [0, 1]; inside: bool (px, px), False where the picture does not reach. masks, classes: of a
    `LabelledPhoto`."""

    image: NDArray[np.float32]
    inside: NDArray[np.bool_]
    masks: Masks
    classes: NDArray[np.int64]


class Views(Dataset[list[list["View"]]]):
    """The training pictures of each step: which they are follows from (seed, process, step, forward) alone."""

    def __init__(self, labels: Labels, config: DetectorConfig, process: int = 0) -> None:
        self.labels, self.config, self.process = labels, config, process

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> list[list[View]]:
        """The views of a step: `accumulate` times `batch`."""
        if not 0 <= step < len(self):
            raise IndexError(step)
        return [self._forward(step, forward) for forward in range(self.config.accumulate)]

    def _forward(self, step: int, forward: int) -> list[View]:
        rng = np.random.default_rng([self.config.seed, self.process, step, forward])
        return [self._drawn(rng) for _ in range(self.config.batch)]

    def _drawn(self, rng: np.random.Generator) -> View:
        view = self._one(rng)
        if rng.uniform() < self.config.copy_paste:
            view = pasted(view, things_of(self._one(rng), self.labels.categories), rng)
        return view

    def _one(self, rng: np.random.Generator) -> View:
        photo = self._photo(rng)
        scale = float(rng.uniform(self.config.scale_low, self.config.scale_high))
        view = jittered(photo, self.config.px, scale, rng.uniform(size=2))
        return flipped(view) if rng.uniform() < 0.5 else view

    def _photo(self, rng: np.random.Generator) -> LabelledPhoto:
        """One that can be read: a broken one is told, and another drawn."""
        for attempt in range(_ATTEMPTS):
            number = int(rng.integers(len(self.labels)))
            try:
                return self.labels[number]
            except (DataError, ImageError) as error:
                if attempt == _ATTEMPTS - 1:
                    raise
                warnings.warn(f"left out: {self.labels.photos[number].file}: {error}", stacklevel=2)
        raise AssertionError


def things_of(view: View, categories: Sequence[Category]) -> View:
    """Without the masks of stuff, of which a picture has one a class."""
    things = np.array([categories[place].isthing for place in view.classes.tolist()], bool)
    return View(view.image, view.inside, view.masks[things], view.classes[things])


def jittered(photo: LabelledPhoto, px: int, scale: float, place: NDArray[np.float64]) -> View:
    """A photo scaled so that its long side is scale * px, and cut or padded to a square of px (LSJ; Ghiasi et al. 2021).

    place: two numbers in [0, 1): where the square lies in what is larger than it, from the top and from the left.
    """
    height, width = photo.image.shape[:2]
    factor = scale * px / max(height, width)
    scaled = [max(1, round(side * factor)) for side in (height, width)]
    size = [min(side, px) for side in scaled]
    corner = [int(share * (whole - part + 1)) for share, whole, part in zip(place, scaled, size, strict=True)]
    # Only what will be seen is resampled. The box, in the photo's own pixels: left, top, right, bottom.
    down, across = height / scaled[0], width / scaled[1]
    (top, left), (rows, columns) = corner, size
    box = left * across, top * down, (left + columns) * across, (top + rows) * down

    def seen(picture: Image.Image, resample: Image.Resampling) -> NDArray[np.uint8]:
        return np.asarray(picture.resize((columns, rows), resample, box=box))

    image = np.zeros((px, px, 3), np.float32)
    image[:rows, :columns] = seen(Image.fromarray(photo.image), Image.Resampling.BILINEAR) / np.float32(255)
    inside = np.zeros((px, px), bool)
    inside[:rows, :columns] = True
    masks = np.zeros((len(photo.masks), px, px), bool)
    for mask, whole in zip(masks, photo.masks, strict=True):
        mask[:rows, :columns] = seen(Image.fromarray(whole.view(np.uint8)), Image.Resampling.NEAREST) > 0
    return _kept(image, inside, masks, photo.classes, np.full(len(masks), LEAST_PIXELS))


def flipped(view: View) -> View:
    """Left and right exchanged."""
    return View(view.image[:, ::-1].copy(), view.inside[:, ::-1].copy(), view.masks[:, :, ::-1].copy(), view.classes)


def pasted(view: View, other: View, rng: np.random.Generator) -> View:
    """Some of another view's masks laid over a view, each as likely as not (simple copy-paste; Ghiasi et al. 2021)."""
    chosen = rng.uniform(size=len(other.masks)) < 0.5
    if not chosen.any():
        return view
    over: NDArray[np.bool_] = np.asarray(other.masks[chosen].any(axis=0))
    image = np.where(over[..., None], other.image, view.image)
    under = view.masks & ~over
    # A mask that lies under another of the chosen ones stays whole: masks may overlap, as they did.
    masks = np.concatenate([under, other.masks[chosen]])
    least = np.concatenate(
        [VISIBLE * view.masks.sum(axis=(1, 2)), np.zeros(int(chosen.sum()))],
    )
    classes = np.concatenate([view.classes, other.classes[chosen]])
    return _kept(image, view.inside | over, masks, classes, np.maximum(least, LEAST_PIXELS))


def _kept(
    image: NDArray[np.float32],
    inside: NDArray[np.bool_],
    masks: Masks,
    classes: NDArray[np.int64],
    least: NDArray[np.floating] | NDArray[np.integer],
) -> View:
    large = masks.sum(axis=(1, 2)) >= least
    return View(image, inside, masks[large], classes[large])


def stacked(views: Sequence[View], mean: Sequence[float], deviation: Sequence[float]) -> NDArray[np.float32]:
    """float32 (B, 3, px, px), standardised; 0, the mean, where the pictures do not reach."""
    middle, spread = np.array(mean, np.float32), np.array(deviation, np.float32)
    images = np.stack([(view.image - middle) / spread for view in views])
    images *= np.stack([view.inside for view in views])[..., None]
    return np.ascontiguousarray(images.astype(np.float32).transpose(0, 3, 1, 2))
