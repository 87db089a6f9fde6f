"""``tracedge evaluate``: scores against a truth, as a table and as JSON. Parsing and printing only."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from tracedge import __version__
from tracedge.atomic import atomic_path
from tracedge.cli import dataset_options as data
from tracedge.cli import predictor_options as option
from tracedge.errors import SettingsError, TracedgeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracedge.evaluation.edges import EdgePredictorLike, EdgeRow, LabelledImages
    from tracedge.rivals import FolderOfEdges
    from tracedge.rivals.zero_shot import ZeroShot
    from tracedge.student.predictor import EdgePredictor
    from tracedge.teacher import EdgeTeacher

PREDICTION = "prediction"  # the row of --pred

app = typer.Typer(help="Score predictions against a truth.", no_args_is_help=True)


Truth = Annotated[list[Path], typer.Option(help=f"The data set: {data.LAYOUTS}; may be repeated.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")]
Thresholds = Annotated[int, typer.Option(min=1, help="Cuts of each map; 99 is the benchmark's, 33 is quicker.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N images of each data set.")]


@app.command()
def edges(
    truth: Truth,
    pred: Annotated[Path | None, typer.Option(help="Folder with <stem>.edges.png or <stem>.png to score.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Score the teacher on this model (and its student, if the package has one), or ABDiv on a vision "
            "transformer: a name, folder or hub id."
        ),
    ] = None,
    student: option.Student = None,
    timestep: Annotated[
        list[float] | None, typer.Option(help="Also score the teacher at this fixed timestep; may be repeated.")
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
    thresholds: Thresholds = 99,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 2,
    rivals: Annotated[bool, typer.Option(help="Score Sobel and Canny too.")] = True,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            help="Also score the borders of zero-shot segments, diffseg or diffcut, of --backbone (mini); may be repeated."
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
        bool, typer.Option(help="Suppress non-maxima of soft maps first (not Canny's, nor segments' borders).")
    ] = False,
    as_written: Annotated[
        bool,
        typer.Option(
            "--bsds", help="The benchmark to the letter: truth not thinned, nothing forgiven near ignored ground."
        ),
    ] = False,
) -> None:
    """Score instance edges: ODS, OIS, AP and clDice; predictions from files, or straight from a model."""
    from tracedge.datasets.layouts import provenance as data_provenance
    from tracedge.evaluation.edges import evaluate_edges, report_json
    from tracedge.evaluation.journal import journal_beside
    from tracedge.metrics.edges import STANDARD
    from tracedge.rivals import ZERO_SHOT, FolderOfEdges
    from tracedge.student.files import SHIPPED

    try:
        chosen = data.DatasetOptions(split, ids, sample, sample_seed, limit)
        opened = {str(path): chosen.open(path) for path in truth}
        datasets: dict[str, LabelledImages] = {
            name: dataset.edges(void_edges=void_edges, crowd_edges=crowd_edges) for name, dataset in opened.items()
        }
        predictors = predictors_from_options(pred, rivals)
        models: dict[str, option.Predictor] = {}
        options = option.PredictorOptions(
            backbone,
            None,
            rule,
            stride,
            size,
            zoom,
            ensemble,
            False,
            seed,
            device,
            dtype,
            local_files_only,
            blocks=tuple(blocks) if blocks else None,
        )
        zero_shot = _zero_shot(rival or [], options)
        if options.is_vision:
            options.refuse_for_vision(*["--timestep"] * bool(timestep), *["--student"] * (student is not None))
            models[f"ABDiv, {Path(str(backbone)).name}"] = options.build_vision()
        elif backbone is not None:
            models |= _teachers(options, timestep or [])
        elif asked := options.asked_of_the_teacher() + ["--timestep"] * bool(timestep) + ["--block"] * bool(blocks):
            raise SettingsError(f"{', '.join(asked)} is for a model: give it with --backbone.")
        if student is not None or backbone in SHIPPED:
            models["student"] = _student(student, backbone, device, dtype, size, zoom, local_files_only)
        predictors |= {name: partial(_edges_of, model) for name, model in models.items()}
        predictors |= {name: partial(_borders_of, method) for name, method in zero_shot.items()}
        if pred is not None:
            for dataset in datasets.values():
                FolderOfEdges(pred).require(sample.stem for sample in dataset)
        if not predictors:
            raise SettingsError(
                "There is nothing to score: give --pred, --backbone or --rival, or leave --no-rivals out."
            )
    except TracedgeError as error:
        _stop(error, code=2)
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
    rows = []
    try:
        with (
            journal_beside(json_file, counted) as journal,
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
            if json_file is not None:
                with atomic_path(json_file) as temporary:
                    temporary.write_text(report_json(rows, settings, PREDICTION if pred else None), encoding="utf-8")
    except TracedgeError as error:
        _stop(error, code=1)


@app.command()
def timesteps(
    truth: Annotated[Path, typer.Option(help="Folder with images/ and masks/ or panoptic/ (and ignore/).")],
    backbone: option.Backbone = "mini",
    stride: option.Stride = 100,
    size: option.Size = None,
    zoom: option.Zoom = 1,
    seed: option.Seed = 0,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    json_file: JsonFile = None,
    thresholds: Thresholds = 33,
    limit: Limit = None,
) -> None:
    """How well the timestep is chosen: every fixed step, every rule with its regret, and the best of each image."""
    import json
    from dataclasses import asdict

    from tracedge.datasets.folder import FolderDataset
    from tracedge.evaluation.timesteps import evaluate_timesteps, timesteps_markdown
    from tracedge.metrics.edges import EdgeProtocol

    try:
        dataset = FolderDataset(truth, limit)
        options = option.PredictorOptions(
            backbone, None, "first_peak", stride, size, zoom, 1, False, seed, device, dtype, local_files_only
        )
        teacher = options.build()
    except TracedgeError as error:
        _stop(error, code=2)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sweeping", total=len(dataset))
        rows = evaluate_timesteps(
            dataset, teacher.sweep, EdgeProtocol(thresholds), lambda done: bar.update(task, completed=done)
        )
    typer.echo(f"{truth}, {len(dataset)} images, {thresholds} thresholds\n\n{timesteps_markdown(rows)}")
    if json_file is not None:
        report = {
            "rows": [asdict(row) for row in rows],
            "provenance": provenance() | {"predictor": teacher.provenance},
        }
        with atomic_path(json_file) as temporary:
            temporary.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def predictors_from_options(pred: Path | None, rivals: bool) -> "dict[str, EdgePredictorLike | FolderOfEdges]":
    """Predictions from files, and the rivals, in the order of the table.

    Raises:
        DataError: --pred is no folder.
    """
    from tracedge.rivals import FolderOfEdges, canny_edges, sobel_edges

    predictors: dict[str, EdgePredictorLike | FolderOfEdges] = {}
    if pred is not None:
        predictors[PREDICTION] = FolderOfEdges(pred)
    if rivals:
        predictors |= {"sobel": sobel_edges, "canny": canny_edges}
    return predictors


def _teachers(options: option.PredictorOptions, timesteps: list[float]) -> "dict[str, EdgeTeacher]":
    """The teacher at each fixed timestep, and at the step that its rule chooses; they share one model."""
    from tracedge.teacher import EdgeTeacher

    chosen = options.build()
    fixed = {
        f"ABDiv at t = {at:g}": EdgeTeacher(chosen.backbone, settings=replace(chosen.settings, timestep=at))
        for at in timesteps
    }
    return {**fixed, f"IEP + ABDiv ({options.rule})": chosen}


def _student(
    name: str | None,
    backbone: str | None,
    device: str | None,
    dtype: str | None,
    size: int | None,
    zoom: int | None,
    local_files_only: bool,
) -> "EdgePredictor":
    """The student, on a backbone of its own: LoRA is merged into it, and the teacher's is to stay as it is."""
    from tracedge.student.predictor import EdgePredictor

    return EdgePredictor.from_pretrained(
        name or str(backbone),
        backbone=backbone if name is not None else None,
        size=size,
        zoom=zoom or 1,
        device=device,
        dtype=option.torch_dtype(dtype),
        local_files_only=local_files_only,
    )


