"""`tracedge scenes`: draw synthetic scenes with their exact masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def scenes(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write images/ and masks/ into.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first scene; from 1000000 on they are never trained on.")
    ] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many: seeds seed, seed + 1, ...")] = 16,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Side of a scene in pixels.")] = 256,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
) -> None:
    """Draw synthetic scenes: images/*.png and masks/*.png (uint16, 0 background, 1..K objects)."""
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial
    from multiprocessing import get_context

    from rich.progress import track

    write = partial(_write_scene, output=output, px=size)
    if workers == 1:
        for one in track(range(seed, seed + count), description="drawing"):
            write(one)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in track(pool.map(write, range(seed, seed + count), chunksize=8), "drawing", total=count):
                pass
    typer.echo(f"{count} scenes in {output / 'images'}, their masks in {output / 'masks'}")


def _write_scene(seed: int, output: Path, px: int) -> None:
    from PIL import Image

    from tracedge.atomic import atomic_path
    from tracedge.datasets.scenes import draw_scene

    scene = draw_scene(seed, px)
    for kind, picture in (("images", scene.image), ("masks", scene.labels)):
        with atomic_path(output / kind / f"scene_{seed:07d}.png") as path:
            Image.fromarray(picture).save(path, format="PNG")
