"""An `EdgeMap` with all that is known of it, as one .npz file, and back without loss."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.maps import EdgeMap, canonical_json

_FIELDS = frozenset({"edges", "timestep", "margin", "timesteps", "divergences", "settings"})


def write_npz(path: str | os.PathLike[str], edge_map: EdgeMap) -> None:
    """Write an edge map as a compressed .npz file, whole or not at all.

    The file holds `edges` (float32, H x W), `timestep` and `margin` (float64 scalars, nan for None), `timesteps` and
    `divergences` (float64, T) and `settings` (a string of JSON); NumPy reads it with allow_pickle=False.

    Args:
        path: where, the suffix as given; a folder that is not there is made.
        edge_map: what to write.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,  # a stream, since given a name NumPy would add a suffix of its own
            edges=edge_map.edges,
            timestep=_scalar(edge_map.timestep),
            margin=_scalar(edge_map.margin),
            timesteps=np.array(edge_map.timesteps, np.float64),
            divergences=np.array(edge_map.divergences, np.float64),
            settings=np.array(canonical_json(edge_map.settings)),
        )


def read_npz(path: str | os.PathLike[str]) -> EdgeMap:
    """Read an edge map that `write_npz` wrote: equal in every field.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    try:
        with Path(path).open("rb") as stream:
            return _edge_map(np.load(stream, allow_pickle=False))
    except DataError as error:
        raise DataError(f"{path} is not an edge map: {error}") from error
    except (OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as an edge map: {error}.") from error


def _edge_map(arrays: object) -> EdgeMap:
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise DataError(f"it holds one {type(arrays).__name__}, expected {sorted(_FIELDS)}.")
    if set(arrays.files) != _FIELDS:
        raise DataError(f"it holds {sorted(arrays.files)}, expected {sorted(_FIELDS)}.")
    settings = json.loads(str(arrays["settings"]))
    if not isinstance(settings, dict):
        raise DataError(f"its settings are {type(settings).__name__}, expected a mapping.")
    return EdgeMap(
        edges=arrays["edges"],
        timestep=_optional(arrays["timestep"]),
        margin=_optional(arrays["margin"]),
        timesteps=tuple(arrays["timesteps"].tolist()),
        divergences=tuple(arrays["divergences"].tolist()),
        settings=settings,
    )


def _scalar(value: float | None) -> np.ndarray:
    return np.array(np.nan if value is None else value, np.float64)


def _optional(array: np.ndarray) -> float | None:
    value = float(array)
    return None if np.isnan(value) else value
