"""What `segment`, `refine` and `detect` write: a folder run of instances, and the files that hold those of all images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tracedge.cli.progress import PhotoBar, finish

if TYPE_CHECKING:
    import numpy as np

    from tracedge.instances import Instances
    from tracedge.jobs import Job
    from tracedge.runs import FolderRun

LABELS = ".instances.png"
NPZ = ".instances.npz"
PER_IMAGE = {"npz": NPZ, "yolo": "labels/.txt", "geojson": ".geojson", "overlay": ".instances.overlay.png"}
TOGETHER = {
    "coco": "instances.json",
    "coco-polygons": "polygons.json",
    "results": "results.json",
    "label-studio": "label_studio.json",
}
"""Formats: what they write for each image, and what they write for all images together; docs/exports.md tells of each."""

Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for <stem>.instances.png, instances.json and manifest.jsonl.")
]
Overlapping = Annotated[bool, typer.Option("--overlapping", help="Keep masks that overlap (then also written as npz).")]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", help=f"Also write: {', '.join([*PER_IMAGE, *list(TOGETHER)[1:]])}. May be repeated."),
]


class InstanceFiles:
    """Which files of instances a folder is to have; said before anything is computed.

    Raises:
        SettingsError: a format that there is not.
    """

    def __init__(self, output: Path, formats: Sequence[str], overlapping: bool) -> None:
        from tracedge.settings import choose

        for name in formats:
            choose("format", name, PER_IMAGE | TOGETHER)
        per_image = {name: PER_IMAGE[name] for name in PER_IMAGE if name in formats}
        if overlapping:
            per_image["npz"] = NPZ  # a label map cannot hold masks that overlap
        self.output, self.yolo = output, "yolo" in per_image
        self.suffixes = (LABELS, *per_image.values())
        self.kept = NPZ if overlapping else LABELS
        # Those of earlier runs are written anew as well: their image ids and masks would be others'.
        self.together = [
            name for name, file in TOGETHER.items() if name in formats or name == "coco" or (output / file).exists()
        ]

    @property
    def gathered(self) -> list[str]:
        """The files of all images, by their names in the folder."""
        return [TOGETHER[name] for name in self.together]

    def run(
        self,
        jobs: Sequence[Job],
        provenance: dict[str, Any],
        load: Callable[[Path], Any],
        predict: Callable[[list[Any]], list[tuple[np.ndarray, Instances]]],
        *,
        batch_size: int,
        force: bool,
        retry_failed: bool,
    ) -> NoReturn:
        """Run, gather all that stands in the folder, and end the command with its exit code.

        Args:
            jobs: the photos. provenance: what the instances depend on.
            load: a photo's file -> what `predict` takes of it. predict: a batch of these -> image and instances of each.
        """
        from tracedge.runs import FolderRun

        options = {"force": force, "retry_failed": retry_failed}
        with (
            FolderRun(self.output, provenance, self.suffixes, **options, gathered=self.gathered) as run,
            PhotoBar(len(jobs)) as bar,
        ):
            summary = run.process(jobs, load, predict, write_photo, batch_size=batch_size, on_progress=bar.step)
            self.gather(run, provenance)
        finish(summary, self.output)

    def gather(self, run: FolderRun, provenance: dict[str, Any]) -> None:
        """Write the files of all images that stand in the folder, those of earlier runs too."""
        for name in self.together:
            _gather(run, name, provenance, self.kept)
        if self.yolo:
            _yolo_classes(self.output)


def write_photo(result: tuple[np.ndarray, Instances], paths: Mapping[str, Path]) -> dict[str, object]:
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
    if name in ("coco", "coco-polygons"):
        write_coco(path, _finished(run, kept), provenance, polygons=name == "coco-polygons")
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
