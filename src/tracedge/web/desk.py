"""What the page does when a visitor does something, without the page: photos in, what is to be shown out."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tracedge.errors import DataError, TracedgeError
from tracedge.images import load_image
from tracedge.instances import Instances
from tracedge.web.curve import curve_svg
from tracedge.web.downloads import write_downloads
from tracedge.web.kept import KeptPhoto
from tracedge.web.limits import Limits
from tracedge.web.pictures import edges_picture, objects_picture, shown, shown_hw
from tracedge.web.reading import RGB, Controls, Reader, Report
from tracedge.web.visits import Visit, Visits
from tracedge.web.words import chosen_html, compared_html, photo_html, sentence_of, table_html

COMPARE, STEPS = "compare", "steps"
"""Tabs whose pictures are made only when they are looked at."""
SOON = 0.5
"""Seconds that a quick answer waits while something else is done for its visitor: it takes the place of others' answers."""


@dataclass(frozen=True)
class View:
    """One photo as it is shown: files of pictures, and HTML."""

    photo: Path
    edges: Path
    objects: Path
    line: str
    table: str


@dataclass(frozen=True)
class Comparison:
    """MaskCut's masks as they are, and by the edges: files of pictures, and HTML."""

    before: Path
    after: Path
    line: str


@dataclass(frozen=True)
class Choice:
    """How the step is chosen. timesteps: those that can be looked at. chosen: of them."""

    timesteps: tuple[float, ...]
    chosen: float
    line: str


@dataclass(frozen=True)
class Look:
    """Attention at one step: a file, and the curve with the step on it."""

    picture: Path
    curve: str


