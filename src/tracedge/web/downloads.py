"""The files that a visitor takes home: those of `tracedge edges` and `tracedge segment`, under the same names."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracedge.errors import SettingsError
from tracedge.export.coco import write_coco, write_coco_results
from tracedge.export.geojson import write_geojson
from tracedge.export.label_studio import write_label_studio
from tracedge.export.labels import write_instances, write_labels
from tracedge.export.npz import write_npz
from tracedge.export.png import write_png8, write_png16
from tracedge.export.yolo import write_yolo, write_yolo_yaml
from tracedge.settings import choose
from tracedge.visualize import instances_overlay, overlay
from tracedge.web.kept import KeptPhoto

ZIP = "tracedge.zip"


@dataclass(frozen=True)
class PerPhoto:
    """A file for each photo. file: its name, with * for the photo's stem."""

    label: str
    file: str
    write: Callable[[Path, KeptPhoto], object]


@dataclass(frozen=True)
class Together:
    """One file for all photos."""

    label: str
    file: str
    write: Callable[[Path, Sequence[KeptPhoto]], object]


FORMATS: dict[str, PerPhoto | Together] = {
    "edges": PerPhoto("Edges (16-bit PNG)", "*.edges.png", lambda path, photo: write_png16(path, photo.edges().edges)),
    "edges-npz": PerPhoto("Edges (NumPy)", "*.edges.npz", lambda path, photo: write_npz(path, photo.edges())),
    "edges-overlay": PerPhoto(
        "Edges over the photo",
        "*.overlay.png",
        lambda path, photo: write_png8(path, overlay(photo.image(), photo.edges().edges)),
    ),
    "labels": PerPhoto(
        "Objects (label PNG)", "*.instances.png", lambda path, photo: write_labels(path, photo.objects())
    ),
    "npz": PerPhoto("Objects (NumPy)", "*.instances.npz", lambda path, photo: write_instances(path, photo.objects())),
    "overlay": PerPhoto(
        "Objects over the photo",
        "*.instances.overlay.png",
        lambda path, photo: write_png8(path, instances_overlay(photo.image(), photo.objects())),
    ),
    "coco": Together("COCO", "instances.json", lambda path, photos: _write_coco(path, photos)),
    "results": Together(
        "COCO results",
        "results.json",
        lambda path, photos: write_coco_results(
            path, ((n, photo.objects()) for n, photo in enumerate(photos, start=1))
        ),
    ),
    "yolo": PerPhoto("YOLO", "labels/*.txt", lambda path, photo: write_yolo(path, photo.objects())),
    "geojson": PerPhoto("GeoJSON", "*.geojson", lambda path, photo: write_geojson(path, photo.objects())),
    "label-studio": Together(
        "Label Studio",
        "label_studio.json",
        lambda path, photos: write_label_studio(path, ((photo.file, photo.objects()) for photo in photos)),
    ),
}
"""What there is, by the names that `tracedge segment --format` has for the same files."""


def write_downloads(folder: Path, photos: Sequence[KeptPhoto], formats: Collection[str]) -> Path:
    """Write the formats asked for: one file as it is, several as one zip.

    Args:
        folder: where; nothing else is in it. photos: read, and their objects found. formats: of `FORMATS`.

    Raises:
        SettingsError: no format, or one that there is not.
    """
    if not formats:
        raise SettingsError("choose at least one kind of file")
    asked = {name: choose("format", name, FORMATS) for name in formats}
    files: list[Path] = []
    for form in asked.values():
        if isinstance(form, Together):
            files.append(folder / form.file)
            form.write(files[-1], photos)
            continue
        for photo in photos:
            files.append(folder / form.file.replace("*", photo.stem))
            form.write(files[-1], photo)
    if "yolo" in asked:
        files.append(folder / "data.yaml")
        write_yolo_yaml(files[-1])
    return files[0] if len(files) == 1 else _zipped(folder, files)


def _zipped(folder: Path, files: Sequence[Path]) -> Path:
    """One file of them all, which then go."""
    with zipfile.ZipFile(folder / ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(folder).as_posix())
            file.unlink()
    return folder / ZIP


def _write_coco(path: Path, photos: Sequence[KeptPhoto]) -> None:
    settings = {"edges": dict(photos[0].edges().settings), "objects": dict(photos[0].objects().settings)}
    write_coco(path, ((n, photo.file, photo.objects()) for n, photo in enumerate(photos, start=1)), settings)
