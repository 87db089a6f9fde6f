"""An `EdgeMap` with all that is known of it, as one .npz file, and back without loss."""

from __future__ import annotations

import os

import numpy as np

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.export.archives import opened_arrays, settings_of
from tracedge.images import MAX_PIXELS
from tracedge.maps import EdgeMap, canonical_json

_MAX_CURVE = 1 << 16  # bytes: thousands of timesteps
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


def read_npz(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> EdgeMap:
    """Read an edge map that `write_npz` wrote: equal in every field.

    Args:
        path: the file.
        max_pixels: the largest H * W accepted, checked before anything is unpacked.

    Raises:
        DataError: the file is missing, damaged, too large, or holds something else.
    """
    with opened_arrays(path, "an edge map") as arrays:
        if arrays.names != _FIELDS:
            raise DataError(f"it holds {sorted(arrays.names)}, expected {sorted(_FIELDS)}.")
        timesteps, divergences = (_curve(arrays.read(name, _MAX_CURVE)) for name in ("timesteps", "divergences"))
        return EdgeMap(
            edges=arrays.read("edges", 4 * max_pixels),
            timestep=_optional(arrays.read("timestep", 8)),
            margin=_optional(arrays.read("margin", 8)),
            timesteps=timesteps,
            divergences=divergences,
            settings=settings_of(arrays),
        )


def _scalar(value: float | None) -> np.ndarray:
    return np.array(np.nan if value is None else value, np.float64)


def _optional(array: np.ndarray) -> float | None:
    if array.shape != () or array.dtype.kind != "f":
        raise DataError(f"it has {array.dtype} {array.shape} where a number stands, expected float64 ().")
    value = float(array)
    return None if np.isnan(value) else value


def _curve(array: np.ndarray) -> tuple[float, ...]:
    if array.ndim != 1 or array.dtype.kind != "f":
        raise DataError(f"it has {array.dtype} {array.shape} where a curve stands, expected float64 (T,).")
    return tuple(array.tolist())
