"""`tracedge pretrain`: train a mini model on folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    images: Annotated[list[Path], typer.Argument(help="Folders of pictures; each folder is drawn from equally often.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where checkpoints and the model go; a run there is resumed.")
    ],
    config: Annotated[Path | None, typer.Option(help="TOML file of the settings; see configs/mini.toml.")] = None,
    device: Annotated[str, typer.Option(help="Where to train: cpu, or a device that torch knows.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves torch's own choice.")] = 0,
) -> None:
    """Train a mini diffusion model on any folders of images (another domain, such as microscopy, starts here).

    Afterwards: tracedge edges PHOTO --backbone OUTPUT/model -o edges
    """
    import torch
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tracedge import pretraining
    from tracedge.atomic import remove_leftovers
    from tracedge.locking import exclusive
    from tracedge.runs import LOCK, find_images
    from tracedge.settings import of_file, read_toml
    from tracedge.tensors import remove_torn

    if threads:
        torch.set_num_threads(threads)
    with of_file(config):
        settings = pretraining.config_from_dict(read_toml(config) if config else {})
    pool = pretraining.ImagePool(
        [[job.source for job in find_images([folder])] for folder in images], settings.store_px
    )
    typer.echo(f"{len(pool)} pictures" + (f"; {len(pool.skipped)} could not be read" if pool.skipped else ""))
    for path, reason in pool.skipped[:5]:
        typer.echo(f"  {path}: {reason}", err=True)

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}, {task.fields[rate]:.1f} images/s"),
    )
    output.mkdir(parents=True, exist_ok=True)
    with exclusive(output / LOCK), Progress(*columns, TimeRemainingColumn()) as bar:
        remove_leftovers(output)
        remove_torn(output)
        task = bar.add_task("pretrain", total=settings.steps, loss="-", rate=0.0)

        def show(step: pretraining.Progress) -> None:
            bar.update(task, completed=step.step, loss=f"{step.loss:.4f}", rate=step.images_per_second)

        model = pretraining.pretrain(pool, settings, output, device=device, on_step=show)
    typer.echo(f"{'' if bar.tasks[task].completed else 'already done: '}the model is in {model}")
