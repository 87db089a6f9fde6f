"""`tracedge scenes`: draw synthetic scenes with their exact masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    in_one_piece: Annotated[
        bool,
        typer.Option(
            "--in-one-piece", help="Only scenes in which no object is cut in two by another; others are passed over."
        ),
    ] = False,
) -> None:
    """Draw synthetic scenes: images/*.png and masks/*.png (uint16, 0 background, 1..K objects)."""
    from rich.progress import track

    from tracedge.datasets.scenes import SCENE_CATEGORIES
    from tracedge.export.panoptic import write_panoptic

    write = partial(_write_scene, output=output, px=size, in_one_piece=in_one_piece)
    with _mapped(workers) as mapped:
        shown = track(_drawn(write, mapped, seed, count), "drawing", total=count)
        if panoptic:
            maps = ((number, f"{_name(number)}.png", found) for number, found in shown)
            write_panoptic(output / "panoptic.json", maps, SCENE_CATEGORIES)
        else:
            for _ in shown:
                pass
    typer.echo(f"{count} scenes in {output / 'images'}, their masks in {output / 'masks'}")


@contextmanager
def _mapped(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """`map`, in this process or in several."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    if workers == 1:
        yield map
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield partial(pool.map, chunksize=8)


def _drawn(
    write: Callable[[int], PanopticMap | None], mapped: Callable[..., Iterator[Any]], seed: int, count: int
) -> Iterator[tuple[int, PanopticMap]]:
    """Seed and map of as many scenes, the first that are wanted."""
    left = count
    while left:
        seeds = range(seed, seed + left)
        for number, found in zip(seeds, mapped(write, seeds), strict=True):
            if found is not None:
                left -= 1
                yield number, found
        seed = seeds.stop


def _name(seed: int) -> str:
    return f"scene_{seed:07d}"


def _write_scene(seed: int, output: Path, px: int, in_one_piece: bool) -> PanopticMap | None:
    """Writes picture and masks; None for a scene that is passed over."""
    from PIL import Image

    from tracedge.atomic import atomic_path
    from tracedge.datasets.scenes import draw_scene

    scene = draw_scene(seed, px)
    if in_one_piece and not scene.in_one_piece:
        return None
    for kind, picture in (("images", scene.image), ("masks", scene.labels)):
        with atomic_path(output / kind / f"{_name(seed)}.png") as path:
            Image.fromarray(picture).save(path, format="PNG")
    return scene.panoptic