def _zero_shot(names: list[str], options: option.PredictorOptions) -> "dict[str, ZeroShot]":
    """The zero-shot rivals; they share one model, seen at --size.

    Raises:
        SettingsError: an unknown name.
    """
    from tracedge.rivals import ZERO_SHOT

    if unknown := [name for name in names if name not in ZERO_SHOT]:
        raise SettingsError(f"unknown rival {unknown[0]!r}: choose one of {', '.join(ZERO_SHOT)}")
    if not names:
        return {}
    from tracedge.rivals.zero_shot import zero_shot

    model = option.load(options.backbone or "mini", options.device, options.dtype, options.local_files_only)
    return {name: zero_shot(name, model, px=options.size) for name in names}


def _borders_of(rival: "ZeroShot", image: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    return rival(image).edges()


def _edges_of(predictor: "option.Predictor", image: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    return predictor(image).edges


def provenance() -> dict[str, object]:
    """What a figure depends on besides the options: versions and the machine."""
    import os
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in ("torch", "diffusers", "numpy", "scipy", "scikit-image")}
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs"
    return {"tracedge": __version__, "python": platform.python_version(), "packages": packages, "machine": machine}


def _move(bar: Progress, task: TaskID, done: int, _: int) -> None:
    bar.update(task, completed=done)


def _table(name: str, rows: "list[EdgeRow]") -> Table:
    from tracedge.evaluation.edges import format_milliseconds

    table = Table(title=f"{name}: {rows[0].images} images, {rows[0].thresholds} thresholds")
    table.add_column("edges")
    for heading in ("ODS", "OIS", "AP", "clDice", "ms / image"):
        table.add_column(heading, justify="right")
    for row in rows:
        scores = (f"{value:.3f}" for value in (row.ods, row.ois, row.ap, row.cldice))
        table.add_row(row.name, *scores, format_milliseconds(row.milliseconds))
    return table


def _stop(error: TracedgeError, code: int) -> NoReturn:
    Console(stderr=True).print(str(error), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code) from error
