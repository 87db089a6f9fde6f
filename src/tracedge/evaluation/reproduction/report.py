"""A table of a recipe, the paper's figures beside ours: as Markdown for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tracedge.evaluation.reproduction.places import Place
from tracedge.evaluation.reproduction.recipe import DATA, STRAIGHT, Recipe
from tracedge.evaluation.reproduction.request import Request

_DECIMALS = {"AP": 1, STRAIGHT: 1, "AR100": 1, "PQ": 1, "PQ things": 1, "PQ stuff": 1, "SQ": 1, "RQ": 1}
_DECIMALS |= {"ms": 0, "times as fast": 1, "MB": 2, "mean t": 0}
"""By column; 3 for the others."""


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
    if recipe.measure != "panoptic":  # which is scored from files
        head += [
            f"Edges of {request.model}" + (f", proposals of {request.feature_model}." if _proposes(request) else ".")
        ]
    head += [recipe.note] if recipe.note else []
    parts = ["\n".join(head)]
    for table in tables:
        parts.append(_title(table.place))
        parts.append("\n".join([*_heading(recipe), *(_row(recipe, line) for line in table.lines)]))
        parts += ["\n".join(f"- {name}: {_said(value)}" for name, value in table.details.items())] * bool(table.details)
    return "\n\n".join(parts) + "\n"


def reproduction_json(request: Request, tables: Iterable[Table], provenance: Mapping[str, object]) -> str:
    """The same as JSON text, numbers in full; `like_the_paper` says whether the data are the paper's, all of them."""
    found = [
        {
            "data": table.place.key,
            "images": len(table.place.names),
            "like_the_paper": table.place.like_the_paper,
            "rows": [_as_json(request.recipe.columns, line) for line in table.lines],
            "details": dict(table.details),
        }
        for table in tables
    ]
    return json.dumps({"tables": found, "provenance": dict(provenance)}, indent=2, sort_keys=True) + "\n"


def format_figure(value: float | None, column: str) -> str:
    """With as many decimals as the paper gives in a column; a dash where there is none.

    >>> format_figure(0.8889, "ODS"), format_figure(9.42, "AP"), format_figure(3682, "ms"), format_figure(None, "AP")
    ('0.889', '9.4', '3682', '-')
    """
    return "-" if value is None else f"{value:.{_DECIMALS.get(column, 3)}f}"


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_said(part)}" for name, part in value.items())
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _proposes(request: Request) -> bool:
    return any(row.proposals in ("maskcut", "promerge") for row in request.recipe.rows)


def _title(place: Place) -> str:
    said = f"## {place.name}" + (f", {len(place.names)} images" if place.names else "")
    if place.of_the_paper:
        unlike = place.unlike_the_paper
        return said if unlike is None else f"{said}\n\n{unlike[0].upper()}{unlike[1:]}."
    beside = f"on {DATA[place.paper].name}" if place.paper else "on its own machine"
    return f"{said}\n\nNot the paper's setting, whose figures are {beside}: the differences are no errors of a reproduction."


def _beside(recipe: Recipe) -> set[str]:
    """The columns that the paper has figures for."""
    return {column for row in recipe.rows for figures in row.paper.values() for column in figures}


def _heading(recipe: Recipe) -> list[str]:
    names: list[str] = []
    for column in recipe.columns:
        names += (
            [f"{column}, {kind}" for kind in ("paper", "ours", "difference")] if column in _beside(recipe) else [column]
        )
    return [f"| row | {' | '.join(names)} | |", "| --- " * (len(names) + 2) + "|"]


def _row(recipe: Recipe, line: Line) -> str:
    cells = []
    for column, cell in zip(recipe.columns, line.cells, strict=True):
        if column not in _beside(recipe):
            cells.append(format_figure(cell.ours, column))
            continue
        apart = cell.difference
        sign = "+" if apart is not None and apart >= 0 else ""
        cells += [
            format_figure(cell.paper, column),
            format_figure(cell.ours, column),
            sign + format_figure(apart, column),
        ]
    said = f"not run: {line.not_run}" if line.not_run else line.note
    return f"| {line.label} | {' | '.join(cells)} | {said} |".replace("\n", " ")


def _as_json(columns: tuple[str, ...], line: Line) -> dict[str, object]:
    figures = {
        column: {"paper": cell.paper, "ours": cell.ours, "difference": cell.difference}
        for column, cell in zip(columns, line.cells, strict=True)
    }
    return {"label": line.label, "figures": figures, "not_run": line.not_run or None, "note": line.note}
