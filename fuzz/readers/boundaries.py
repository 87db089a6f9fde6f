"""BSDS's boundaries: cell arrays of Matlab, plain and compressed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
from scipy.io import savemat

from fuzz.contract import Reader
from fuzz.mutations import damaged
from tracedge.datasets.bsds import read_boundaries

_HEADER = 128  # bytes of text, version and byte order before the first element


def _files() -> list[bytes]:
    cells = np.empty((1, 2), object)
    for number in range(2):
        drawn = np.zeros((6, 8), np.uint8)
        drawn[number + 2] = 1
        cells[0, number] = {"Boundaries": drawn, "Segmentation": drawn.astype(np.uint16)}
    made = []
    for version in ("5", "4"):
        stream = io.BytesIO()
        savemat(stream, {"groundTruth": cells} if version == "5" else {"groundTruth": np.eye(3)}, format=version)
        made.append(stream.getvalue())
    return made


def _damaged(content: bytes, chance: Random) -> bytes:
    """Damage within the elements, which are then compressed or not; or anywhere."""
    if len(content) <= _HEADER or chance.randrange(4) == 0:
        return damaged(content, chance)
    body = damaged(content[_HEADER:], chance)
    if chance.randrange(3) == 0:
        packed = zlib.compress(body)
        body = struct.pack("<II", 15, len(packed)) + packed
    return content[:_HEADER] + body


def _read(path: Path) -> None:
    found = read_boundaries(path)
    assert found.dtype == bool and found.ndim == 3 and found.size


READERS = [Reader("BSDS .mat", "a.mat", _files, _damaged, _read)]
