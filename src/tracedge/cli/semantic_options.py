"""The options that say what the classes of semantic maps are: the same for `panoptic` and `evaluate panoptic`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from tracedge.categories import Category
    from tracedge.semantics.classes import Classes

CUT = 0.6

ClassNames = Annotated[
    Path | None,
    typer.Option(
        "--classes",
        help="JSON of what the values are called: a list of names, or an object with it as names. Default: the values are "
        "category ids themselves.",
    ),
]
NamesMapping = Annotated[
    Path | None,
    typer.Option("--mapping", help="JSON, class name: name or id of a category, or null; for names that differ."),
]
Categories = Annotated[
    Literal["coco", "voc"], typer.Option(help="COCO's 133 panoptic categories, or VOC's 20 things and background.")
]
Cut = Annotated[
    float,
    typer.Option(min=0, max=1, help="How strong an edge must be to part two things of one class; lower cuts more."),
]


def classes_from(names: Path | None, mapping: Path | None, categories: Sequence[Category]) -> Classes:
    """What the values of the maps mean."""
    from tracedge.errors import SettingsError
    from tracedge.semantics.classes import Classes, classes_of, read_class_names, read_mapping

    if names is not None:
        said = read_mapping(mapping) if mapping is not None else None
        return classes_of(read_class_names(names), categories, said, where=str(names))
    if mapping is not None:
        raise SettingsError("--mapping is of class names: give --classes, the file that names the values.")
    return Classes(tuple(categories), {one.id: one.id for one in categories})
