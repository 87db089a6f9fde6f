"""What `segment` and `refine` share: photos, their edges and other tools' masks, made to instances in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tracedge.cli.folder_run import run_folder
from tracedge.cli.instances_folder import InstanceFiles, write_photo

if TYPE_CHECKING:
    import numpy as np

    from tracedge.cli.edge_source import EdgeOptions
    from tracedge.cli.engine_options import EngineOptions
    from tracedge.cli.sam_options import SamOptions
    from tracedge.instances import Instances
    from tracedge.jobs import Task
    from tracedge.maps import EdgeMap
    from tracedge.proposals.from_files import MaskSource
    from tracedge.segmentation import Proposes, SegmentSettings
    from tracedge.work import Steps


class _Photo(NamedTuple):
    image: np.ndarray
    masks: Instances | None  # from a file
    edges: EdgeMap | None  # from a file


def segment_folder(
    paths: Sequence[str],
    output: Path,
    source: Callable[[], MaskSource | Proposes | None],
    of_edges: EdgeOptions,
    settings: SegmentSettings,
    sam: SamOptions | None = None,
    *,
    engine: EngineOptions,
    formats: Sequence[str],
    batch_size: int,
    force: bool,
    retry_failed: bool,
    max_pixels: int,
) -> None:
    """Ends the command with its exit code. source: gives where masks come from, in each process that works."""
    # 1. Check everything that can be checked before a model is loaded.
    written = InstanceFiles(output, formats, settings.overlapping)
    parts = engine.parts(paths, output, batch_size)
    if all(part.prefix is None for part in parts):  # else nobody knows the photos before they are read
        of_edges.check(str(task.relative) for part in parts for task in part.tasks())
    if sam is not None:
        sam.check()

    # 2. Run, and say what became of it.
    run_folder(
        _SegmentWork(source, of_edges, settings, sam, max_pixels),
        parts,
        output,
        written.suffixes,
        engine,
        batch_size=batch_size,
        force=force,
        retry_failed=retry_failed,
        gathered=written.gathered,
        at_the_end=written.gather,
    )


@dataclass(frozen=True)
class _SegmentWork:
    source: Callable[[], MaskSource | Proposes | None]
    of_edges: EdgeOptions
    settings: SegmentSettings
    sam: SamOptions | None
    max_pixels: int

    def open(self) -> Steps:
        """Load the models; what their instances depend on is what the run depends on."""
        from tracedge.images import load_image
        from tracedge.proposals.from_files import MaskSource
        from tracedge.segmentation import MaskMaker
        from tracedge.work import Steps

        source = self.source()
        files = source if isinstance(source, MaskSource) else None
        edges = self.of_edges.load()
        make = MaskMaker(
            None if isinstance(source, MaskSource) else source,
            self.settings,
            self.sam.load() if self.sam is not None else None,
        )

        def load(task: Task) -> _Photo:
            image = load_image(task.source, max_pixels=self.max_pixels)
            hw = (image.shape[0], image.shape[1])
            masks = files.read(task.file, hw) if files is not None else None
            return _Photo(image, masks, edges.read(str(task.relative), hw))

        def predict(photos: list[_Photo]) -> list[tuple[np.ndarray, Instances]]:
            found = edges([photo.image for photo in photos], [photo.edges for photo in photos])
            return [
                (photo.image, make(photo.image, one, photo.masks, device=edges.device))
                for photo, one in zip(photos, found, strict=True)
            ]

        provenance = {"edges": edges.provenance} | make.provenance
        if files is not None:
            provenance["proposals"] = files.provenance
        return Steps(load, predict, write_photo, provenance)
