"""What a row needs besides its data set, and which of it is not there: nothing is loaded and nothing fetched to know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tracedge.backbones import MODELS, hub, mini, model_of
from tracedge.backbones.vision import is_vision
from tracedge.backbones.vision.files import vision_files
from tracedge.datasets.samples import PanopticSamples
from tracedge.errors import BackboneError, DataError, TracedgeError
from tracedge.evaluation.panoptic_predictions import PanopticPredictions, find_predictions
from tracedge.evaluation.panoptic_sets import panoptic_set
from tracedge.evaluation.reproduction.places import Place
from tracedge.evaluation.reproduction.recipe import EdgeSource, Row
from tracedge.evaluation.reproduction.request import Request
from tracedge.export.coco_reader import is_results
from tracedge.proposals.from_files import MaskSource, find_masks
from tracedge.rivals import FolderOfEdges
from tracedge.student.files import find_student, read_student


class Needs:
    """Looks for what rows need, each thing once.

    Attributes:
        weights: name of each model that was looked for and found -> its commit or fingerprint.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.weights: dict[str, str] = {}
        self._masks: dict[Path, MaskSource] = {}
        self._absent: set[str] = set()
        self._maps: dict[tuple[Path, str], PanopticPredictions] = {}

    def missing(self, row: Row, place: Place) -> list[str]:
        """What is not there of what a row needs in a place, in words; empty where it can be run."""
        found = [row.lacks] if row.lacks is not None else []
        if place.lacks is not None:
            found.append(place.lacks)
        if row.proposals in ("maskcut", "promerge"):
            found += self._weights(self.request.feature_model)
        elif row.proposals is not None and row.proposals.startswith("files "):
            found += self._file(row.proposals.removeprefix("files "), "masks", place, self._refuse_masks)
        if row.segments is not None:
            found += self._file(row.segments, "panoptic maps", place, self._refuse_maps)
        if row.edges is not None:
            found += self._edges(row.edges, place)
        if row.computed is not None or row.choice is not None:
            found += self._edges(EdgeSource("student" if row.computed == "student" else "teacher"), place)
        return found

    def masks(self, path: Path) -> MaskSource:
        """The masks of a file or folder, read once."""
        if path not in self._masks:
            self._masks[path] = find_masks(path, self.request.image_ids if is_results(path) else None)
        return self._masks[path]

    def maps(self, path: Path, place: Place) -> PanopticPredictions:
        """The panoptic maps of a file or folder for the images of a place, read once."""
        key = path, place.key
        if key not in self._maps:
            samples = place.samples()
            assert isinstance(samples, PanopticSamples)  # the recipe is measured on segments
            self._maps[key] = find_predictions(path, panoptic_set(samples))
        return self._maps[key]

    def _edges(self, source: EdgeSource, place: Place) -> list[str]:
        model = source.name or self.request.model
        if source.kind == "files":
            return self._file(str(source.name), "edges", place, _refuse_edges)
        if source.kind in ("teacher", "vision"):
            return self._model(model)
        if source.kind == "student":
            return self._model(model) + self._student(source, model, place)
        return []

    def _model(self, model: str) -> list[str]:
        missing = self._weights(model)
        if not missing and self.request.small and model not in ("mini", self.request.model):
            return [f"a run without --small: {model} is too large for a small one"]
        return missing

    def _weights(self, model: str) -> list[str]:
        if model not in self.weights.keys() | self._absent:
            found = find_weights(model)
            if found is None:
                self._absent.add(model)
            else:
                self.weights[model] = found
        return [f"weights of {model}"] if model in self._absent else []

    def _student(self, source: EdgeSource, model: str, place: Place) -> list[str]:
        if source.variant is not None:
            if self.request.scale.steps:
                return []
            return self._file(source.variant, "a student", place, lambda path, _: _refuse_student(path))
        name = self.request.student_of(model)
        if name is None:
            option = "--student" if model == self.request.model else f"--files student-{model}=PATH"
            return [f"a student of {model} (`tracedge distill`, {option})"]
        try:
            read_student(find_student(name, local_files_only=True))
        except TracedgeError as error:
            return [str(error)]
        return []

    def _file(self, name: str, what: str, place: Place, refuse: Callable[[Path, Place], None]) -> list[str]:
        path = self.request.file(name, place.key)
        if path is None:
            return [f"{what} of {name} (--files {name}=PATH)"]
        try:
            refuse(path, place)
        except TracedgeError as error:
            return [str(error)]
        return []

    def _refuse_masks(self, path: Path, place: Place) -> None:
        unknown = [name for name in place.names if name not in self.masks(path)]
        if unknown:
            raise DataError(
                f"masks in {path} of {len(unknown)} of {len(place.names)} images ({unknown[0]} is the first)"
            )

    def _refuse_maps(self, path: Path, place: Place) -> None:
        if place.truth is None:
            return
        unknown = [name for name in place.names if name not in self.maps(path, place).ids]
        if unknown:
            raise DataError(
                f"maps in {path} of {len(unknown)} of {len(place.names)} images ({unknown[0]} is the first)"
            )


def find_weights(model: str) -> str | None:
    """What tells a model's weights from others under its name, a commit or a fingerprint; None: not all are on this machine.

    Raises:
        SettingsError: no such model.
    """
    folder = Path(model).expanduser()
    if model == "mini" or (model not in MODELS and (folder / mini.CARD).is_file()):
        return mini.fingerprint(None if model == "mini" else folder)
    try:
        if is_vision(model):
            settings = vision_files(model, local_files_only=True).settings
            return str(settings["revision"] or settings["weights"])
        if model not in MODELS and folder.is_dir():
            files = hub.local_pipeline(folder)
        else:
            files = hub.hub_pipeline(model, model_of(model), local_files_only=True)
        parts = files.parts("unet", "transformer", "vae", "scheduler")
        files.require(parts)
        return files.revision or files.fingerprint(parts)[:16]
    except BackboneError:
        return None


def _refuse_edges(path: Path, place: Place) -> None:
    FolderOfEdges(path).require(Path(name).with_suffix("").as_posix() for name in place.names)


def _refuse_student(path: Path) -> None:
    read_student(find_student(path))
