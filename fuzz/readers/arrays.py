"""Archives of arrays: edge maps, masks of ours and of others, scores of classes."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fuzz.containers import damaged_npz
from fuzz.contract import Reader
from fuzz.readers.coco import two
from tracedge.categories import COCO_PANOPTIC
from tracedge.export.labels import read_instances, write_instances
from tracedge.export.npz import read_npz, write_npz
from tracedge.maps import EdgeMap
from tracedge.semantics.classes import Classes
from tracedge.semantics.from_files import find_semantics

MOST = 10_000
_CLASSES = Classes(COCO_PANOPTIC, {0: 1, 1: 187, 2: -1})


def _archive(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def edge_maps() -> list[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        edges = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
        write_npz(path, EdgeMap(edges, 100.0, 0.5, (0.0, 100.0), (0.1, 0.2), {"px": 512}))
        return [path.read_bytes()]


def masks() -> list[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        write_instances(path, two())
        plain = _archive(masks=two().masks), _archive(masks=two().masks.view(np.uint8), scores=two().scores)
        return [path.read_bytes(), *plain]


def scores() -> list[bytes]:
    rng = np.random.default_rng(0)
    return [_archive(keys=np.array([0, 2]), masks=rng.random((2, 6, 8), np.float32))]


def _edges(path: Path) -> None:
    found = read_npz(path)
    assert found.edges.dtype == np.float32 and 0 <= found.edges.min() <= found.edges.max() <= 1


def _masks(path: Path) -> None:
    for blanks in (False, True):
        found = read_instances(path, max_pixels=MOST, blanks=blanks)
        assert found.masks.ndim == 3 and np.isfinite(found.scores).all() and (blanks or found.areas.all())


def _scores(path: Path) -> None:
    found = find_semantics(path.parent, _CLASSES, max_pixels=MOST).read("a", (6, 8))
    assert found.shape == (6, 8) and set(found.present) <= {1, 187}


READERS = [
    Reader("edge map npz", "a.npz", edge_maps, damaged_npz, _edges),
    Reader("masks npz", "a.npz", masks, damaged_npz, _masks),
    Reader("scores npz", "a.npz", scores, damaged_npz, _scores),
]
