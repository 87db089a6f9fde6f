"""Where edges come from, a model or a folder of them: the same for `segment`, `refine` and `panoptic`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracedge.cli import predictor_options as option

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from tracedge.maps import EdgeMap
    from tracedge.rivals import FolderOfEdges

Edges = Annotated[
    Path | None,
    typer.Option(
        "--edges", help="Folder of <stem>.edges.png, as `tracedge edges` writes them, instead of a model's edges."
    ),
]


@dataclass(frozen=True)
class EdgeSource:
    """Edges of photos: a folder's, or else the predictor's.

    device: where what follows the edges is computed. provenance: what they depend on, of JSON's types.
    """

    folder: FolderOfEdges | None
    predictor: option.Predictor | None
    device: torch.device
    provenance: dict[str, Any]

    def read(self, stem: str, image_hw: tuple[int, int]) -> EdgeMap | None:
        """The folder's edges of one photo of (H, W); None: a model will make them.

        Raises:
            DataError: the folder has none of this photo, or of another size.
        """
        from tracedge.maps import EdgeMap

        return EdgeMap(self.folder.read(stem, image_hw)) if self.folder is not None else None

    def __call__(self, images: Sequence[NDArray[np.uint8]], read: Sequence[EdgeMap | None]) -> list[EdgeMap]:
        """The edges of each of several photos (H, W, 3): those that were read, or the model's."""
        known = [edges for edges in read if edges is not None]
        if self.predictor is None:
            return known
        found: list[EdgeMap] = self.predictor(list(images))
        return found


@dataclass(frozen=True, kw_only=True)
class EdgeOptions:
    """What the options say of edges, before any model is loaded.

    folder: of --edges. options, student, teacher: of a model. shared: --backbone and --size have another use too.
    """

    folder: Path | None
    options: option.PredictorOptions
    student: str | None
    teacher: bool
    shared: bool = False

    def check(self, stems: Iterable[str]) -> None:
        """Look at what --edges names. A single photo that the folder lacks is a failure of that photo, and none here.

        stems: the photos.

        Raises:
            SettingsError: --edges beside options that only a model's edges need.
            DataError: no folder, or it has edges of none of the photos.
        """
        from tracedge.errors import SettingsError
        from tracedge.rivals import FolderOfEdges

        if self.folder is None:
            return
        values = {"student": self.student, "teacher": self.teacher, "zoom": self.options.zoom}
        if not self.shared:
            values |= {"backbone": self.options.backbone, "size": self.options.size}
        if unused := [f"--{name}" for name, value in sorted(values.items()) if value]:
            raise SettingsError(f"--edges are used as they are: leave {', '.join(unused)} out.")
        FolderOfEdges(self.folder).require_any(stems)

    def load(self) -> EdgeSource:
        """The folder's edges, or the predictor, which is loaded now.

        Raises:
            SettingsError: as `predictor_options.predictor`, or an unknown device.
        """
        from tracedge.backbones.loading import place
        from tracedge.rivals import FolderOfEdges

        if self.folder is None:
            predictor = option.predictor(self.options, student=self.student, teacher=self.teacher)
            return EdgeSource(None, predictor, predictor.device, predictor.provenance)
        files = FolderOfEdges(self.folder)
        said = {"edges": "files", "name": self.folder.resolve().name, "content": files.fingerprint()}
        return EdgeSource(files, None, place(self.options.device).device, said)
