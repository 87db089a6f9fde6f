"""Panoptic quality of predictions on a data set, whatever the truth is read from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tracedge.categories import Category, by_id
from tracedge.errors import DataError, RunError
from tracedge.export.panoptic_reader import PanopticFile, read_panoptic
from tracedge.images import MAX_PIXELS
from tracedge.metrics.panoptic import PanopticFigures, PanopticScores, Quality
from tracedge.panoptic_map import PanopticMap


@dataclass(frozen=True)
class PanopticSample:
    """One image's truth. image_id: as predictions name it, in COCO's way; name: of the photo, relative, with its suffix."""

    image_id: int
    name: str
    truth: PanopticMap


@dataclass(frozen=True)
class PanopticSet:
    """A data set: image id -> name, and the categories, known before anything is read; and each image, read once."""

    names: Mapping[int, str]
    categories: tuple[Category, ...]
    samples: Iterator[PanopticSample]


Predictor = Callable[[PanopticSample], PanopticMap]
"""An image -> the map that is scored against its truth."""


def panoptic_set(truth: PanopticFile, limit: int | None = None) -> PanopticSet:
    """The images of a panoptic file, in its order, the first so many of them."""
    images = list(truth.images.values())[:limit]

    def samples() -> Iterator[PanopticSample]:
        for image in images:
            yield PanopticSample(image.id, image.file_name, truth.read(image.id))

    return PanopticSet({image.id: image.file_name for image in images}, truth.categories, samples())


@dataclass(frozen=True)
class PredictedFile:
    """A file of predictions, which fits the categories and images of its truth.

    Raises:
        DataError: a category that the truth has not, or of another name or kind there; an image of another name there.
    """

    found: PanopticFile
    labelled: PanopticSet

    def __post_init__(self) -> None:
        known = by_id(self.labelled.categories)
        for category in self.found.categories:
            if (there := known.get(category.id)) != category:
                raise DataError(
                    f"{self.found.path} has {category}, the truth {there}: use the truth's categories, or leave them out."
                )
        for number, image in self.found.images.items():
            name = self.labelled.names.get(number, image.file_name)
            if _stem(name) != _stem(image.file_name):
                raise DataError(f"image {number} is {image.file_name} in {self.found.path}, and {name} in the truth.")

    @property
    def missing(self) -> list[str]:
        """The names of those images of the truth that have no prediction."""
        return [name for number, name in self.labelled.names.items() if number not in self.found.images]

    def __call__(self, sample: PanopticSample) -> PanopticMap:
        """Its map; nothing but void where the file has none."""
        if sample.image_id not in self.found.images:
            return PanopticMap.empty(sample.truth.shape)
        return self.found.read(sample.image_id, sample.truth.shape)


def predicted_file(
    path: Path, labelled: PanopticSet, truth: PanopticFile | None = None, *, max_pixels: int = MAX_PIXELS
) -> PredictedFile:
    """The predictions of a file or folder; see `read_panoptic` for what a prediction may take from its truth."""
    return PredictedFile(read_panoptic(path, truth, max_pixels=max_pixels), labelled)


def evaluate_panoptic(
    labelled: PanopticSet, predict: Predictor, *, agnostic: bool = False, on_image: Callable[[], None] | None = None
) -> PanopticFigures:
    """Score a predictor on all images of a data set.

    Raises:
        RunError: an image that cannot be read or predicted, or a map of another size; the message names the image.
        DataError: no image at all.
    """
    scores = PanopticScores(labelled.categories, agnostic=agnostic)
    for sample in labelled.samples:
        try:
            scores.update(predict(sample), sample.truth)
        except Exception as error:
            raise RunError(f"{sample.name}: {type(error).__name__}: {error}") from error
        if on_image is not None:
            on_image()
    return scores.compute()


def panoptic_markdown(figures: PanopticFigures) -> str:
    """All, things and stuff as a Markdown table, in per cent; what has nothing to score is a dash."""
    lines = [f"| {figures.images} images | PQ | SQ | RQ | classes |", "| --- | ---: | ---: | ---: | ---: |"]
    groups = {"all": figures.all, "things": figures.things, "stuff": figures.stuff}
    lines += [f"| {name} | {_cells(group)} | {group.classes} |" for name, group in groups.items()]
    return "\n".join(lines) + "\n"


def panoptic_json(figures: PanopticFigures, provenance: Mapping[str, object]) -> str:
    """The figures as JSON text: pq, sq, rq on top, the same with _things and _stuff, per_class, and the provenance."""
    return json.dumps(figures.as_dict() | {"provenance": dict(provenance)}, indent=2, sort_keys=True) + "\n"


def _cells(group: Quality) -> str:
    return " | ".join("-" if value is None else f"{100 * value:.1f}" for value in (group.pq, group.sq, group.rq))


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
