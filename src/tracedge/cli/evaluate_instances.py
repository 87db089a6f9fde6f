"""`tracedge evaluate instances`: class-agnostic masks against a truth, from files or straight from a model."""

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
from tracedge.cli.instance_methods import FromFile, FromModel, readied
from tracedge.cli.proposal_options import Crf, Features, ImageIds
from tracedge.cli.sam_options import Sam, SamPrompts, sam_options
from tracedge.errors import SettingsError
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    from tracedge.evaluation.instances import InstanceRow
    from tracedge.evaluation.report import Illustration
    from tracedge.export.coco_reader import Images


def instances(
    truth: Annotated[list[Path], typer.Option(help=f"The data set: {data.LAYOUTS}, or a COCO .json; may be repeated.")],
    pred: Annotated[
        Path | None, typer.Option(help="COCO json, label PNGs, npz files or folders of binary PNGs to score.")
    ] = None,
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    proposals: Annotated[
        list[str] | None,
        typer.Option(
            help="Masks to refine by edges: maskcut, promerge, diffseg, diffcut, sam:NAME (SAM's own), or any file of masks; may "
            "be repeated."
        ),
    ] = None,
    features: Features = None,
    crf: Crf = True,
    image_ids: ImageIds = None,
    sam: Sam = None,
    sam_prompts: SamPrompts = None,
    missing_empty: Annotated[
        bool,
        typer.Option("--missing-empty", help="Images that --pred or --proposals do not know count as without masks."),
    ] = False,
    size: option.Size = None,
    zoom: option.Zoom = None,
    device: option.Device = None,
    local_files_only: option.LocalFilesOnly = False,
    json_file: JsonFile = None,
    report: ReportFolder = None,
    limit: Limit = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with a model of its own.")] = 1,
    split: data.Split = None,
    ids: data.Ids = None,
    sample: data.SampleSize = None,
    sample_seed: data.SampleSeed = 0,
    rivals: Annotated[bool, typer.Option(help="Canny's edges beside ours.")] = True,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Score instances: AP, AP50, AR100, boundary AP, and the share of touching objects that are kept apart.

    Without --pred a model's edges are tried: straight, and on the masks of --proposals. Files of masks must know every image
    of the truth, unless --missing-empty is given.
    """
    from tracedge.datasets.layouts import images_of_ids
    from tracedge.datasets.layouts import provenance as data_provenance
    from tracedge.evaluation.instances import evaluate_instances, instances_json, instances_markdown, labelled_set
    from tracedge.evaluation.naming import short_names
    from tracedge.evaluation.outputs import Outputs
    from tracedge.export.coco_reader import is_results

    if report is not None:
        from tracedge.evaluation.instance_pictures import instance_pictures

    # 1. Everything is looked at before anything is computed.
    outputs = Outputs(json_file, report)
    if pred is not None and (backbone or student or teacher or proposals or sam):
        raise SettingsError(
            "--pred is scored as it is: leave --backbone, --student, --teacher, --proposals and --sam out."
        )
    of_truth = next((path for path in truth if path.is_file()), None)
    if pred is None and of_truth is not None:
        raise SettingsError(f"--truth {of_truth} has no photos to predict from: give a folder with images/, or --pred.")
    chosen = data.DatasetOptions(
        split=split, ids=ids, sample=sample, sample_seed=sample_seed, limit=limit, max_pixels=max_pixels
    )
    opened = {str(path): chosen.open(path) for path in truth}
    sets = {name: labelled_set(dataset.instances()) for name, dataset in opened.items()}
    ways: FromFile | FromModel
    if pred is not None:
        ids_of_results: Images | None = image_ids
        if ids_of_results is None and is_results(pred):
            ids_of_results = images_of_ids(opened.values(), max_pixels=max_pixels)
        ways = FromFile(pred=pred, image_ids=ids_of_results, max_pixels=max_pixels)
    else:
        options = option.PredictorOptions(
            backbone=backbone, size=size, zoom=zoom, device=device, local_files_only=local_files_only
        )
        ways = FromModel(
            options=options,
            student=student,
            teacher=teacher,
            proposals=tuple(proposals or []),
            features=features,
            crf=crf,
            image_ids=image_ids,
            rivals=rivals,
            max_pixels=max_pixels,
            sam=sam_options(sam, sam_prompts, options),
        )
    ready = readied(ways, [name for labelled in sets.values() for name in labelled.names], missing_empty, workers)
    # 2. One data set after the other; what is done is in the journal, should anything fail.
    rows: list[InstanceRow] = []
    pictures: list[Illustration] = []
    settings: dict[str, object] = {"predictions": str(pred) if pred else None, "missing_empty": missing_empty}
    said = {name: data_provenance(dataset) for name, dataset in opened.items()}
    settings["data"] = said
    settings |= ready.depends_on | provenance()
    started, shorts = perf_counter(), short_names(list(sets))
    images = {name: list(labelled.names) for name, labelled in sets.items()}
    with (
        outputs.journal(settings | {"images": images}) as journal,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        for name, labelled in sets.items():
            task = bar.add_task(name, total=len(labelled.names))
            on_image = partial(bar.advance, task)
            rows += evaluate_instances(labelled, ready.make, name, on_image, workers=workers, journal=journal)
            if report is not None:
                pictures += instance_pictures(labelled, ready.make, rows[-1], journal, shorts[name])
        settings["data"] = journal.seen(said)
        text = instances_json(rows, settings, PREDICTION if pred and len(sets) == 1 else None)
        outputs.write(text, instances_markdown(rows), settings, {"this run": perf_counter() - started}, pictures)
    typer.echo(instances_markdown(rows))
