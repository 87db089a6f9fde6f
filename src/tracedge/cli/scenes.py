"""`tracedge scenes`: draw synthetic scenes with their exact masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.panoptic_folder import FILE, maps_of
from tracedge.cli.progress import PhotoBar, finish

if TYPE_CHECKING:
    from tracedge.runs import FolderRun


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
    force: option.Force = False,
) -> None:
    """Draw synthetic scenes: images/*.png and masks/*.png (uint16, 0 background, 1..K objects).

    A rerun skips what is done; other seeds join those that stand there. Exit codes: 0 all done, 1 some failed, 2 wrong use.
    """
    from tracedge.datasets import scene_files
    from tracedge.evaluation.processes import in_order
    from tracedge.runs import FolderRun

    # 1. Which scenes, and what they depend on besides the seed.
    outputs = [scene_files.IMAGE, scene_files.MASKS] + [scene_files.PANOPTIC] * panoptic
    settings = {"scenes": {"px": size, "in_one_piece": in_one_piece}}
    gathered = (FILE,) if panoptic or (output / FILE).exists() else ()
    with FolderRun(output, settings, outputs, force=force, gathered=gathered) as run:
        seeds = _in_one_piece(seed, count, size, workers) if in_one_piece else list(range(seed, seed + count))
        done = {scene_files.seed_of(line["file"]) for line in run.finished(outputs)}
        left = [each for each in seeds if each not in done]
        drawn = in_order(partial(scene_files.draw, px=size), left, workers)

        # 2. Draw them, a few ahead of those that are written.
        def load(wanted: int) -> scene_files.DrawnScene:
            ahead = next((scene for scene in drawn if scene.seed == wanted), None)
            return ahead or scene_files.draw(wanted, size)

        with PhotoBar(count) as bar:
            tasks = [scene_files.SceneTask(each) for each in seeds]
            summary = run.process(tasks, load, list, scene_files.write, on_progress=bar.step)

        # 3. One file of all that stand in the folder.
        if gathered:
            _gather(run)
    finish(summary, output, done="drawn")


def _in_one_piece(seed: int, wanted: int, px: int, workers: int) -> list[int]:
    """The first so many seeds from `seed` on whose scenes are in one piece; each is drawn to see that."""
    from itertools import count, islice

    from tracedge.datasets.scene_files import seed_if_in_one_piece
    from tracedge.evaluation.processes import in_order

    looked_at = in_order(partial(seed_if_in_one_piece, px=px), count(seed), workers)
    return list(islice((found for found in looked_at if found is not None), wanted))


def _gather(run: FolderRun) -> None:
    from tracedge.datasets.scene_files import PANOPTIC, seed_of
    from tracedge.datasets.scenes import SCENE_CATEGORIES
    from tracedge.export.panoptic import write_panoptic

    maps = ((seed_of(file), file, found) for file, found in maps_of(run, PANOPTIC))
    write_panoptic(run.output / FILE, maps, SCENE_CATEGORIES, pngs=False)
