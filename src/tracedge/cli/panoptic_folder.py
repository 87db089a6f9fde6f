"""What `panoptic` and `detect` write: a folder run of panoptic maps, and one JSON of those of all images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tracedge.cli.progress import PhotoBar, finish

if TYPE_CHECKING:
    import numpy as np

    from tracedge.categories import Category
    from tracedge.jobs import Job
    from tracedge.panoptic_map import PanopticMap
    from tracedge.runs import FolderRun

PNG = "panoptic/.png"
FILE = "panoptic.json"
OVERLAY = ".panoptic.overlay.png"

Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for panoptic.json, panoptic/<stem>.png and manifest.jsonl.")
]


def panoptic_folder(
    jobs: Sequence[Job],
    output: Path,
    categories: Sequence[Category],
    provenance: dict[str, Any],
    load: Callable[[Path], Any],
    predict: Callable[[list[Any]], list[tuple[np.ndarray, PanopticMap]]],
    *,
    overlay: bool,
    batch_size: int,
    force: bool,
    retry_failed: bool,
) -> NoReturn:
    """Run, gather all that stands in the folder, and end the command with its exit code.

    Args:
        jobs: the photos. categories: of the maps. provenance: what the maps depend on.
        load: a photo's file -> what `predict` takes of it. predict: a batch of these -> image and map of each.
        overlay: whether a picture to look at is written too.
    """
    from tracedge.runs import FolderRun

    suffixes = (PNG, *[OVERLAY] * overlay)
    with (
        FolderRun(output, provenance, suffixes, force=force, retry_failed=retry_failed, gathered=(FILE,)) as run,
        PhotoBar(len(jobs)) as bar,
    ):
        summary = run.process(jobs, load, predict, _write, batch_size=batch_size, on_progress=bar.step)
        _gather(run, categories, provenance)
    finish(summary, output)


def _write(result: tuple[np.ndarray, PanopticMap], paths: Mapping[str, Path]) -> dict[str, object]:
    """One image's PNG; what it cannot hold, the classes, goes into the manifest."""
    from tracedge.export.panoptic import write_panoptic_png
    from tracedge.export.png import write_png8
    from tracedge.visualize import panoptic_overlay

    image, found = result
    write_panoptic_png(paths[PNG], found)
    if OVERLAY in paths:
        write_png8(paths[OVERLAY], panoptic_overlay(image, found))
    return {"segments": [[one.id, one.category_id, one.isthing, one.score] for one in found.segments]}


def _gather(run: FolderRun, categories: Sequence[Category], provenance: Mapping[str, object]) -> None:
    """One JSON of all images that stand in the folder, those of earlier runs too."""
    from tracedge.export.panoptic import write_panoptic

    write_panoptic(run.output / FILE, _finished(run), categories, provenance, pngs=False)


def _finished(run: FolderRun) -> Iterator[tuple[int, str, PanopticMap]]:
    """(image id, file name, map) of each finished image, by file name: COCO's number where all names have one, else from 1."""
    from tracedge.datasets.coco import number_of

    files = [line["file"] for line in run.finished((PNG,))]
    own = [number for file in files if (number := number_of(PurePosixPath(file).stem)) is not None]
    numbers = own if len(set(own)) == len(files) else range(1, len(files) + 1)
    for number, (file, found) in zip(numbers, maps_of(run, PNG), strict=True):
        yield number, file, found


def maps_of(run: FolderRun, png: str) -> Iterator[tuple[str, PanopticMap]]:
    """(file name, map) of each finished image, by file name; png: the output that holds the map."""
    import sys

    from tracedge.export.png import read_rgb
    from tracedge.panoptic_map import PanopticMap, Segment

    for line in run.finished((png,)):
        segments = tuple(Segment(*each) for each in line["segments"])
        yield line["file"], PanopticMap.from_rgb(read_rgb(run.output_of(line, png), max_pixels=sys.maxsize), segments)
