"""`tracedge semantic`: photos and their tags in, the class of each pixel out, as `tracedge panoptic` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli import tag_options as tag
from tracedge.cli.progress import PhotoBar, finish
from tracedge.cli.semantic_options import NamesMapping
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np

    from tracedge.semantics.from_tags import ClassScores

PNG, NPZ, NAMES = "classes/.png", "scores/.npz", "names.json"
OVERLAY = ".classes.overlay.png"


class _Photo(NamedTuple):
    image: np.ndarray
    tags: tuple[int, ...]


def semantic(
    paths: Annotated[list[str], typer.Argument(help="Photos, folders (walked through) or quoted globs.")],
    tags: Annotated[
        str,
        typer.Option(
            help="What there is: a JSON file (photo: list of class names, or COCO annotations), a folder of VOC's XML, or names "
            "with commas for all photos: cat,dog."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for classes/<stem>.png, scores/<stem>.npz, names.json.")
    ],
    classes: Annotated[
        str, typer.Option(help="What tags may be: coco (133 panoptic categories), voc, or a JSON file of class names.")
    ] = "coco",
    mapping: NamesMapping = None,
    clip: tag.Clip = tag.CLIP,
    clip_size: tag.ClipSize = tag.CLIP_SIZE,
    background: tag.Background = None,
    steps: tag.Steps = tag.STEPS,
    sharpness: tag.Sharpness = tag.SHARPNESS,
    crf: tag.Crf = tag.CRF,
    backbone: option.BackboneOrNone = None,
    size: option.Size = None,
    overlay: option.Overlay = False,
    force: option.Force = False,
    retry_failed: option.RetryFailed = False,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """The class of each pixel from tags alone, untrained: CLIP's or SigLIP's similarity, refined by attention and a CRF.

    This is not DHR, the method behind the paper's panoptic figures; give `tracedge panoptic` DHR's masks where you have them. It
    was not measured with published weights of CLIP or SigLIP: none could be had (docs/experiments.md has what was measured).

    A rerun skips what is done. Exit codes: 0 all done, 1 some photos failed, 2 wrong use.
    """
    from tracedge.export.semantic import write_class_names
    from tracedge.images import load_image
    from tracedge.runs import FolderRun, find_images
    from tracedge.semantics.classes import read_categories, read_mapping
    from tracedge.semantics.refine import RefineSettings
    from tracedge.semantics.tags import read_tags

    # 1. Check everything that can be checked before a model is loaded.
    categories = read_categories(classes)
    known = read_tags(tags, categories, read_mapping(mapping) if mapping is not None else None)
    jobs = find_images(paths, output=output)
    stems = {job.source: str(job.relative) for job in jobs}
    known.require_any(stems.values())
    settings = RefineSettings(steps=steps, sharpness=sharpness, crf=crf)
    options = option.PredictorOptions(
        backbone=backbone, size=size, device=device, dtype=dtype, local_files_only=local_files_only
    )

    # 2. The models; what the classes depend on is what the run depends on.
    scorer = tag.classes_from_tags(clip, options, categories, settings, clip_size=clip_size, background=background)
    names = {one.id: one.name for one in categories}
    provenance = scorer.provenance | {
        "tags": known.provenance,
        "classes": {str(one.id): one.name for one in categories},
    }

    def load(path: Path) -> _Photo:
        return _Photo(load_image(path, max_pixels=max_pixels), known.of(stems[path]))

    # 3. Run, and say what the values are called.
    with (
        FolderRun(output, provenance, (PNG, NPZ, *[OVERLAY] * overlay), force=force, retry_failed=retry_failed) as run,
        PhotoBar(len(jobs)) as bar,
    ):
        write_class_names(output / NAMES, names)
        summary = run.process(
            jobs,
            load,
            lambda photos: [(photo.image, scorer(*photo)) for photo in photos],
            _write,
            on_progress=bar.step,
        )
    # 4. Say what became of it.
    finish(summary, output)


def _write(result: tuple[np.ndarray, ClassScores], paths: Mapping[str, Path]) -> dict[str, object]:
    """One image's files; the values of both are category ids, 255 where no category is meant."""
    import numpy as np

    from tracedge.export.png import write_png8
    from tracedge.export.semantic import UNKNOWN_VALUE, write_classes, write_scores
    from tracedge.visualize import semantic_overlay

    def values(numbers: np.ndarray) -> np.ndarray:
        return np.where(numbers < 0, UNKNOWN_VALUE, numbers).astype(np.uint8)

    image, found = result
    best = found.semantic_map()
    write_classes(paths[PNG], values(best.classes))
    write_scores(paths[NPZ], values(found.categories), found.scores)
    if OVERLAY in paths:
        write_png8(paths[OVERLAY], semantic_overlay(image, best))
    return {"classes": list(best.present)}
