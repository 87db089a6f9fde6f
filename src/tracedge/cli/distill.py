"""`tracedge distill`: pseudo labels in, a one-step student out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import dataset_options as data
from tracedge.cli import predictor_options as option

if TYPE_CHECKING:
    from tracedge.student.predictor import EdgePredictor


def distill(
    pseudo: Annotated[
        list[Path], typer.Argument(help="Folders that `tracedge teach` wrote; each is drawn from equally often.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where checkpoints and the student go; a run there is resumed.")
    ],
    backbone: option.Backbone = "mini",
    start: Annotated[
        str | None, typer.Option(help="A student to go on from, for your own pictures: mini, a folder or a hub id.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of the settings; see configs/distill.toml.")] = None,
    validate: Annotated[
        Path | None, typer.Option(help=f"Score the student at every checkpoint (ODS, OIS, clDice) on {data.LAYOUTS}.")
    ] = None,
    validate_limit: Annotated[int, typer.Option(min=1, help="How many images of --validate at most.")] = 16,
    split: data.Split = None,
    ids: data.Ids = None,
    sample: data.SampleSize = None,
    sample_seed: data.SampleSeed = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard (extra: train).")
    ] = False,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
) -> None:
    """Distil the teacher's edges into LoRA weights and an edge decoder. For many GPUs: accelerate launch -m tracedge distill ...

    Afterwards: tracedge edges PHOTO --student OUTPUT/student -o edges
    """
    # 1. Everything that can be checked before a model is loaded.
    import os
    from contextlib import nullcontext

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tracedge.atomic import remove_leftovers
    from tracedge.locking import exclusive
    from tracedge.runs import LOCK
    from tracedge.settings import from_table, of_file, read_toml
    from tracedge.student import training
    from tracedge.student.config import DistillConfig
    from tracedge.student.files import find_student, read_student
    from tracedge.student.pseudo_labels import PseudoLabels
    from tracedge.tensors import remove_torn

    rank = int(os.environ.get("LOCAL_RANK", "0"))  # which of accelerate's processes this is
    with of_file(config):
        settings = from_table(DistillConfig, read_toml(config) if config else {})
    labels = [PseudoLabels(folder) for folder in pseudo]
    first = find_student(start, local_files_only=local_files_only) if start is not None else None
    if first is not None:
        read_student(first)  # what is no student is said before a model is loaded
    chosen = data.DatasetOptions(split=split, ids=ids, sample=sample, sample_seed=sample_seed, limit=validate_limit)
    check = _validation(validate, chosen)
    output.mkdir(parents=True, exist_ok=True)
    log = _scalars(output) if tensorboard and rank == 0 else None

    # 2. Train.
    model = option.load(backbone, device or _own_gpu(rank), dtype, local_files_only)
    if rank == 0:
        typer.echo(
            f"{sum(map(len, labels))} pseudo labels, {model.name} at {settings.px} px, LoRA of rank {settings.rank}"
        )
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[losses]}, {task.fields[rate]:.1f} images/s"))
    alone = exclusive(output / LOCK) if rank == 0 else nullcontext()
    with alone, Progress(*columns, TimeRemainingColumn(), disable=rank > 0) as bar:
        if rank == 0:
            remove_leftovers(output)
            remove_torn(output)
        task = bar.add_task("distill", total=settings.steps, losses="starting", rate=0.0)

        def show(step: training.Progress) -> None:
            text = ", ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
            bar.update(task, completed=step.step, losses=text, rate=step.images_per_second)
            if log is not None:
                log(step.step, dict(step.losses))

        def score(step: int, student: EdgePredictor) -> Mapping[str, float]:
            assert check is not None
            figures = check(student)
            bar.console.print(f"step {step}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
            if log is not None:
                log(step, figures)
            return figures

        student = training.distill(
            labels,
            model,
            settings,
            output,
            start=first,
            on_step=show,
            on_checkpoint=score if check is not None else None,
        )
    if rank == 0:
        typer.echo(f"{'' if bar.tasks[task].completed else 'already done: '}the student is in {student}")


def _own_gpu(rank: int) -> str | None:
    """The GPU of one of several processes; None leaves the choice as it is for one."""
    import torch

    return f"cuda:{rank}" if torch.cuda.is_available() and torch.cuda.device_count() > 1 else None


def _validation(path: Path | None, chosen: data.DatasetOptions) -> Callable[[EdgePredictor], dict[str, float]] | None:
    """Scores a student; the data set is looked at now, so that a wrong one is said before the training."""
    from tracedge.errors import SettingsError
    from tracedge.evaluation.edges import evaluate_edges, protocol_for

    if path is None:
        if chosen.split is not None or chosen.ids is not None or chosen.sample is not None:
            raise SettingsError("--split, --ids and --sample choose images to validate on: give --validate")
        return None
    opened = chosen.open(path)
    dataset, protocol = opened.edges(), protocol_for(opened.layout, 19)

    def scores(student: EdgePredictor) -> dict[str, float]:
        (row,) = evaluate_edges(dataset, {"student": lambda image: student(image).edges}, protocol, workers=1)
        return {"ODS": row.ods, "OIS": row.ois, "clDice": row.cldice}

    return scores


def _scalars(output: Path) -> Callable[[int, Mapping[str, float]], None]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        from tracedge.errors import MissingExtraError

        raise MissingExtraError("--tensorboard needs one more package: pip install 'tracedge[train]'") from error
    writer = SummaryWriter(output / "tensorboard")

    def log(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log
