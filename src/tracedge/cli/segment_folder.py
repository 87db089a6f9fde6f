"""What `segment` and `refine` share: a folder run that writes instances, and the files that hold those of all images."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tracedge.cli.progress import PhotoBar, finish

if TYPE_CHECKING:
    import numpy as np

    from tracedge.cli.edge_source import EdgeOptions
    from tracedge.instances import Instances
    from tracedge.maps import EdgeMap
    from tracedge.proposals.from_files import MaskSource
    from tracedge.runs import FolderRun
    from tracedge.segmentation import Proposes, SegmentSettings

LABELS = ".instances.png"
NPZ = ".instances.npz"
PER_IMAGE = {"npz": NPZ, "yolo": "labels/.txt", "geojson": ".geojson", "overlay": ".instances.overlay.png"}
TOGETHER = {"coco": "instances.json", "results": "results.json", "label-studio": "label_studio.json"}
"""Formats: what they write for each image, and what they write for all images together; docs/exports.md tells of each."""

Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for <stem>.instances.png, instances.json and manifest.jsonl.")
]
Overlapping = Annotated[bool, typer.Option("--overlapping", help="Keep masks that overlap (then also written as npz).")]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", help=f"Also write: {', '.join([*PER_IMAGE, *list(TOGETHER)[1:]])}. May be repeated."),
]


class _Photo(NamedTuple):
    image: np.ndarray
    masks: Instances | None  # from a file
    edges: EdgeMap | None  # from a file


def segment_folder(
    paths: Sequence[str],
    output: Path,
    source: MaskSource | Proposes | None,
    of_edges: EdgeOptions,
    settings: SegmentSettings,
    *,
    formats: Sequence[str],
    batch_size: int,
    force: bool,
    max_pixels: int,
) -> None:
    """Run, collect, report; ends the command with its exit code."""
    from tracedge.images import load_image
    from tracedge.proposals.from_files import MaskSource
    from tracedge.runs import FolderRun, find_images
    from tracedge.segmentation import MaskMaker
    from tracedge.settings import choose

    # 1. Check everything that can be checked before a model is loaded.
    for name in formats:
        choose("format", name, PER_IMAGE | TOGETHER)
    per_image = {name: PER_IMAGE[name] for name in PER_IMAGE if name in formats}
    if settings.overlapping:
        per_image["npz"] = NPZ  # a label map cannot hold masks that overlap
    # Those of earlier runs are written anew as well: their image ids and masks would be others'.
    together = [
        name for name, file in TOGETHER.items() if name in formats or name == "coco" or (output / file).exists()
    ]
    jobs = find_images(paths, output=output)
    files = source if isinstance(source, MaskSource) else None
    names = {job.source: job.file for job in jobs}
    stems = {job.source: str(job.relative) for job in jobs}
    of_edges.check(stems.values())

    # 2. The model; what its instances depend on is what the run depends on.
    proposer = None if isinstance(source, MaskSource) else source
    make, edges = MaskMaker(proposer, settings), of_edges.load()
    provenance = {"edges": edges.provenance} | make.provenance
    if files is not None:
        provenance["proposals"] = files.provenance

    def load(path: Path) -> _Photo:
        image = load_image(path, max_pixels=max_pixels)
        hw = (image.shape[0], image.shape[1])
        return _Photo(image, files.read(names[path], hw) if files is not None else None, edges.read(stems[path], hw))

    def predict(photos: list[_Photo]) -> list[tuple[np.ndarray, Instances]]:
        found = edges([photo.image for photo in photos], [photo.edges for photo in photos])
        return [
            (photo.image, make(photo.image, one, photo.masks, device=edges.device))
            for photo, one in zip(photos, found, strict=True)
        ]

    # 3. Run, and gather all that stands in the folder.
    suffixes = (LABELS, *per_image.values())
    with FolderRun(output, provenance, suffixes, force=force) as run, PhotoBar(len(jobs)) as bar:
        summary = run.process(jobs, load, predict, _write, batch_size=batch_size, on_progress=bar.step)
        for name in together:
            _gather(run, name, provenance, NPZ if settings.overlapping else LABELS)
        if "yolo" in per_image:
            _yolo_classes(output)
    # 4. Say what became of it.
    finish(summary, output)


def _write(result: tuple[np.ndarray, Instances], paths: Mapping[str, Path]) -> dict[str, object]:
    """One image's files; what a label map cannot hold, the scores, goes into the manifest."""
    from tracedge.export.geojson import write_geojson
    from tracedge.export.labels import write_instances, write_labels
    from tracedge.export.png import write_png8
    from tracedge.export.yolo import write_yolo
    from tracedge.visualize import instances_overlay

    image, found = result
    for suffix, path in paths.items():
        if suffix == LABELS:
            write_labels(path, found)
        elif suffix == NPZ:
            write_instances(path, found)
        elif suffix == PER_IMAGE["yolo"]:
            write_yolo(path, found)
        elif suffix == PER_IMAGE["geojson"]:
            write_geojson(path, found)
        else:
            write_png8(path, instances_overlay(image, found))
    return {"instances": len(found), "scores": found.scores.tolist()}


def _gather(run: FolderRun, name: str, provenance: Mapping[str, Any], kept: str) -> None:
    """One file of all images that stand in the folder, those of earlier runs too; kept: the output that masks are read from."""
    from tracedge.export.coco import write_coco, write_coco_results
    from tracedge.export.label_studio import write_label_studio

    path = run.output / TOGETHER[name]
    if name == "coco":
        write_coco(path, _finished(run, kept), provenance)
    elif name == "results":
        write_coco_results(path, ((number, found) for number, _, found in _finished(run, kept)))
    else:
        write_label_studio(path, ((file, found) for _, file, found in _finished(run, kept)))


def _finished(run: FolderRun, kept: str) -> Iterator[tuple[int, str, Instances]]:
    """(image id from 1, file name, instances) of each finished image, by file name.

    No limit of pixels: these files were written here, under the limit of the run that wrote them.
    """
    import numpy as np

    from tracedge.export.labels import read_instances, read_labels
    from tracedge.instances import Instances

    for number, line in enumerate(run.finished((kept,)), start=1):
        if kept == NPZ:
            found = read_instances(run.output_of(line, NPZ), max_pixels=sys.maxsize)
        else:
            found = read_labels(run.output_of(line, LABELS), max_pixels=sys.maxsize)
            found = Instances(found.masks, np.array(line["scores"], np.float64))
        yield number, line["file"], found


def _yolo_classes(output: Path) -> None:
    from tracedge.export.yolo import write_yolo_yaml

    write_yolo_yaml(output / "data.yaml")
