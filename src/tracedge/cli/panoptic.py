"""`tracedge panoptic`: semantic maps and edges in, COCO panoptic PNGs and their JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.edge_source import EdgeOptions, Edges
from tracedge.cli.panoptic_folder import Output, panoptic_folder
from tracedge.cli.semantic_options import CUT, Categories, ClassNames, Cut, NamesMapping, classes_from
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

    from tracedge.maps import EdgeMap
    from tracedge.panoptic_map import PanopticMap
    from tracedge.semantic_map import SemanticMap


class _Photo(NamedTuple):
    image: np.ndarray
    semantic: SemanticMap
    edges: EdgeMap | None  # from a file


def panoptic(
    semantic: Annotated[
        Path,
        typer.Argument(
            help="Folder of semantic maps: <stem>.png whose values are classes (255: unknown), or <stem>.npz with keys and masks."
        ),
    ],
    images: Annotated[Path, typer.Option(help="The photos that they are of: a folder, or one photo.")],
    output: Output,
    classes: ClassNames = None,
    mapping: NamesMapping = None,
    categories: Categories = "coco",
    edges: Edges = None,
    cut: Cut = CUT,
    overlay: option.Overlay = False,
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    size: option.Size = None,
    zoom: option.Zoom = None,
    batch_size: option.BatchSize = 1,
    force: option.Force = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Panoptic maps: things of one class are told apart by instance edges, stuff is one segment a class, the rest is void.

    A rerun skips what is done. Exit codes: 0 all done, 1 some photos failed, 2 wrong use.
    """
    from dataclasses import asdict

    from tracedge.images import load_image
    from tracedge.panoptic import PanopticSettings, panoptic_map
    from tracedge.runs import find_images
    from tracedge.semantics.classes import TABLES
    from tracedge.semantics.from_files import find_semantics

    # 1. Check everything that can be checked before a model is loaded.
    settings = PanopticSettings(cut=cut)
    known = classes_from(classes, mapping, TABLES[categories])
    maps = find_semantics(semantic, known, max_pixels=max_pixels)
    jobs = find_images([images], output=output)
    stems = {job.source: str(job.relative) for job in jobs}
    options = option.PredictorOptions(
        backbone=backbone, size=size, zoom=zoom, device=device, dtype=dtype, local_files_only=local_files_only
    )
    of_edges = EdgeOptions(folder=edges, options=options, student=student, teacher=teacher)
    of_edges.check(stems.values())

    # 2. The model; what the maps depend on is what the run depends on.
    source = of_edges.load()
    provenance = {
        "semantic": maps.provenance,
        "edges": source.provenance,
        "panoptic": asdict(settings),
        "categories": categories,
    }

    def load(path: Path) -> _Photo:
        image = load_image(path, max_pixels=max_pixels)
        hw = (image.shape[0], image.shape[1])
        return _Photo(image, maps.read(stems[path], hw), source.read(stems[path], hw))

    def predict(photos: list[_Photo]) -> list[tuple[np.ndarray, PanopticMap]]:
        found = source([photo.image for photo in photos], [photo.edges for photo in photos])
        return [
            (photo.image, panoptic_map(photo.semantic, one.edges, known.categories, settings))
            for photo, one in zip(photos, found, strict=True)
        ]

    # 3. Run, and say what became of it.
    panoptic_folder(
        jobs,
        output,
        known.categories,
        provenance,
        load,
        predict,
        overlay=overlay,
        batch_size=batch_size,
        force=force,
        retry_failed=retry_failed,
    )
