"""What comes out: results as frozen dataclasses of numpy arrays that check themselves when made.

Whoever holds one of these need not check it again, and cannot change it under somebody else.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from tracedge.errors import DataError


@dataclass(frozen=True, eq=False)
class EdgeMap:
    """Instance edges of one image, and how they were found.

    Args:
        edges: float32 (H, W) in [0, 1], of the image's own size; 1 is the strongest edge of the image. Kept as a
            read-only array of its own.
        timestep: the instance emergence point t*, in 0..1000 (the model's timesteps), or None where none was chosen
            (a student's edges).
        margin: how clearly t* won against the other timesteps that were tried, in [0, 1]; see
            `tracedge.emergence.Emergence` (None: nothing was chosen).
        timesteps: the T timesteps that were tried; empty if none were.
        divergences: the T values of the KL curve (nats, >= 0), `divergences[i]` belongs to `timesteps[i]`.
        settings: what the edges depend on (model, revision, px, seed, ...), of JSON's types. Kept as a read-only copy.

    Raises:
        DataError: a value outside of the above.

    >>> edge_map = EdgeMap(np.zeros((4, 6), np.float32), timestep=200.0, margin=0.1)
    >>> edge_map.shape, edge_map.to_png16().dtype.name
    ((4, 6), 'uint16')
    """

    edges: np.ndarray
    timestep: float | None = None
    margin: float | None = None
    timesteps: tuple[float, ...] = ()
    divergences: tuple[float, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", _checked_edges(self.edges))
        for name in ("timestep", "margin"):
            object.__setattr__(self, name, _checked_scalar(name, getattr(self, name)))
        for name in ("timesteps", "divergences"):
            object.__setattr__(self, name, _checked_curve(name, getattr(self, name)))
        if self.divergences and len(self.divergences) != len(self.timesteps):
            raise DataError(
                f"an EdgeMap needs one divergence for each timestep, got {len(self.divergences)} divergences "
                f"for {len(self.timesteps)} timesteps."
            )
        # Through JSON and back: a copy that nobody else holds, equal to what a file would give back.
        object.__setattr__(self, "settings", MappingProxyType(json.loads(canonical_json(self.settings))))

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy cannot be copied or sent to another process; the dict that it shows can.
        fields = (self.timestep, self.margin, self.timesteps, self.divergences, dict(self.settings))
        return EdgeMap, (self.edges, *fields)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W), the size of the image."""
        height, width = self.edges.shape
        return height, width

    @property
    def settings_hash(self) -> str:
        """16 hexadecimal digits that name the settings; see `settings_hash`."""
        return settings_hash(self.settings)

    def to_png16(self) -> np.ndarray:
        """Edges as uint16 (H, W): round(edge * 65535), so that 1.0 is 65535."""
        return to_uint16(self.edges)


def canonical_json(settings: Mapping[str, object]) -> str:
    """The one JSON text of a mapping: keys sorted, no spaces, no nan.

    Raises:
        DataError: a value that JSON cannot hold, or a key that is not a string.
    """
    if not all(isinstance(key, str) for key in settings):
        raise DataError(f"settings need strings as keys, got {sorted(map(repr, settings))}.")
    try:
        return json.dumps(dict(settings), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"settings must be of JSON's types, finite numbers included: {error}.") from error


def settings_hash(settings: Mapping[str, object]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `canonical_json(settings)`: equal settings, equal hash.

    >>> settings_hash({"px": 512, "seed": 0}) == settings_hash({"seed": 0, "px": 512})
    True
    """
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16]


def to_uint16(array: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as uint16, round(value * 65535), of the same shape."""
    return np.rint(array.astype(np.float64) * 65535).astype(np.uint16)


def _checked_edges(edges: np.ndarray) -> np.ndarray:
    if not isinstance(edges, np.ndarray) or edges.dtype != np.float32 or edges.ndim != 2 or 0 in edges.shape:
        got = f"{edges.dtype} {edges.shape}" if isinstance(edges, np.ndarray) else type(edges).__name__
        raise DataError(f"an EdgeMap needs edges as a float32 array (H, W) with at least one pixel, got {got}.")
    low, high = float(edges.min()), float(edges.max())
    if not (low >= 0 and high <= 1):  # a nan fails both
        raise DataError(f"an EdgeMap needs finite edges in [0, 1], got values in {low:g}..{high:g}: normalise them.")
    own = edges.copy()
    own.flags.writeable = False
    return own


def _checked_scalar(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"an EdgeMap needs a finite {name} >= 0 or None, got {value}.")
    return float(value)


def _checked_curve(name: str, values: tuple[float, ...]) -> tuple[float, ...]:
    curve = tuple(float(value) for value in values)
    if not all(math.isfinite(value) and value >= 0 for value in curve):
        raise DataError(f"an EdgeMap needs finite {name} >= 0, got {curve}.")
    return curve
