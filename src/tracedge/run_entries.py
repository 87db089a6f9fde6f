"""What a folder run says of its photos, read without disturbing it: also while it goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tracedge.errors import DataError, RunError
from tracedge.jobs import Job, folded, output_name
from tracedge.manifest import MANIFEST, parsed
from tracedge.sources.mended import is_archive

COUNTED = ("instances", "segments", "classes")
FIGURES = {"seconds": (), "timestep": (None,), "margin": (None,)}  # and what else than a number each may be
LARGEST = 2.0**53  # of a figure or a count, so that sums are numbers, too; a nan is not below it


@dataclass(frozen=True)
class RunEntry:
    """One photo of a run.

    Args:
        file: the photo, its path under the input folder. relative: what the names of its outputs begin with.
        error: why it failed; None: it did not. suffixes: of its outputs, as `FolderRun` takes them.
        fields: all that its line of the manifest holds.
    """

    file: str
    relative: PurePosixPath
    error: str | None
    suffixes: tuple[str, ...]
    fields: Mapping[str, Any]

    @property
    def count(self) -> tuple[int, str] | None:
        """How many of what was found: (12, "instances"), (5, "segments"), (3, "classes"); None of edges."""
        for name in COUNTED:
            found = self.fields.get(name)
            if found is not None:
                return (found if isinstance(found, int) else len(found)), name
        return None

    @property
    def sureness(self) -> float | None:
        """The mean score of its instances, or how clearly the teacher's timestep won; None where there is neither."""
        scores = self.fields.get("scores")
        if scores:
            return sum(scores) / len(scores)
        margin = self.fields.get("margin")
        return None if margin is None else float(margin)

    def output(self, folder: Path, suffix: str) -> Path:
        """Where one of its outputs stands in the run's folder."""
        return folder / output_name(Job(Path(self.file), self.relative), suffix)


def read_entries(folder: str | os.PathLike[str]) -> list[RunEntry]:
    """The last entry of each photo of a run, by file name; and of each archive that could not be read to its end.

    An archive that a later run read to its end is none of them. A line that is being written is left out, and nothing is
    mended. Names that lead out of the folder are refused.

    Raises:
        DataError: no manifest, or one that no run wrote.
    """
    path = Path(folder) / MANIFEST
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is torn, or nothing
    except OSError as error:
        raise DataError(
            f"{folder} has no readable {MANIFEST}: expected a folder that `tracedge edges`, `segment` or another command wrote."
        ) from error
    last: dict[str, RunEntry] = {}
    for number, line in enumerate(lines, start=1):
        fields = parsed(line)
        if fields is None:
            raise DataError(f"line {number} of {path} is not an entry of a run.")
        try:
            entry = _entry(fields)
        except (RunError, DataError) as error:
            raise DataError(f"line {number} of {path} is not an entry of a run: {error}") from error
        last[folded(str(entry.relative))] = entry
    shown = (entry for entry in last.values() if entry.error is not None or not is_archive(entry.fields))
    return sorted(shown, key=lambda entry: entry.file)


def _entry(fields: dict[str, Any]) -> RunEntry:
    _refuse_no_figures(fields)
    names = [PurePosixPath(fields[name]) for name in ("output", "file")]
    for name in names:
        Job(Path(fields["file"]), name)  # refuses what leads out of a folder
    failed = fields["status"] != "ok"
    error = str(fields["error"]) if failed else None
    return RunEntry(str(names[1]), names[0], error, tuple(map(str, fields.get("suffixes", ()))), fields)


def _refuse_no_figures(fields: Mapping[str, Any]) -> None:
    """Raise `DataError` where something is not a number by which photos are sorted, or said of."""
    for name, others in FIGURES.items():
        if name in fields and fields[name] not in others and not _is_number(fields[name]):
            raise DataError(f"its {name} is not a number.")
    for name in COUNTED:
        found = fields.get(name)
        if not (found is None or isinstance(found, list) or (type(found) is int and 0 <= found <= LARGEST)):
            raise DataError(f"its {name} are neither a number nor a list.")
    scores = fields.get("scores")
    if scores is not None and not (isinstance(scores, list) and all(map(_is_number, scores))):
        raise DataError("its scores are not a list of numbers.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
