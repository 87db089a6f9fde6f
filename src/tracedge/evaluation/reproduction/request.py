"""What is asked of `reproduce`: which table, on which data and models, at which scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tracedge.datasets.selection import Selection
from tracedge.errors import SettingsError
from tracedge.evaluation.reproduction.recipe import Recipe
from tracedge.evaluation.reproduction.recipes import recipe


@dataclass(frozen=True)
class Scale:
    """How much is computed.

    scenes: drawn, of scene_px; 0: none. images: of each data set at most; None: all. thresholds: of edges. stride: of timesteps.
    size: long side that the model sees; None: its own. repeats: timed runs. steps: of a distillation here; 0: students are given.
    """

    scenes: int = 0
    scene_px: int = 192
    images: int | None = None
    thresholds: int = 99
    stride: int = 100
    size: int | None = None
    repeats: int = 5
    steps: int = 0


FULL = Scale()
SMALL = Scale(scenes=3, scene_px=160, images=2, thresholds=19, size=128, repeats=3, steps=40)


@dataclass(frozen=True)
class Request:
    """A table to be reproduced.

    name: of the recipe. data: folders of data sets, or with labelled folders in them. output: for the report. small: drawn scenes
    and labelled folders with the mini model, instead of the paper's data and models. backbone, student, features: of the edges,
    and what MaskCut and ProMerge look at; None: SD 3.5 L and DINO ViT-B/8, or the mini model if small. files: NAME or NAME@DATA
    -> edges, masks, panoptic maps or students of others. image_ids: for masks that are COCO results. selection: of images.
    """

    name: str
    output: Path
    data: tuple[Path, ...] = ()
    small: bool = False
    backbone: str | None = None
    student: str | None = None
    features: str | None = None
    crf: bool = True
    files: Mapping[str, Path] = field(default_factory=dict)
    image_ids: Path | None = None
    device: str | None = None
    selection: Selection = field(default_factory=Selection)
    workers: int = 1
    scale: Scale = FULL

    def __post_init__(self) -> None:
        recipe(self.name)
        if self.workers < 1:
            raise SettingsError(f"workers is a number of processes, 1 or more; got {self.workers}.")
        if self.small and self.scale.scenes < 1:
            raise SettingsError("a small run draws at least one scene: scale.scenes is 0.")
        if absent := [str(path) for path in self.files.values() if not path.exists()]:
            raise SettingsError(f"--files names {', '.join(absent)}, which is not there.")

    @property
    def recipe(self) -> Recipe:
        return recipe(self.name)

    @property
    def model(self) -> str:
        """The diffusion model of the rows that name none."""
        return self.backbone or ("mini" if self.small else "sd35-large")

    @property
    def feature_model(self) -> str:
        """What MaskCut and ProMerge look at."""
        return self.features or ("mini" if self.small else "dino-vitb8")

    def file(self, name: str, data: str) -> Path | None:
        """What `files` has of a name for a data set: NAME@DATA before NAME."""
        return self.files.get(f"{name}@{data}") or self.files.get(name)

    def student_of(self, model: str) -> str | None:
        """The student of a model that is given, or that the package has."""
        from tracedge.student.files import SHIPPED

        if model == self.model and self.student is not None:
            return self.student
        given = self.files.get(f"student-{model}")
        return str(given) if given is not None else (model if model in SHIPPED else None)
