"""The paper's tables again: what a recipe needs is looked for first, what can be run is run, the rest says what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from tracedge.atomic import atomic_path
from tracedge.errors import DataError, SettingsError
from tracedge.evaluation.journal import Journal, journal_beside
from tracedge.evaluation.reproduction.measures import MEASURES, Bench, Measured
from tracedge.evaluation.reproduction.models import Models
from tracedge.evaluation.reproduction.needs import Needs
from tracedge.evaluation.reproduction.places import Place, find_places, refused
from tracedge.evaluation.reproduction.recipe import Row
from tracedge.evaluation.reproduction.report import Cell, Line, Table, reproduction_json, reproduction_markdown
from tracedge.evaluation.reproduction.request import Request
from tracedge.rivals import FolderOfEdges
from tracedge.student.files import find_student, fingerprint, read_student


@dataclass(frozen=True)
class Plan:
    """What there is to do. missing: for each place, label of a row -> what it lacks; empty where it can be run."""

    request: Request
    needs: Needs
    places: tuple[Place, ...]
    missing: tuple[Mapping[str, list[str]], ...]

    def rows(self, index: int) -> tuple[Row, ...]:
        """The rows that can be run in a place."""
        return tuple(row for row in self.request.recipe.rows if not self.missing[index][row.label])

    @property
    def absent(self) -> str:
        """Everything that is absent, a line each with the rows that need it, and where it was looked for; empty: nothing is."""
        rows_of: dict[str, list[str]] = {}
        for missing in self.missing:
            for label, lacks in missing.items():
                for what in lacks:
                    rows_of.setdefault(what, []).append(label)
        if not rows_of:
            return ""
        lines = [f"  {what}: for {self._said(labels)}" for what, labels in rows_of.items()]
        data = ", ".join(map(str, self.request.data)) or "no --data"
        files = ", ".join(f"{name}={path}" for name, path in self.request.files.items()) or "no --files"
        looked = f"looked for data in {data}, files in {files}, weights in {HF_HUB_CACHE}"
        return "\n".join([f"{self.request.name} lacks ({looked})", *lines])

    @property
    def unlike_the_paper(self) -> list[str]:
        """A sentence for each of the paper's data sets that is there, but not as the paper has it."""
        return [f"{place.name} is {said}." for place in self.places if (said := place.unlike_the_paper) is not None]

    def _said(self, labels: list[str]) -> str:
        """Names of rows, which may hold commas."""
        names = list(dict.fromkeys(labels))
        return "all rows" if len(names) == len(self.request.recipe.rows) > 1 else "; ".join(names)


def plan(request: Request) -> Plan:
    """Look for everything that a recipe needs; nothing is loaded or fetched.

    Raises:
        SettingsError: as `find_places`; or a name in `files` that no row asks for.
        DataError: a folder of `data` is nothing that is known, or no row can be run; the message ends in all that is absent.
    """
    places, needs = find_places(request), Needs(request)
    _refuse_unused(request, places)
    missing = [{row.label: needs.missing(row, place) for row in request.recipe.rows} for place in places]
    found = Plan(request, needs, tuple(places), tuple(missing))
    data = request.data if request.recipe.data else ()
    if wrong := [said for said in map(refused, data) if said is not None]:
        raise DataError(*wrong, *found.absent.splitlines())
    if not any(found.rows(index) for index in range(len(places))):
        raise DataError(*f"no row of {request.name} can be run. {found.absent}".splitlines())
    return found


def reproduce(
    found: Plan,
    provenance: Mapping[str, object],
    on_step: Callable[[Place, int], None] | None = None,
) -> list[Table]:
    """Run every row that can be run; write report.json and report.md into the output folder.

    Args:
        found: see `plan`.
        provenance: versions and machine, for the report.
        on_step: called with the place and the number of steps done there.

    A run that was killed goes on where it was: what it has counted is in report.json.journal beside the report.

    Raises:
        RunError: a row failed; or the journal is of a run with other settings.
    """
    request = found.request
    report = request.output / "report.json"
    said = dict(provenance) | _depends_on(found)
    tables = []
    with journal_beside(report, said) as journal:
        for index, place in enumerate(found.places):
            step = partial(on_step, place) if on_step is not None else _silent
            measured = _measured(found, index, journal, step)
            tables.append(_table(request, place, found.missing[index], measured))
        for path, text in (
            (report, reproduction_json(request, tables, said)),
            (report.with_suffix(".md"), reproduction_markdown(request, tables)),
        ):
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return tables


