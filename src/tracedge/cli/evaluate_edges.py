"""``tracedge evaluate edges``: ODS, OIS, AP and clDice, predictors side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from tracedge.cli import dataset_options as data
from tracedge.cli import predictor_options as option
from tracedge.cli.edge_methods import edge_methods
from tracedge.cli.evaluation_options import (
    PREDICTION,
    AsWritten,
    JsonFile,
    Limit,
    ReportFolder,
    Thresholds,
    Truth,
    provenance,
)

if TYPE_CHECKING:
    from tracedge.evaluation.edges import EdgeRow
    from tracedge.evaluation.report import Illustration


def edges(
    truth: Truth,
    pred: Annotated[Path | None, typer.Option(help="Folder with <stem>.edges.png or <stem>.png to score.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Score this model's edges, read directly (the teacher) and by its student if the package has one: a name of "
            "`tracedge backbones`, folder or hub id."
        ),
    ] = None,
    student: option.Student = None,
    timestep: Annotated[
        list[float] | None, typer.Option(help="Also score --backbone at this fixed timestep; may be repeated.")
    ] = None,
    rule: option.Rule = "first_peak",
    stride: option.Stride = 100,
    size: option.Size = None,
    zoom: option.Zoom = None,
    ensemble: option.Ensemble = 1,
    blocks: option.Blocks = None,
    seed: option.Seed = 0,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    json_file: JsonFile = None,
    report: ReportFolder = None,
    thresholds: Thresholds = 99,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 2,
    rivals: Annotated[bool, typer.Option(help="Score Sobel and Canny too.")] = True,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            help="Also score the segments' borders of another method, diffseg or diffcut, on --backbone (mini); may be repeated."
        ),
    ] = None,
    limit: Limit = None,
    split: data.Split = None,
    ids: data.Ids = None,
    sample: data.SampleSize = None,
    sample_seed: data.SampleSeed = 0,
    void_edges: Annotated[
        bool, typer.Option("--void-edges", help="COCO: borders with ground nobody labelled are edges too.")
    ] = False,
    crowd_edges: Annotated[
        bool, typer.Option("--crowd-edges", help="COCO: borders with crowds are edges too.")
    ] = False,
    nms: Annotated[
        bool,
        typer.Option(
            help="Reduce soft maps to their ridges first, as is usual (non-maximum suppression); Canny's and segments' are left."
        ),
    ] = False,
    as_written: AsWritten = None,
) -> None:
    """Score instance edges, of files or straight from a model.

    ODS: F at the best threshold of the data set; OIS: at the best of each image; AP: area under the curve of precision and
    recall; clDice: how much of one's lines lies on the other's.
    """
    from tracedge.datasets.layouts import provenance as data_provenance
    from tracedge.evaluation.edges import evaluate_edges, protocol_for, report_json, report_markdown
    from tracedge.evaluation.naming import short_names, without_suffix
    from tracedge.evaluation.outputs import Outputs
    from tracedge.rivals import FolderOfEdges

    if report is not None:
        from tracedge.evaluation.edge_pictures import edge_pictures
        from tracedge.visualize import require_matplotlib

        require_matplotlib()

    # 1. Everything is looked at before anything is computed.
    outputs = Outputs(json_file, report)
    chosen = data.DatasetOptions(split=split, ids=ids, sample=sample, sample_seed=sample_seed, limit=limit)
    opened = {str(path): chosen.open(path) for path in truth}
    datasets = {name: dataset.edges(void_edges=void_edges, crowd_edges=crowd_edges) for name, dataset in opened.items()}
    if pred is not None:
        FolderOfEdges(pred).require(without_suffix(image) for dataset in datasets.values() for image in dataset.names)
    options = option.PredictorOptions(
        backbone=backbone,
        rule=rule,
        stride=stride,
        size=size,
        zoom=zoom,
        ensemble=ensemble,
        seed=seed,
        device=device,
        dtype=dtype,
        local_files_only=local_files_only,
        blocks=tuple(blocks) if blocks else None,
    )
    methods = edge_methods(
        options, pred=pred, rivals=rivals, student=student, timesteps=timestep or [], zero_shot=rival or []
    )
    protocols = {
        name: protocol_for(dataset.layout, thresholds, as_written=as_written, nms=nms)
        for name, dataset in opened.items()
    }
    settings = provenance() | {"predictions": str(pred) if pred else None, "predictors": methods.depends_on}
    borders = {"void_edges": void_edges, "crowd_edges": crowd_edges}
    said = {name: data_provenance(dataset) | borders for name, dataset in opened.items()}
    settings["data"] = said
    counted = settings | {"protocol": {name: vars(each) for name, each in protocols.items()}}
    counted |= {"thin": methods.thin, "names": list(methods.predictors)}
    counted["images"] = {name: list(dataset.names) for name, dataset in opened.items()}
    counted["content"] = FolderOfEdges(pred).fingerprint() if pred else None
    # 2. One data set after the other; what is done is in the journal, should anything fail.
    rows: list[EdgeRow] = []
    pictures: list[Illustration] = []
    started, shorts = perf_counter(), short_names(list(datasets))
    with outputs.journal(counted) as journal, Progress(console=Console(stderr=True), transient=True) as bar:
        for name, dataset in datasets.items():
            task = bar.add_task(name, total=len(dataset) * len(methods.predictors))
            found = evaluate_edges(
                dataset,
                methods.predictors,
                protocols[name],
                workers,
                partial(_move, bar, task),
                thin=methods.thin,
                journal=journal,
                truth=name,
            )
            Console().print(_table(name, found))
            rows += found
            if report is not None:
                pictures += edge_pictures(dataset, methods.predictors, found, journal, methods.shown, shorts[name])
        settings["data"] = journal.seen(said)
        text = report_json(rows, settings, PREDICTION if pred and len(datasets) == 1 else None)
        predicted = [
            (row, row.milliseconds) for row in rows if row.milliseconds is not None
        ]  # others were read from files
        times = {f"{row.name}, {row.truth}, an image": milliseconds / 1000 for row, milliseconds in predicted}
        times["this run"] = perf_counter() - started
        outputs.write(text, report_markdown(rows), settings, times, pictures)


def _move(bar: Progress, task: TaskID, done: int, _: int) -> None:
    bar.update(task, completed=done)


def _table(name: str, rows: list[EdgeRow]) -> Table:
    from tracedge.evaluation.edges import format_milliseconds

    table = Table(title=f"{name}: {rows[0].images} images, {rows[0].thresholds} thresholds")
    table.add_column("edges")
    for heading in ("ODS", "OIS", "AP", "clDice", "ms / image"):
        table.add_column(heading, justify="right")
    for row in rows:
        scores = (f"{value:.3f}" for value in (row.ods, row.ois, row.ap, row.cldice))
        table.add_row(row.name, *scores, format_milliseconds(row.milliseconds))
    return table
