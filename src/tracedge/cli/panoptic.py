"""`tracedge panoptic`: semantic maps and edges in, COCO panoptic PNGs and their JSON out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.edge_source import EdgeOptions, Edges
from tracedge.cli.progress import PhotoBar, finish
from tracedge.cli.semantic_options import CUT, Categories, ClassNames, Cut, NamesMapping, classes_from
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

    from tracedge.maps import EdgeMap
    from tracedge.panoptic_map import PanopticMap
    from tracedge.runs import FolderRun
    from tracedge.semantic_map import SemanticMap
    from tracedge.semantics.classes import Classes

PNG = "panoptic/.png"
FILE = "panoptic.json"


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
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for panoptic.json, panoptic/<stem>.png and manifest.jsonl.")
    ],
    classes: ClassNames = None,
    mapping: NamesMapping = None,
    categories: Categories = "coco",
    edges: Edges = None,
    cut: Cut = CUT,
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    size: option.Size = None,
    zoom: option.Zoom = None,
    batch_size: option.BatchSize = 1,
    force: option.Force = False,
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
    from tracedge.runs import FolderRun, find_images
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

    def predict(photos: list[_Photo]) -> list[PanopticMap]:
        found = source([photo.image for photo in photos], [photo.edges for photo in photos])
        return [
            panoptic_map(photo.semantic, one.edges, known.categories, settings)
            for photo, one in zip(photos, found, strict=True)
        ]

    # 3. Run, and gather all that stands in the folder.
    with FolderRun(output, provenance, (PNG,), force=force) as run, PhotoBar(len(jobs)) as bar:
        summary = run.process(jobs, load, predict, _write, batch_size=batch_size, on_progress=bar.step)
        _gather(run, known, provenance)
    # 4. Say what became of it.
    finish(summary, output)


def _write(found: PanopticMap, paths: Mapping[str, Path]) -> dict[str, object]:
    """One image's PNG; what it cannot hold, the classes, goes into the manifest."""
    from tracedge.export.panoptic import write_panoptic_png

    write_panoptic_png(paths[PNG], found)
    return {"segments": [[one.id, one.category_id, one.isthing] for one in found.segments]}


def _gather(run: FolderRun, known: Classes, provenance: Mapping[str, object]) -> None:
    """One JSON of all images that stand in the folder, those of earlier runs too."""
    from tracedge.export.panoptic import write_panoptic

    write_panoptic(run.output / FILE, _finished(run), known.categories, provenance, pngs=False)


def _finished(run: FolderRun) -> Iterator[tuple[int, str, PanopticMap]]:
    """(image id, file name, map) of each finished image, by file name: COCO's number where all names have one, else from 1."""
    import sys

    from tracedge.datasets.coco import number_of
    from tracedge.export.png import read_rgb
    from tracedge.panoptic_map import PanopticMap, Segment

    lines = list(run.finished((PNG,)))
    own = [number for line in lines if (number := number_of(PurePosixPath(line["file"]).stem)) is not None]
    numbers = own if len(set(own)) == len(lines) else range(1, len(lines) + 1)
    for number, line in zip(numbers, lines, strict=True):
        segments = tuple(Segment(*each) for each in line["segments"])
        rgb = read_rgb(run.output_of(line, PNG), max_pixels=sys.maxsize)
        yield number, line["file"], PanopticMap.from_rgb(rgb, segments)