def _refuse_unused(request: Request, places: Iterable[Place]) -> None:
    """A name that nothing asks for is a slip."""
    names, keys = request.recipe.files, [place.key for place in places]
    for given in request.files:
        name, at, key = given.partition("@")
        if name not in names:
            asked = ", ".join(names) or "none"
            raise SettingsError(f"--files names {name}, which {request.name} does not ask for: {asked}.")
        if at and key not in keys:
            raise SettingsError(f"--files names {given}, but no data set here is called {key}: {', '.join(keys)}.")


def _measured(found: Plan, index: int, journal: Journal, on_step: Callable[[int], None]) -> Measured:
    """All rows of a place at once, or one by one, each with models of its own that are then let go."""
    rows, place, request = found.rows(index), found.places[index], found.request
    if not rows:
        return Measured({})
    measure = MEASURES[request.recipe.measure]
    groups = [(row,) for row in rows] if request.recipe.one_by_one else [rows]
    parts = [measure(Bench(request, place, group, Models(request, found.needs), journal, on_step)) for group in groups]
    figures = {label: values for part in parts for label, values in part.figures.items()}
    details: dict[str, dict[str, object]] = {}
    for part in parts:
        for name, value in part.details.items():
            details.setdefault(name, {}).update(value)
    return Measured(figures, details)


def _table(request: Request, place: Place, missing: Mapping[str, list[str]], measured: Measured) -> Table:
    lines = []
    for row in request.recipe.rows:
        paper, ours = row.paper.get(place.paper, {}), measured.figures.get(row.label, {})
        cells = tuple(Cell(paper.get(column), ours.get(column)) for column in request.recipe.columns)
        lines.append(Line(row.label, cells, "; ".join(dict.fromkeys(missing[row.label])), row.note))
    return Table(place, tuple(lines), dict(measured.details))


def _depends_on(found: Plan) -> dict[str, object]:
    """What the figures depend on besides versions and machine, of JSON's types."""
    request = found.request
    places = {}
    for index, place in enumerate(found.places):
        rows = [row.label for row in found.rows(index)]
        places[place.key] = place.said | {"photos": list(place.names), "rows": rows}
    options = {"backbone": request.model, "features": request.feature_model, "crf": request.crf}
    return {
        "recipe": request.name,
        "small": request.small,
        "scale": asdict(request.scale),
        "options": options | {"device": request.device, "student": _student(request)},
        "weights": dict(found.needs.weights),
        "files": {name: _content(found, name, path) for name, path in sorted(request.files.items())},
        "data": places,
    }


def _student(request: Request) -> str | None:
    """Which student the rows of the main model are of."""
    name = request.student_of(request.model)
    if name is None:
        return None
    tensors, _ = read_student(find_student(name, local_files_only=True))
    return fingerprint(tensors)


def _content(found: Plan, name: str, path: Path) -> object:
    """What is in a file or folder of --files, so that a run does not go on with others."""
    if name.startswith(("student-", "width-", "labels-")):
        return fingerprint(read_student(path)[0])
    edges = (row.edges for row in found.request.recipe.rows if row.edges is not None)
    if any(source.kind == "files" and source.name == name.split("@")[0] for source in edges):
        return FolderOfEdges(path).fingerprint()
    rows = found.request.recipe.rows
    if any(row.segments == name.split("@")[0] for row in rows):
        places = [place for index, place in enumerate(found.places) if _scored_there(found, index, name, path)]
        return {place.key: found.needs.maps(path, place).provenance for place in places}
    return found.needs.masks(path).provenance


def _scored_there(found: Plan, index: int, name: str, path: Path) -> bool:
    """Whether panoptic maps of --files are what a row is scored from in a place."""
    key, segments = found.places[index].key, name.split("@")[0]
    return found.request.file(segments, key) == path and any(row.segments == segments for row in found.rows(index))


def _silent(done: int) -> None:
    """Nobody is told."""
