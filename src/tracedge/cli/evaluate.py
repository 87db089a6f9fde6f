"""``tracedge evaluate``: scores against a truth, as a table and as JSON. Parsing and printing only."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tracedge import __version__
from tracedge.atomic import atomic_path
from tracedge.errors import SettingsError, TracedgeError

if TYPE_CHECKING:
    from tracedge.datasets.folder import FolderDataset
    from tracedge.evaluation.edges import EdgePredictorLike, EdgeRow
    from tracedge.rivals import FolderOfEdges

PREDICTION = "prediction"  # the row of --pred
_SOFT = {PREDICTION, "sobel"}  # maps several pixels wide; Canny's lines are thin already

app = typer.Typer(help="Score predictions against a truth.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps ``edges`` a sub-command while it is the only one."""


@app.command()
def edges(
    truth: Annotated[Path, typer.Option(help="Folder with images/ and masks/ or panoptic/ (and ignore/).")],
    pred: Annotated[Path | None, typer.Option(help="Folder with <stem>.edges.png or <stem>.png to score.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    thresholds: Annotated[
        int, typer.Option(min=1, help="Cuts of each map; 99 is the benchmark's, 33 is quicker.")
    ] = 99,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 2,
    rivals: Annotated[bool, typer.Option(help="Score Sobel and Canny too.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N images.")] = None,
    nms: Annotated[bool, typer.Option(help="Suppress non-maxima of soft maps first (all but Canny's).")] = False,
) -> None:
    """Score instance edges: ODS, OIS, AP and clDice."""
    from tracedge.datasets.folder import FolderDataset
    from tracedge.evaluation.edges import report_json

    try:
        dataset = FolderDataset(truth, limit)
        predictors = predictors_from_options(pred, rivals)
    except TracedgeError as error:
        _stop(error, code=2)
    try:
        rows = _evaluate_with_bar(dataset, predictors, thresholds, workers, nms)
    except TracedgeError as error:
        _stop(error, code=1)
    Console().print(_table(rows))
    if json_file is not None:
        provenance = {"truth": str(truth), "predictions": str(pred) if pred else None, "tracedge": __version__}
        with atomic_path(json_file) as temporary:
            temporary.write_text(report_json(rows, provenance, PREDICTION if pred else None), encoding="utf-8")


def predictors_from_options(pred: Path | None, rivals: bool) -> "dict[str, EdgePredictorLike | FolderOfEdges]":
    """The predictors that the options name, in the order of the table.

    Raises:
        DataError: --pred is no folder.
        SettingsError: the options name none.
    """
    from tracedge.rivals import FolderOfEdges, canny_edges, sobel_edges

    predictors: dict[str, EdgePredictorLike | FolderOfEdges] = {}
    if pred is not None:
        predictors[PREDICTION] = FolderOfEdges(pred)
    if rivals:
        predictors |= {"sobel": sobel_edges, "canny": canny_edges}
    if not predictors:
        raise SettingsError("There is nothing to score: give --pred DIR, or leave --no-rivals out.")
    return predictors


def _evaluate_with_bar(
    dataset: "FolderDataset",
    predictors: "Mapping[str, EdgePredictorLike | FolderOfEdges]",
    thresholds: int,
    workers: int,
    nms: bool,
) -> "list[EdgeRow]":
    from tracedge.evaluation.edges import evaluate_edges

    suppressed = _SOFT.intersection(predictors) if nms else ()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=len(dataset) * len(predictors))
        return evaluate_edges(
            dataset, predictors, thresholds, workers, lambda done, _: bar.update(task, completed=done), nms=suppressed
        )


def _table(rows: "list[EdgeRow]") -> Table:
    from tracedge.evaluation.edges import format_milliseconds

    table = Table(title=f"{rows[0].images} images, {rows[0].thresholds} thresholds")
    table.add_column("edges")
    for heading in ("ODS", "OIS", "AP", "clDice", "ms / image"):
        table.add_column(heading, justify="right")
    for row in rows:
        scores = (f"{value:.3f}" for value in (row.ods, row.ois, row.ap, row.cldice))
        table.add_row(row.name, *scores, format_milliseconds(row.milliseconds))
    return table


def _stop(error: TracedgeError, code: int) -> NoReturn:
    Console(stderr=True).print(str(error), style="red", markup=False)
    raise typer.Exit(code) from error
