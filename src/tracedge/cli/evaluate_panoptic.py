"""`tracedge evaluate panoptic`: things and stuff against a truth, from files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tracedge.cli import dataset_options as data
from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import PREDICTION, JsonFile, Limit, ReportFolder, provenance
from tracedge.cli.panoptic_methods import SemanticOptions, from_semantics, named
from tracedge.cli.semantic_options import CUT, Cut, NamesMapping
from tracedge.cli.tag_options import CRF, Crf
from tracedge.errors import SettingsError
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    from tracedge.evaluation.panoptic import Predictor
    from tracedge.evaluation.panoptic_predictions import PanopticPredictions
    from tracedge.evaluation.panoptic_sets import PanopticSet
    from tracedge.evaluation.report import Illustration


def panoptic(
    truth: Annotated[
        Path,
        typer.Option(
            help="The data set: a COCO or VOC 2012 root as unpacked, a folder with images/, panoptic/ and panoptic.json, or "
            "a COCO panoptic .json (its PNGs in the folder of its name), or DIR with panoptic.json."
        ),
    ],
    pred: Annotated[
        list[str] | None,
        typer.Option(
            help="What to score: PATH or NAME=PATH of a COCO panoptic .json, or DIR with panoptic.json; may be repeated."
        ),
    ] = None,
    semantic: Annotated[
        list[str] | None,
        typer.Option(
            help="Also score panoptic maps made of these classes, with and without edges: WHERE or NAME=WHERE, may be repeated. "
            "WHERE: a folder of semantic maps (DHR's, or any), truth, or clip:MODEL, the truth's tags as `tracedge semantic` "
            "makes classes of them."
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            help="JSON of what a folder's values are called, FILE or NAME=FILE of that --semantic: a list of names, or an object "
            "with it as names. Default: the values are category ids themselves."
        ),
    ] = None,
    mapping: NamesMapping = None,
    crf: Crf = CRF,
    cut: Cut = CUT,
    true_edges: Annotated[
        bool, typer.Option("--true-edges", help="With --semantic: the truth's own edges beside ours.")
    ] = False,
    rivals: Annotated[bool, typer.Option(help="With --semantic: Canny's edges beside ours.")] = True,
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    size: option.Size = None,
    zoom: option.Zoom = None,
    device: option.Device = None,
    local_files_only: option.LocalFilesOnly = False,
    class_agnostic: Annotated[
        bool, typer.Option("--class-agnostic", help="All things are one class; stuff keeps its classes.")
    ] = False,
    missing_empty: Annotated[
        bool, typer.Option("--missing-empty", help="Images without prediction count as void everywhere.")
    ] = False,
    json_file: JsonFile = None,
    report: ReportFolder = None,
    limit: Limit = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    split: data.Split = None,
    ids: data.Ids = None,
    sample: data.SampleSize = None,
    sample_seed: data.SampleSeed = 0,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Score panoptic maps: PQ, SQ and RQ of all classes, of things, of stuff, and of each class, by COCO's rules.

    Predictions are found by image id, or by the photo's name where the truth has no ids (VOC, folders). Every image of the
    truth must have one, unless --missing-empty is given.
    """
    from tracedge.evaluation.outputs import Outputs
    from tracedge.evaluation.panoptic import classes_markdown, evaluate_panoptic, panoptic_json, panoptic_markdown
    from tracedge.evaluation.panoptic_predictions import find_predictions

    if report is not None:
        from tracedge.evaluation.panoptic_pictures import panoptic_pictures

    # 1. Everything is looked at before anything is computed.
    outputs = Outputs(json_file, report)
    paths = {name: Path(path) for name, path in named(pred or [], "--pred", PREDICTION).items()}
    if not paths and not semantic:
        raise SettingsError("There is nothing to score: give --pred, or --semantic.")
    chosen = data.DatasetOptions(
        split=split, ids=ids, sample=sample, sample_seed=sample_seed, limit=limit, max_pixels=max_pixels
    )
    labelled, said = _opened(truth, chosen)
    found = {name: find_predictions(path, labelled, max_pixels=max_pixels) for name, path in paths.items()}
    for predictions in found.values():
        _refuse_missing(predictions, labelled, missing_empty)
    settings: dict[str, object] = {"class_agnostic": class_agnostic, "missing_empty": missing_empty}
    settings["data"] = {str(truth): said}
    ways: dict[str, Predictor] = dict(found)
    ours: str | None = None  # the row of our edges
    if semantic:
        if workers > 1:
            raise SettingsError("--semantic works in one process: leave --workers out.")
        asked = SemanticOptions(
            semantic=semantic,
            classes=classes or [],
            mapping=mapping,
            cut=cut,
            true_edges=true_edges,
            rivals=rivals,
            crf=crf,
            max_pixels=max_pixels,
        )
        options = option.PredictorOptions(
            backbone=backbone, size=size, zoom=zoom, device=device, local_files_only=local_files_only
        )
        load = partial(option.predictor, options, student=student, teacher=teacher)
        made = from_semantics(asked, labelled, options, load)
        ways |= made.ways
        ours = made.headline
        settings["semantic"] = made.depends_on
    settings["predictions"] = {name: {"path": str(paths[name])} | each.provenance for name, each in found.items()}
    settings |= provenance()
    # 2. One image after the other; what is done is in the journal, should anything fail.
    started = perf_counter()
    with (
        outputs.journal(settings | {"images": list(labelled.names)}) as journal,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("scoring", total=len(labelled.names))
        rows = evaluate_panoptic(
            labelled,
            ways,
            str(truth),
            partial(bar.advance, task),
            agnostic=class_agnostic,
            workers=workers,
            journal=journal,
        )
        pictures: list[Illustration] = []
        if report is not None:
            shown = next((row for row in rows if row.name == ours), rows[0])
            pictures += panoptic_pictures(labelled, ways[shown.name], shown, journal)
        tables = f"{panoptic_markdown(rows)}\n## Classes\n\n{classes_markdown(rows)}"
        seconds = {"this run": perf_counter() - started}
        settings["data"] = journal.seen({str(truth): said})
        outputs.write(
            panoptic_json(rows, settings, PREDICTION if PREDICTION in ways else ours),
            tables,
            settings,
            seconds,
            pictures,
        )
    typer.echo(panoptic_markdown(rows))


def _opened(path: Path, chosen: data.DatasetOptions) -> tuple[PanopticSet, dict[str, object]]:
    """A data set, or the truth of a COCO panoptic file without photos; and what is said of it in the report."""
    from tracedge.datasets.layouts import provenance as data_provenance
    from tracedge.evaluation.panoptic_sets import is_panoptic_file, panoptic_set, panoptic_set_of_file

    if not is_panoptic_file(path):
        dataset = chosen.open(path)
        return panoptic_set(dataset.panoptic()), data_provenance(dataset)
    if chosen.split is not None:
        raise SettingsError(f"--split is for a data set's folder: {path} is a file, and its images are all one split.")
    labelled = panoptic_set_of_file(path, chosen.selection, max_pixels=chosen.max_pixels)
    said = {"layout": "COCO file", "split": None, "images": len(labelled.names)}
    return labelled, said | chosen.selection.provenance


def _refuse_missing(found: PanopticPredictions, labelled: PanopticSet, missing_empty: bool) -> None:
    """Refuse a file without a map of every image of the truth, unless those count as void; say how many these are."""
    missing = [name for name in labelled.names if name not in found.ids]
    if not missing:
        return
    listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    said = (
        f"{found.found.path} has no map of {len(missing)} of the {len(labelled.names)} images of the truth ({listed})"
    )
    if not missing_empty:
        raise SettingsError(f"{said}: add them, or count them as void by --missing-empty.")
    typer.echo(f"{said}: they count as void.", err=True)
