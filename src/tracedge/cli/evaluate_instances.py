"""`tracedge evaluate instances`: class-agnostic masks against a truth, from files or straight from a model."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tracedge.atomic import atomic_path
from tracedge.cli import predictor_options as option
from tracedge.cli.evaluate import PREDICTION, JsonFile, Limit, provenance
from tracedge.cli.proposal_options import Crf, Features, proposals_from
from tracedge.errors import SettingsError

if TYPE_CHECKING:
    from tracedge.evaluation.instance_methods import Comparison, ProposalsOf
    from tracedge.evaluation.instances import LabelledInstances, Methods
    from tracedge.instances import Instances
    from tracedge.proposals.from_features import Proposer
    from tracedge.proposals.from_files import MaskSource


def instances(
    truth: Annotated[
        list[Path], typer.Option(help="Folder with images/ and masks/ (and ignore/), or a COCO json; may be repeated.")
    ],
    pred: Annotated[
        Path | None, typer.Option(help="COCO json, label PNGs, npz files or folders of binary PNGs to score.")
    ] = None,
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    proposals: Annotated[
        list[str] | None,
        typer.Option(help="Masks to refine by edges: maskcut, promerge, or any file of masks; may be repeated."),
    ] = None,
    features: Features = None,
    crf: Crf = True,
    size: option.Size = None,
    zoom: option.Zoom = None,
    device: option.Device = None,
    local_files_only: option.LocalFilesOnly = False,
    json_file: JsonFile = None,
    limit: Limit = None,
    rivals: Annotated[bool, typer.Option(help="Canny's edges beside ours.")] = True,
) -> None:
    """Score instances: AP, AP50, AR100, boundary AP, and the share of touching objects that are kept apart.

    Without --pred a model's edges are tried: straight, and on the masks of --proposals.
    """
    from tracedge.evaluation.instances import (
        evaluate_instances,
        instances_json,
        instances_markdown,
        labelled_coco,
        labelled_folder,
    )

    # 1. Everything is looked at before anything is computed.
    if pred is not None and (backbone or student or teacher or proposals):
        raise SettingsError("--pred is scored as it is: leave --backbone, --student, --teacher and --proposals out.")
    methods: Methods
    settings: dict[str, object] = {"predictions": str(pred) if pred else None}
    if pred is not None:
        methods = _of_files(pred, truth)
    else:
        options = option.PredictorOptions(
            backbone, size=size, zoom=zoom, device=device, local_files_only=local_files_only
        )
        comparison, settings = _comparison(options, student, teacher, proposals or [], features, crf, rivals)
        methods = comparison
    sets = {str(path): (labelled_coco if path.is_file() else labelled_folder)(path, limit) for path in truth}
    # 2. One data set after the other.
    rows = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for name, (count, samples) in sets.items():
            task = bar.add_task(name, total=count)
            rows += evaluate_instances(samples, methods, name, partial(bar.advance, task))
    # 3. The report.
    typer.echo(instances_markdown(rows))
    if json_file is not None:
        with atomic_path(json_file) as temporary:
            report = instances_json(rows, provenance() | settings, PREDICTION if pred else None)
            temporary.write_text(report, encoding="utf-8")


def _of_files(pred: Path, truth: list[Path]) -> Methods:
    """What the files hold; of COCO results, which name images by their ids alone, the truth's file says which they are."""
    from tracedge.export.coco_reader import is_results
    from tracedge.proposals.from_files import find_masks

    known = next((path for path in truth if path.is_file()), None)
    source = find_masks(pred, known if is_results(pred) else None)
    return lambda sample: {PREDICTION: _read(sample, source)}


def _read(sample: LabelledInstances, source: MaskSource) -> Instances:
    return source.read(sample.name, sample.objects.shape)


def _proposed(sample: LabelledInstances, proposer: Proposer) -> Instances:
    assert sample.image is not None  # the comparison asks for it first
    return proposer(sample.image)


def _comparison(
    options: option.PredictorOptions,
    student: str | None,
    teacher: bool,
    proposals: list[str],
    features: str | None,
    crf: bool,
    rivals: bool,
) -> tuple[Comparison, dict[str, object]]:
    """The methods of the table, and what they depend on."""
    from tracedge.evaluation.instance_methods import Comparison, EdgesOf
    from tracedge.proposals.from_features import Proposer
    from tracedge.rivals import canny_edges
    from tracedge.segmentation import SegmentSettings

    found: dict[str, ProposalsOf] = {}
    said: dict[str, object] = {}
    for name in proposals:
        source = proposals_from(name, features, crf, options.device, options.local_files_only)
        if isinstance(source, Proposer):
            found[name] = partial(_proposed, proposer=source)
        elif source is not None:
            found[Path(name).name] = partial(_read, source=source)
        said[name] = source.provenance if source is not None else name
    predictor = option.predictor(options, student=student, teacher=teacher)
    edges: dict[str, EdgesOf] = {"Canny": canny_edges} if rivals else {}
    edges["our"] = lambda image: predictor(image).edges
    settings = SegmentSettings()
    return Comparison(edges, found, settings), {
        "edges": predictor.provenance,
        "proposals": said,
        "segment": asdict(settings),
    }
