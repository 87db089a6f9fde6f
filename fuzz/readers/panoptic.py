"""COCO's panoptic format: the JSON with its PNGs whole, and a PNG under a JSON that is."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fuzz.containers import damaged_png
from fuzz.contract import Reader
from fuzz.json_trees import damaged_json
from tracedge.categories import Category
from tracedge.export.panoptic import write_panoptic
from tracedge.export.panoptic_reader import read_panoptic
from tracedge.panoptic_map import PanopticMap, Segment

_KINDS = (Category(1, "person", True), Category(187, "sky", False))
MOST = 10_000


def _write(folder: Path) -> None:
    ids = np.zeros((6, 8), np.int32)
    ids[1:4, 2:6], ids[4:] = 70_000, 3
    segments = (Segment(70_000, 1, True, 0.5), Segment(3, 187, False))
    write_panoptic(folder / "panoptic.json", [(5, "a.jpg", PanopticMap(ids, segments))], _KINDS, {"px": 1})


def _of(name: str) -> list[bytes]:
    with TemporaryDirectory() as folder:
        _write(Path(folder))
        return [(Path(folder) / name).read_bytes()]


def _read(path: Path) -> None:
    file = read_panoptic(path, max_pixels=MOST)
    prediction = read_panoptic(path, _KINDS, only=[5], max_pixels=MOST)
    assert set(prediction.images) <= {5}
    file.content(file.images)
    for number, image in file.images.items():
        found = file.read(number)
        assert found.shape == image.hw and (found.classes() >= -1).all() and found.boxes.shape == (len(found), 4)
        assert all(segment.area and segment.area > 0 for segment in found.segments)


def _read_png(path: Path) -> None:
    _read(path.parents[1] / "panoptic.json")


READERS = [
    Reader("panoptic JSON", "panoptic.json", lambda: _of("panoptic.json"), damaged_json, _read, _write),
    Reader("panoptic PNG", "panoptic/a.png", lambda: _of("panoptic/a.png"), damaged_png, _read_png, _write),
]
