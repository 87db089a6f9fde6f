"""A table of a recipe, the paper's figures beside ours: as Markdown for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tracedge.evaluation.recipes import DATA
from tracedge.evaluation.reproduction.places import Place
from tracedge.evaluation.reproduction.request import Request


@dataclass(frozen=True)
class Cell:
    """A figure of the paper and ours, None where there is none."""

    paper: float | None
    ours: float | None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None or self.ours is None else self.ours - self.paper


@dataclass(frozen=True)
class Line:
    """A row of a table, a cell a column. not_run: what it lacks, empty where it was run."""

    label: str
    cells: tuple[Cell, ...]
    not_run: str
    note: str


@dataclass(frozen=True)
class Table:
    """A recipe in one place. details: what a measure says besides."""

    place: Place
    lines: tuple[Line, ...]
    details: Mapping[str, object]


def reproduction_markdown(request: Request, tables: Iterable[Table]) -> str:
    """A page: each table with the paper's figures, ours and the difference."""
    recipe = request.recipe
    head = [f"# {request.name}: {recipe.about} (paper, {recipe.section})", ""]
    head += [f"Edges of {request.model}, masks of {request.feature_model} where there are proposals."]
    head += [recipe.note] if recipe.note else []
    parts = ["\n".join(head)]
    for table in tables:
        parts.append(_title(request, table.place))
        parts.append("\n".join([*_heading(recipe.columns), *(_row(line) for line in table.lines)]))
        parts += [f"{name}:\n\n```json\n{json.dumps(value)}\n```" for name, value in table.details.items()]
    return "\n\n".join(parts) + "\n"


def reproduction_json(request: Request, tables: Iterable[Table], provenance: Mapping[str, object]) -> str:
    """The same as JSON text, numbers in full; `like_the_paper` says whether the data are the paper's, all of them."""
    found = [
        {
            "data": table.place.key,
            "images": len(table.place.names),
            "like_the_paper": like_the_paper(request, table.place),
            "rows": [_as_json(request.recipe.columns, line) for line in table.lines],
            "details": dict(table.details),
        }
        for table in tables
    ]
    return json.dumps({"tables": found, "provenance": dict(provenance)}, indent=2, sort_keys=True) + "\n"


def like_the_paper(request: Request, place: Place) -> bool:
    """Whether a difference is one of methods alone: the paper's data, and all of them."""
    asked = request.selection
    return place.like_the_paper and asked.ids is None and asked.sample is None and asked.limit is None


def format_figure(value: float | None) -> str:
    """Two decimals less for what is large; a dash where there is none.

    >>> format_figure(0.8889), format_figure(9.42), format_figure(3682), format_figure(None)
    ('0.889', '9.4', '3682', '-')
    """
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 2 else f"{value:.3f}"


def _title(request: Request, place: Place) -> str:
    said = f"## {place.name}" + (f", {len(place.names)} images" if place.names else "")
    if like_the_paper(request, place):
        return said
    if place.like_the_paper:
        return f"{said}\n\nA part of the paper's images."
    beside = f"on {DATA[place.paper].name}" if place.paper else "on its own machine"
    return f"{said}\n\nNot the paper's setting, whose figures are {beside}: the differences are no errors of a reproduction."


def _heading(columns: tuple[str, ...]) -> list[str]:
    names = [f"{column}, {kind}" for column in columns for kind in ("paper", "ours", "difference")]
    return [f"| row | {' | '.join(names)} | |", "| --- " * (len(names) + 2) + "|"]


def _row(line: Line) -> str:
    cells = []
    for cell in line.cells:
        apart = (
            "-"
            if cell.difference is None
            else f"{'+' if cell.difference >= 0 else '-'}{format_figure(abs(cell.difference))}"
        )
        cells += [format_figure(cell.paper), format_figure(cell.ours), apart]
    said = f"not run: {line.not_run}" if line.not_run else line.note
    return f"| {line.label} | {' | '.join(cells)} | {said} |".replace("\n", " ")


def _as_json(columns: tuple[str, ...], line: Line) -> dict[str, object]:
    figures = {
        column: {"paper": cell.paper, "ours": cell.ours, "difference": cell.difference}
        for column, cell in zip(columns, line.cells, strict=True)
    }
    return {"label": line.label, "figures": figures, "not_run": line.not_run or None, "note": line.note}
