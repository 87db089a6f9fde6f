"""From the words of a row to what computes: edges and masks, each model loaded once, and nothing fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracedge.backbones import load_backbone
from tracedge.backbones.protocol import Backbone
from tracedge.evaluation.edges import EdgesOf
from tracedge.evaluation.instances import LabelledInstances
from tracedge.evaluation.reproduction.needs import Needs
from tracedge.evaluation.reproduction.recipe import EdgeSource
from tracedge.evaluation.reproduction.request import Request
from tracedge.evaluation.reproduction.students import distilled
from tracedge.instances import Instances
from tracedge.proposals.features import features_of
from tracedge.proposals.from_features import Proposer
from tracedge.rivals import FolderOfEdges, canny_edges, sobel_edges
from tracedge.student.predictor import EdgePredictor
from tracedge.student.pseudo_labels import EDGE, ternary
from tracedge.teacher import EdgeTeacher, TeacherSettings
from tracedge.vision_edges import VisionEdges

Predictor = EdgeTeacher | EdgePredictor | VisionEdges


class Models:
    """The models of a request, loaded when they are asked for first."""

    def __init__(self, request: Request, needs: Needs) -> None:
        self.request, self._needs = request, needs
        self._backbones: dict[str, Backbone] = {}
        self._predictors: dict[tuple[object, ...], Predictor] = {}
        self._proposers: dict[str, Proposer] = {}

    def predictor(self, source: EdgeSource) -> Predictor:
        """A teacher, a student or a vision transformer; none of them reads tiles, as the paper does not."""
        model, scale = source.name or self.request.model, self.request.scale
        if source.kind == "teacher":
            return EdgeTeacher(self._backbone(model), settings=self._settings(source))  # cheap: its model is shared
        key = (source.kind, model, source.variant)
        if key not in self._predictors and source.kind == "vision":
            self._predictors[key] = VisionEdges(
                model, zoom=1, size=scale.size, device=self.request.device, local_files_only=True
            )
        elif key not in self._predictors:
            name, given = self._student(source, model)
            self._predictors[key] = EdgePredictor.from_pretrained(
                name,
                backbone=model if given else None,  # one of its own: LoRA is merged into it
                size=None if source.variant is not None else scale.size,
                device=self.request.device,
                local_files_only=True,
            )
        return self._predictors[key]

    def edges(self, source: EdgeSource, place: str) -> EdgesOf | FolderOfEdges:
        """Image -> edges (H, W); or another detector's, in files."""
        if source.kind == "files":
            path = self.request.file(str(source.name), place)
            assert path is not None  # or the row would lack it
            return FolderOfEdges(path)
        if source.kind in ("canny", "sobel"):
            return {"canny": canny_edges, "sobel": sobel_edges}[source.kind]
        predictor = self.predictor(source)
        rule = source.labels if source.kind == "teacher" else None
        return lambda image: _sure(predictor(image).edges, rule)

    def proposals(self, name: str, place: str) -> Callable[[LabelledInstances], Instances]:
        """Sample -> masks, of `maskcut`, `promerge` or `files NAME`."""
        if name.startswith("files "):
            path = self.request.file(name.removeprefix("files "), place)
            assert path is not None
            masks = self._needs.masks(path)
            return lambda sample: masks.read(sample.name, sample.objects.shape, blanks=True)
        if name not in self._proposers:
            seen = features_of(self.request.feature_model, device=self.request.device, local_files_only=True)
            self._proposers[name] = Proposer(seen, name, self.request.crf)
        proposer = self._proposers[name]
        return lambda sample: proposer(_photo(sample))

    def _backbone(self, model: str) -> Backbone:
        if model not in self._backbones:
            self._backbones[model] = load_backbone(model, device=self.request.device, local_files_only=True)
        return self._backbones[model]

    def _settings(self, source: EdgeSource) -> TeacherSettings:
        return TeacherSettings(
            stride=self.request.scale.stride,
            rule=source.rule,
            measure=source.measure,
            timestep=source.timestep,
            size=self.request.scale.size,
            zoom=1,
            snap=source.snap,
        )

    def _student(self, source: EdgeSource, model: str) -> tuple[str | Path, bool]:
        """Where a student is, and whether its model is the one that was asked for and not the one its card names."""
        if source.variant is not None and self.request.scale.steps:
            return distilled(self.request, self._backbone, source), True
        if source.variant is not None:
            return self.request.files[source.variant], True
        found = self.request.student_of(model)
        assert found is not None  # or the row would lack it
        return found, found != model


def _sure(edges: NDArray[np.float32], rule: str | None) -> NDArray[np.float32]:
    """The edges, or 1 where a rule of pseudo labels calls them edge and 0 elsewhere."""
    return edges if rule is None else (ternary(edges, rule) == EDGE).astype(np.float32)


def _photo(sample: LabelledInstances) -> NDArray[np.uint8]:
    assert sample.image is not None  # places have photos
    return sample.image
