"""`tracedge evaluate panoptic`: things and stuff against a truth, from files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tracedge.atomic import atomic_path
from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import JsonFile, Limit, provenance
from tracedge.errors import SettingsError
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    from tracedge.evaluation.panoptic import PredictedFile


def panoptic(
    truth: Annotated[Path, typer.Option(help="COCO panoptic: a .json with the folder of its name beside it, or DIR.")],
    pred: Annotated[Path, typer.Option(help="What to score, of the same form; DIR has panoptic.json and panoptic/.")],
    class_agnostic: Annotated[
        bool, typer.Option("--class-agnostic", help="All things are one class; stuff keeps its classes.")
    ] = False,
    missing_empty: Annotated[
        bool, typer.Option("--missing-empty", help="Images without prediction count as void everywhere.")
    ] = False,
    json_file: JsonFile = None,
    limit: Limit = None,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Score panoptic maps: PQ, SQ and RQ of all classes, of things, of stuff, and of each class, by COCO's rules.

    Every image of the truth must have a prediction, unless --missing-empty is given.
    """
    from tracedge.evaluation.panoptic import (
        evaluate_panoptic,
        panoptic_json,
        panoptic_markdown,
        panoptic_set,
        predicted_file,
    )
    from tracedge.export.panoptic_reader import read_panoptic

    # 1. Everything is looked at before anything is computed.
    of_truth = read_panoptic(truth, max_pixels=max_pixels)
    labelled = panoptic_set(of_truth, limit)
    found = predicted_file(pred, labelled, of_truth, max_pixels=max_pixels)
    _refuse_missing(found, missing_empty)
    # 2. One image after the other.
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=len(labelled.names))
        figures = evaluate_panoptic(labelled, found, agnostic=class_agnostic, on_image=partial(bar.advance, task))
    typer.echo(panoptic_markdown(figures))
    if json_file is not None:
        settings = {"truth": str(truth), "predictions": str(pred), "missing_empty": missing_empty, "limit": limit}
        with atomic_path(json_file) as temporary:
            temporary.write_text(panoptic_json(figures, provenance() | settings), encoding="utf-8")


def _refuse_missing(found: PredictedFile, missing_empty: bool) -> None:
    """Refuse a file without a map of every image of the truth, unless those count as void; say how many these are."""
    if not (missing := found.missing):
        return
    listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    said = f"{found.found.path} has no map of {len(missing)} of the {len(found.labelled.names)} images of the truth ({listed})"
    if not missing_empty:
        raise SettingsError(f"{said}: add them, or count them as void by --missing-empty.")
    typer.echo(f"{said}: they count as void.", err=True)
