"""Where the parts of a data set are looked for, and what is said when they are not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracedge.errors import DataError


def first_folder(places: Sequence[Path], what: str) -> Path:
    """The first of these folders that is there.

    Raises:
        DataError: none is; it says `what` is missing, and which were looked for.
    """
    for place in places:
        if place.is_dir():
            return place
    folders = "folder" if len(places) == 1 else "folders"
    raise DataError(f"{what} are missing: looked for the {folders} {' and '.join(map(str, places))}.")


def root_of(path: Path, below: Sequence[str], parts: Sequence[str]) -> Path | None:
    """The first of a folder and the folders `below` it that has all these parts, which are folders; None if none has."""
    places = (path, *(path / name for name in below))
    return next((place for place in places if all((place / part).is_dir() for part in parts)), None)
