"""`tracedge detect train`: photos and their pseudo masks in, a detector out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.images import MAX_PIXELS


def train(
    pseudo: Annotated[
        Path,
        typer.Argument(
            help="What `tracedge segment` or `tracedge panoptic` wrote, or any tool's masks (COCO json, label PNGs, ...)."
        ),
    ],
    images: Annotated[list[str], typer.Option(help="The photos that they are of: folders or files; may be repeated.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where checkpoints and the detector go; a run there is resumed.")
    ],
    config: Annotated[Path | None, typer.Option(help="TOML file of the settings; see configs/detector.toml.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="resnet-18, resnet-50, dino-resnet-50, swin-tiny, -small, -base, -large, a folder or a hub id; or small, "
            "without trained weights. Instead of the config's."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="A detector to go on from: a folder or a hub id (for a round of self-training).")
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out instances of a lower score, 0 to 1.")] = 0.0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read and cut photos; 0: none besides.")] = 0,
    device: option.Device = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """Train Mask2Former on pseudo masks: of any class on instances, panoptic on panoptic maps.

    For many GPUs: accelerate launch -m tracedge detect train ...

    Afterwards: tracedge detect predict PHOTOS --detector OUTPUT/detector -o found
    """
    # 1. Everything that can be checked before a model is loaded.
    import os
    from contextlib import nullcontext

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tracedge.atomic import remove_leftovers
    from tracedge.detector.config import DetectorConfig
    from tracedge.detector.files import read_card, refuse_other_classes
    from tracedge.detector.labels import find_labels
    from tracedge.detector.network import SMALL, backbone_of
    from tracedge.errors import SettingsError
    from tracedge.locking import exclusive
    from tracedge.runs import LOCK
    from tracedge.settings import from_table, of_file, read_toml
    from tracedge.tensors import remove_torn

    table = read_toml(config) if config else {}
    if backbone is not None and start is not None:
        raise SettingsError("a detector that goes on has its backbone: leave --backbone or --start out.")
    with of_file(config):
        settings = from_table(DetectorConfig, table | ({"backbone": backbone} if backbone is not None else {}))
    if settings.backbone != SMALL:
        backbone_of(settings.backbone)
    labels = find_labels(pseudo, images, min_score=min_score, max_pixels=max_pixels)

    from tracedge.backbones.loading import place
    from tracedge.detector import training

    place(device)
    if start is not None:
        refuse_other_classes(read_card(start, local_files_only=local_files_only), labels)

    # 2. Train.
    rank = int(os.environ.get("LOCAL_RANK", "0"))  # which of accelerate's processes this is
    output.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        kind = f"panoptic, {len(labels.categories)} classes" if labels.panoptic else "instances of any class"
        without = f" ({labels.without} photos have no masks)" if labels.without else ""
        typer.echo(f"{len(labels)} photos{without}, {kind}, {settings.steps} steps of {settings.batch}")
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}, {task.fields[rate]:.1f} images/s"),
    )
    alone = exclusive(output / LOCK) if rank == 0 else nullcontext()
    with alone, Progress(*columns, TimeRemainingColumn(), disable=rank > 0) as bar:
        if rank == 0:
            remove_leftovers(output)
            remove_torn(output)
        task = bar.add_task("train", total=settings.steps, loss="-", rate=0.0)

        def show(step: training.Progress) -> None:
            bar.update(task, completed=step.step, loss=f"{step.loss:.2f}", rate=step.images_per_second)

        detector = training.train_detector(
            labels,
            settings,
            output,
            start=start,
            device=device,
            workers=workers,
            local_files_only=local_files_only,
            on_step=show,
        )
    if rank == 0:
        typer.echo(f"{'' if bar.tasks[task].completed else 'already done: '}the detector is in {detector}")
