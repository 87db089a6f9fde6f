"""`tracedge scenes`: draw synthetic scenes with their exact masks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tracedge.panoptic_map import PanopticMap


def scenes(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write images/ and masks/ into.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first scene; from 1000000 on they are never trained on.")
    ] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many: seeds seed, seed + 1, ...")] = 16,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Side of a scene in pixels.")] = 256,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
    panoptic: Annotated[
        bool, typer.Option("--panoptic", help="Also panoptic/ and panoptic.json: kinds of objects, and the ground.")
    ] = False,
) -> None:
    """Draw synthetic scenes: images/*.png and masks/*.png (uint16, 0 background, 1..K objects)."""
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial
    from multiprocessing import get_context

    from rich.progress import track

    from tracedge.datasets.scenes import SCENE_CATEGORIES
    from tracedge.export.panoptic import write_panoptic

    write = partial(_write_scene, output=output, px=size)
    seeds = range(seed, seed + count)
    with ExitStack() as stack:
        drawn: Iterable[PanopticMap]
        if workers == 1:
            drawn = map(write, seeds)
        else:
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
            drawn = pool.map(write, seeds, chunksize=8)
        shown = track(zip(seeds, drawn, strict=True), "drawing", total=count)
        if panoptic:
            maps = ((number, f"{_name(number)}.png", found) for number, found in shown)
            write_panoptic(output / "panoptic.json", maps, SCENE_CATEGORIES)
        else:
            for _ in shown:
                pass
    typer.echo(f"{count} scenes in {output / 'images'}, their masks in {output / 'masks'}")


def _name(seed: int) -> str:
    return f"scene_{seed:07d}"


def _write_scene(seed: int, output: Path, px: int) -> PanopticMap:
    from PIL import Image

    from tracedge.atomic import atomic_path
    from tracedge.datasets.scenes import draw_scene

    scene = draw_scene(seed, px)
    for kind, picture in (("images", scene.image), ("masks", scene.labels)):
        with atomic_path(output / kind / f"{_name(seed)}.png") as path:
            Image.fromarray(picture).save(path, format="PNG")
    return scene.panoptic
