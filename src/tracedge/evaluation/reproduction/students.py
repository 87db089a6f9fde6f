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
from tracedge.evaluation.reproduction.request import Request
from tracedge.export.png import write_png8, write_png16
from tracedge.maps import EdgeMap
from tracedge.runs import FolderRun, find_images
from tracedge.student.config import DistillConfig
from tracedge.student.pseudo_labels import EDGES, IMAGE, PseudoLabels, load_at
from tracedge.student.training import distill
from tracedge.teacher import EdgeTeacher

_SCENES = 8
_DETAIL = 2


def distilled(request: Request, backbone: Callable[[str], Backbone], width: int) -> Path:
    """A decoder of this width, without LoRA, after `request.scale.steps` steps on eight drawn scenes: the folder of the student.

    What an interrupted run has taught and trained is gone on from.
    """
    # 1. Scenes that the model may have seen: these are not what is scored.
    size = request.scale.size or backbone(request.model).px
    photos, labels = request.output / "distilled" / "images", request.output / "distilled" / f"labels-{size}"
    for seed in range(_SCENES):
        with atomic_path(photos / f"scene_{seed}.png") as path:
            write_png8(path, draw_scene(seed, _DETAIL * size).image)

    # 2. The teacher's labels.
    teacher = EdgeTeacher(backbone(request.model), stride=request.scale.stride, size=size, zoom=1)
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
        rank=0,
        width=width,
        steps=request.scale.steps,
        batch=2,
        warmup=5,
        reconstruction=0.0,
        cross_entropy=1.0,
        dice=0.5,
    )
    return distill([PseudoLabels(labels)], model, config, request.output / "distilled" / f"width-{width}")


def _write(result: tuple[np.ndarray, EdgeMap], paths: Mapping[str, Path]) -> None:
    image, found = result
    write_png8(paths[IMAGE], image)
    write_png16(paths[EDGES], found.edges)