class Desk:
    """Answers visitors. `key` says whose photos are meant, `index` which of them.

    Whoever calls sees to it that the model is asked for one thing at a time: `take`, `reread`, `compare` and `explain` may ask
    it.
    """

    def __init__(self, reader: Reader, folder: Path, limits: Limits) -> None:
        self.reader, self.limits = reader, limits
        self.visits = Visits(folder, limits)
        self.ending = threading.Event()  # set: no further photo is read

    def take(self, key: str, controls: Controls, report: Report) -> list[str]:
        """Read the photos that were received, in place of those that the visitor had; a sentence for each that is not taken.

        The files go as soon as they were read.
        """
        with self.visits.open(key) as visit:
            files, left_out = self.visits.received(key)
            problems = []
            if left_out:
                problems.append(
                    f"{len(files) + left_out} files came, at most {len(files)} are read at a time: the first ones were."
                )
            visit.clear()
            for path in files:
                try:
                    visit.add(path.name, self._load(path))
                except TracedgeError as error:
                    problems.append(sentence_of(error, path))
            self._read_all(visit, controls, report)
        return problems

    def take_example(self, key: str, path: Path, controls: Controls, report: Report) -> None:
        """Read an example, in place of the photos that the visitor had. It may be larger than a visitor's photo."""
        with self.visits.open(key) as visit:
            visit.clear()
            visit.add(path.name, load_image(path))
            self._read_all(visit, controls, report)

    def reread(self, key: str, controls: Controls, report: Report) -> None:
        """Read the photos again where they were read at another zoom."""
        with self._kept(key) as visit:
            self._read_all(visit, controls, report)

    def names(self, key: str) -> list[tuple[Path, str]]:
        """A small picture and the name of each photo."""
        with self.visits.open(key) as visit:
            return [(photo.pictures["thumbnail"], photo.name) for photo in visit.photos]

    def view(self, key: str, index: int, controls: Controls, seconds: float | None = None) -> View:
        """One photo with its edges and objects. Asks no model.

        Raises:
            AtWorkError: for longer than so many seconds. DataError: no such photo.
        """
        with self._photo(key, index, seconds) as (_, photo):
            objects = self._objects(photo, controls)
            pictures = photo.pictures
            return View(
                pictures["photo"],
                pictures["edges"],
                pictures["objects"],
                photo_html(photo, objects),
                table_html(objects),
            )

    def compare(self, key: str, index: int, controls: Controls) -> Comparison | None:
        """What edges do to masks that know of none; None if that is not looked at."""
        with self._photo(key, index) as (visit, photo):
            if visit.tab != COMPARE:
                return None
            image, groups = photo.image(), photo.groups()
            if groups is None:
                groups = self.reader.groups(image)
                photo.keep_groups(groups)
                photo.show("before", objects_picture(image, groups))
            if photo.refined is None or photo.refined_with != controls.of_masks:
                refined = self.reader.refined(photo.edges(), groups, controls)
                photo.show("after", objects_picture(image, refined))
                photo.refined, photo.refined_with = len(refined), controls.of_masks
            return Comparison(
                photo.pictures["before"], photo.pictures["after"], compared_html(len(groups), photo.refined)
            )

    def explain(self, key: str, index: int, report: Report) -> Choice | None:
        """How the step is chosen; None if that is not looked at."""
        with self._photo(key, index) as (visit, photo):
            if visit.tab != STEPS:
                return None
            if photo.steps is None:
                steps = self.reader.steps(photo.image(), shown_hw(photo.shape, 512), report)
                for timestep, colours in zip(steps.timesteps, steps.colours, strict=True):
                    photo.show(f"step-{timestep:g}", colours)
                photo.steps = replace(steps, colours=())
            return Choice(photo.steps.timesteps, photo.steps.chosen, chosen_html(photo.steps))

    def look(self, key: str, index: int, timestep: float) -> Look | None:
        """The attention at the step nearest to a timestep. Asks no model, and waits for none.

        None if there is no such photo, if its steps were not looked at yet, or if the visitor's photos are just being read.
        """
        with self.visits.open_soon(key, SOON) as visit:
            photo = visit.photos[index] if visit is not None and 0 <= index < len(visit.photos) else None
            if photo is None or photo.steps is None:
                return None
            nearest = min(photo.steps.timesteps, key=lambda one: abs(one - timestep))
            return Look(photo.pictures[f"step-{nearest:g}"], curve_svg(photo.steps, nearest))

    def files(self, key: str, formats: Sequence[str], controls: Controls) -> Path:
        """The file of the formats asked for, of all photos. Asks no model.

        Raises:
            DataError: no photos, or they are being read. SettingsError: as `write_downloads`.
        """
        with self._kept(key, SOON) as visit:
            for photo in visit.photos:
                self._objects(photo, controls)
            return write_downloads(visit.fresh_folder("files"), visit.photos, formats)

    def _load(self, path: Path) -> RGB:
        try:
            return load_image(path, max_pixels=self.limits.max_pixels)
        finally:
            shutil.rmtree(path.parent, ignore_errors=True)  # the folder it was received in

    def _read_all(self, visit: Visit, controls: Controls, report: Report) -> None:
        """Edges, objects and pictures of all photos that have none at this zoom.

        Raises:
            DataError: the page is ending.
        """
        for number, photo in enumerate(visit.photos):
            if self.ending.is_set():
                raise DataError("The page is ending: nothing more is read.")
            of = f" of photo {number + 1} of {len(visit.photos)}" if len(visit.photos) > 1 else ""
            if photo.zoom != controls.zoom:
                report(number / len(visit.photos), f"Edges{of}")
                image = photo.image()
                photo.keep_edges(self.reader.edges(image, controls.zoom), controls.zoom)
                photo.show("edges", edges_picture(photo.edges().edges))
                if "photo" not in photo.pictures:
                    photo.show("photo", shown(image))
                    photo.show("thumbnail", shown(image, 256))
            self._objects(photo, controls)

    def _objects(self, photo: KeptPhoto, controls: Controls) -> Instances:
        """The objects by these controls: kept ones, or new ones and their picture."""
        if photo.found_with == controls.of_masks:
            return photo.objects()
        objects = self.reader.objects(photo.edges(), controls)
        photo.keep_objects(objects, controls)
        photo.show("objects", objects_picture(photo.image(), objects))
        return objects

    @contextmanager
    def _kept(self, key: str, seconds: float | None = None) -> Iterator[Visit]:
        """A visit that has photos.

        Raises:
            DataError: it has none, or none any more. AtWorkError: for longer than so many seconds.
        """
        with self.visits.open(key, seconds) as visit:
            if not visit.photos:
                raise DataError("There is no photo here (any more): drop one, or choose an example.")
            yield visit

    @contextmanager
    def _photo(self, key: str, index: int, seconds: float | None = None) -> Iterator[tuple[Visit, KeptPhoto]]:
        with self._kept(key, seconds) as visit:
            if not 0 <= index < len(visit.photos):
                raise DataError(f"There is no photo number {index + 1} here: choose one of the {len(visit.photos)}.")
            yield visit, visit.photos[index]
