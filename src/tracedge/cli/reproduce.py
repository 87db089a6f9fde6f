"""`tracedge reproduce`: the paper's tables, its figures beside ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import dataset_options as data
from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import Limit, provenance
from tracedge.cli.proposal_options import Crf, Features, ImageIds
from tracedge.errors import SettingsError

if TYPE_CHECKING:
    from tracedge.evaluation.reproduction.places import Place


def reproduce(
    recipe: Annotated[str | None, typer.Argument(help="Which table; without one they are listed.")] = None,
    data_sets: Annotated[
        list[Path] | None,
        typer.Option("--data", help="A COCO or VOC root, a labelled folder, or a folder of these; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where report.md and report.json go; a run there is gone on with."),
    ] = None,
    small: Annotated[
        bool,
        typer.Option("--small", help="Drawn scenes (and labelled folders of --data) with the mini model: minutes."),
    ] = False,
    backbone: Annotated[str | None, typer.Option(help="Whose edges; default: sd35-large, mini if --small.")] = None,
    student: option.Student = None,
    features: Features = None,
    crf: Crf = True,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--files",
            help="NAME=PATH or NAME@DATA=PATH: edges, masks, panoptic maps or students of others; may be repeated.",
        ),
    ] = None,
    image_ids: ImageIds = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of students that are distilled to be compared, with --small.")
    ] = None,
    limit: Limit = None,
    ids: data.Ids = None,
    sample: data.SampleSize = None,
    sample_seed: data.SampleSeed = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score edges.")] = 1,
    device: option.Device = None,
) -> None:
    """The tables of the paper again. What is absent is said first; what can be run is run; nothing is downloaded.

    Without a recipe: the list of them, and what each needs.
    """
    from tracedge.evaluation.reproduction.recipes import recipe as find_recipe

    if recipe is None:
        _list()
        return
    find_recipe(recipe)
    if output is None:
        raise SettingsError("give -o FOLDER, where the report goes.")

    from rich.console import Console
    from rich.progress import Progress

    from tracedge.evaluation.reproduction.report import reproduction_markdown
    from tracedge.evaluation.reproduction.reproduce import plan
    from tracedge.evaluation.reproduction.reproduce import reproduce as run
    from tracedge.evaluation.reproduction.request import FULL, SMALL, Request

    scale = SMALL if small else FULL
    if steps is not None and not small:
        raise SettingsError(
            "--steps is for --small: otherwise students are given by --files, and none is distilled here."
        )
    request = Request(
        name=recipe,
        output=output,
        data=tuple(data_sets or ()),
        small=small,
        backbone=backbone,
        student=student,
        features=features,
        crf=crf,
        files=_named(files or []),
        image_ids=image_ids,
        device=device,
        selection=data.DatasetOptions(ids=ids, sample=sample, sample_seed=sample_seed, limit=limit).selection,
        workers=workers,
        scale=scale if steps is None else replace(scale, steps=steps),
    )
    found = plan(request)
    if found.absent:
        typer.echo(found.absent, err=True)
    for said in found.unlike_the_paper:
        typer.echo(said, err=True)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks = {place.key: bar.add_task(place.name, total=None) for place in found.places if place.lacks is None}

        def move(place: Place, done: int) -> None:
            bar.update(tasks[place.key], completed=done)

        tables = run(found, provenance(), move)
    typer.echo(reproduction_markdown(request, tables))
    typer.echo(f"{output / 'report.md'}, {output / 'report.json'}", err=True)


def _list() -> None:
    from tracedge.evaluation.reproduction.recipe import needs
    from tracedge.evaluation.reproduction.recipes import RECIPES

    for name, found in RECIPES.items():
        typer.echo(f"{name}: {found.about} (paper, {found.section})")
        for need in needs(found):
            typer.echo(f"    {need}")
    typer.echo(
        "\n--small runs each of them on drawn scenes with the mini model, which is in the package; "
        "but panoptic, which has nothing to run without --files."
    )


def _named(files: list[str]) -> dict[str, Path]:
    """NAME=PATH, each name once."""
    found: dict[str, Path] = {}
    for each in files:
        name, equals, path = each.partition("=")
        if not (name and equals and path):
            raise SettingsError(f"--files takes NAME=PATH or NAME@DATA=PATH, got {each!r}")
        if name in found:
            raise SettingsError(f"--files gives {name} twice")
        found[name] = Path(path)
    return found
