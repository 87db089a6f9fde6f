"""Where the answer of an evaluation goes, and that nothing of anybody else is written over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tracedge.atomic import atomic_path, is_temporary
from tracedge.errors import SettingsError
from tracedge.evaluation.journal import Journal, journal_beside
from tracedge.evaluation.report import Illustration, write_report
from tracedge.jsonlines import decode

_OF_A_REPORT = re.compile(r"report\.(json|md)|seconds\.json|(curves|best|worst)-.*\.png")


@dataclass(frozen=True)
class Outputs:
    """A JSON file, a folder as `write_report` makes it, both, or neither.

    Raises:
        SettingsError: the file is a folder, or the folder a file; or what stands there is no report of an evaluation: a truth
            or a prediction that is named by mistake is not written over.
    """

    file: Path | None
    folder: Path | None

    def __post_init__(self) -> None:
        for path in (self.file, self.folder):
            for part in path.parents if path is not None else ():
                if part.exists() and not part.is_dir():
                    raise SettingsError(f"{path} cannot be written: {part} is a file, not a folder.")
        if self.file is not None:
            _refuse_others_file(self.file)
        if self.folder is not None:
            self._refuse_others_folder(self.folder)

    def journal(self, settings: Mapping[str, object]) -> AbstractContextManager[Journal]:
        """The journal beside the file, or else in the folder, as `journal_beside`."""
        report = self.folder / "report.json" if self.folder is not None else None
        return journal_beside(self.file or report, settings)

    def write(
        self,
        report: str,
        table: str,
        depends_on: Mapping[str, object],
        seconds: Mapping[str, float],
        pictures: Iterable[Illustration] = (),
    ) -> None:
        """Write what was asked for; the arguments are those of `write_report`."""
        if self.file is not None:
            with atomic_path(self.file) as temporary:
                temporary.write_text(report, encoding="utf-8")
        if self.folder is not None:
            write_report(self.folder, report, table, depends_on, seconds, pictures)

    def _refuse_others_folder(self, folder: Path) -> None:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise SettingsError(f"{folder} is a file; the report needs a folder.")
        _refuse_others_file(folder / "report.json")
        own = {path.name for path in (self.file, folder / "report.json") if path is not None}
        own |= {f"{name}.journal{suffix}" for name in own for suffix in ("", ".lock")}
        for entry in sorted(entry.name for entry in folder.iterdir()):
            if entry not in own and not _OF_A_REPORT.fullmatch(entry) and not is_temporary(entry):
                raise SettingsError(
                    f"{folder} holds {entry}, which is of no report: give the report a folder of its own."
                )


def _refuse_others_file(path: Path) -> None:
    """Refuse a folder, and a file that is there and is neither empty nor a report."""
    if path.is_dir():
        raise SettingsError(f"{path} is a folder; the report needs a file's name.")
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        found = decode(path.read_bytes())
    except ValueError:
        found = None
    if not (isinstance(found, dict) and {"rows", "provenance"} <= found.keys()):
        raise SettingsError(f"{path} is there and is no report of an evaluation: it is not written over.")
