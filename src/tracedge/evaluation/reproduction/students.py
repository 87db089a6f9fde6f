"""Students of seconds, to see that a comparison of decoders runs from labels to scores; they are no students to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from tracedge.atomic import atomic_path
from tracedge.backbones import load_backbone
from tracedge.backbones.protocol import Backbone
from tracedge.datasets.scenes import draw_scene
from tracedge.evaluation.reproduction.recipe import EdgeSource
from tracedge.evaluation.reproduction.request import Request
from tracedge.export.png import write_png8, write_png16
from tracedge.maps import EdgeMap
from tracedge.runs import FolderRun, find_images
from tracedge.student.config import DistillConfig
from tracedge.student.pseudo_labels import EDGES, IMAGE, PseudoLabels, load_at
from tracedge.student.training import distill
from tracedge.teacher import EdgeTeacher

_DETAIL = 2


def distilled(request: Request, backbone: Callable[[str], Backbone], source: EdgeSource) -> Path:
    """A student without LoRA after `request.scale.steps` steps, on a drawn scene for each ten of them: its folder.

    What an interrupted run has taught and trained is gone on from.
    """
    # 1. Scenes that the model may have seen: these are not what is scored.
    size, steps = request.scale.size or backbone(request.model).px, request.scale.steps
    folder = request.output / f"distilled-{steps}"
    photos, labels = folder / "images", folder / ("labels" if source.snap else "labels-as-they-are")
    for seed in range(max(steps // 10, 2)):
        with atomic_path(photos / f"scene_{seed}.png") as path:
            write_png8(path, draw_scene(seed, _DETAIL * size).image)

    # 2. The teacher's labels.
    teacher = EdgeTeacher(
        backbone(request.model), stride=request.scale.stride, size=size, zoom=1, snap=source.snap, timestep=0
    )
    settings = teacher.provenance | {"taught_px": _DETAIL * size}
    with FolderRun(labels, settings, (IMAGE, EDGES)) as run:
        run.process(
            find_images([str(photos)], output=labels),
            partial(load_at, px=_DETAIL * size, max_pixels=2**24),
            lambda batch: [(photo, found) for photo, found in zip(batch, teacher(batch), strict=True)],
            _write,
        )

    # 3. The decoder.
    model = load_backbone(request.model, device=request.device, local_files_only=True)  # distillation changes it
    config = DistillConfig(
        px=size // 2,
        detail=_DETAIL,
        rule=source.labels or "ridges",
        rank=0,
        width=source.width or 32,
        steps=steps,
        batch=2,
        warmup=5,
        reconstruction=0.0,
        cross_entropy=1.0,
        dice=0.5,
    )
    return distill([PseudoLabels(labels)], model, config, folder / str(source.variant))


def _write(result: tuple[np.ndarray, EdgeMap], paths: Mapping[str, Path]) -> None:
    image, found = result
    write_png8(paths[IMAGE], image)
    write_png16(paths[EDGES], found.edges)
