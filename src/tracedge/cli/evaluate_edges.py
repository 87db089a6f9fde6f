"""``tracedge evaluate edges``: ODS, OIS, AP and clDice, predictors side by side."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from tracedge.atomic import atomic_path
from tracedge.cli import dataset_options as data
from tracedge.cli import predictor_options as option
from tracedge.cli.edge_methods import borders_of, edges_of, predictors_from_options, student_of, teachers, zero_shots
from tracedge.cli.evaluation_options import (
    PREDICTION,
    JsonFile,
    Limit,
    ReportFolder,
    Thresholds,
    Truth,
    provenance,
    stop,
)
from tracedge.errors import SettingsError, TracedgeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracedge.evaluation.edges import EdgeRow, LabelledImages


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
    as_written: Annotated[
        bool,
        typer.Option(
            "--bsds",
            help="For BSDS500: score as its benchmark does. Truth is not thinned, nothing is forgiven near ignored ground.",
        ),
    ] = False,
) -> None:
    """Score instance edges, of files or straight from a model.

    ODS: F at the best threshold of the data set; OIS: at the best of each image; AP: area under the curve of precision and
    recall; clDice: how much of one's lines lies on the other's.
    """
    from tracedge.datasets.layouts import provenance as data_provenance
    from tracedge.evaluation.edges import evaluate_edges, report_json, report_markdown
    from tracedge.evaluation.journal import journal_beside
    from tracedge.evaluation.report import write_report
    from tracedge.metrics.edges import STANDARD
    from tracedge.rivals import ZERO_SHOT, FolderOfEdges
    from tracedge.student.files import SHIPPED

    if report is not None:
        from tracedge.evaluation.edge_pictures import edge_pictures

    try:
        chosen = data.DatasetOptions(split=split, ids=ids, sample=sample, sample_seed=sample_seed, limit=limit)
        opened = {str(path): chosen.open(path) for path in truth}
        datasets: dict[str, LabelledImages] = {
            name: dataset.edges(void_edges=void_edges, crowd_edges=crowd_edges) for name, dataset in opened.items()
        }
        predictors = predictors_from_options(pred, rivals)
        models: dict[str, option.Predictor] = {}
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
        zero_shot = zero_shots(rival or [], options)
        if options.is_vision:
            options.refuse_for_vision(*["--timestep"] * bool(timestep), *["--student"] * (student is not None))
            models[f"ABDiv, {Path(str(backbone)).name}"] = options.build_vision()
        elif backbone is not None:
            models |= teachers(options, timestep or [])
        elif asked := options.asked_of_the_teacher() + ["--timestep"] * bool(timestep) + ["--block"] * bool(blocks):
            raise SettingsError(f"{', '.join(asked)} is for a model: give it with --backbone.")
        if student is not None or backbone in SHIPPED:
            models["student"] = student_of(options, student)
        predictors |= {name: partial(edges_of, model) for name, model in models.items()}
        predictors |= {name: partial(borders_of, method) for name, method in zero_shot.items()}
        if pred is not None:
            for dataset in datasets.values():
                FolderOfEdges(pred).require(sample.stem for sample in dataset)
        if not predictors:
            raise SettingsError(
                "There is nothing to score: give --pred, --backbone or --rival, or leave --no-rivals out."
            )
    except TracedgeError as error:
        stop(error, code=2)
    suppressed = [name for name in predictors if name not in ("canny", *ZERO_SHOT)] if nms else []
    protocol = replace(STANDARD, thin_truth=False, ignore_margin=0.0) if as_written else STANDARD
    protocol = replace(protocol, thresholds=thresholds)
    settings = provenance() | {"predictions": str(pred) if pred else None}
    settings["predictors"] = {name: model.provenance for name, model in {**models, **zero_shot}.items()}
    borders = {"void_edges": void_edges, "crowd_edges": crowd_edges}
    settings["data"] = {name: data_provenance(dataset) | borders for name, dataset in opened.items()}
    counted = settings | {"protocol": vars(protocol), "nms": suppressed, "names": list(predictors)}
    counted["images"] = {name: list(dataset.names) for name, dataset in opened.items()}
    counted["content"] = FolderOfEdges(pred).fingerprint() if pred else None
    report_file = json_file or (report / "report.json" if report else None)
    shown = PREDICTION if pred else (*models, *predictors)[0]
    rows: list[EdgeRow] = []
    pictures: list[tuple[str, NDArray[np.uint8]]] = []
    started = perf_counter()
    try:
        with (
            journal_beside(report_file, counted) as journal,
            Progress(console=Console(stderr=True), transient=True) as bar,
        ):
            for name, dataset in datasets.items():
                task = bar.add_task(name, total=len(dataset) * len(predictors))
                found = evaluate_edges(
                    dataset,
                    predictors,
                    thresholds,
                    workers,
                    partial(_move, bar, task),
                    nms=suppressed,
                    protocol=protocol,
                    journal=journal,
                    truth=name,
                )
                Console().print(_table(name, found))
                rows += found
                if report is not None:
                    pictures += edge_pictures(dataset, predictors, found, journal, shown)
            text = report_json(rows, settings, PREDICTION if pred else None)
            if json_file is not None:
                with atomic_path(json_file) as temporary:
                    temporary.write_text(text, encoding="utf-8")
            if report is not None:
                times = {f"{row.name}, {row.truth}, an image": (row.milliseconds or 0) / 1000 for row in rows}
                times["this run"] = perf_counter() - started
                write_report(report, text, report_markdown(rows), settings, times, pictures)
    except TracedgeError as error:
        stop(error, code=1)


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
