"""From the options of `evaluate edges` to what is scored side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import PREDICTION
from tracedge.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracedge.evaluation.edges import EdgePredictorLike
    from tracedge.rivals import FolderOfEdges
    from tracedge.rivals.zero_shot import ZeroShot
    from tracedge.student.predictor import EdgePredictor
    from tracedge.teacher import EdgeTeacher


def predictors_from_options(pred: Path | None, rivals: bool) -> dict[str, EdgePredictorLike | FolderOfEdges]:
    """Predictions from files, and the rivals, in the order of the table.

    Raises:
        DataError: --pred is no folder.
    """
    from tracedge.rivals import FolderOfEdges, canny_edges, sobel_edges

    predictors: dict[str, EdgePredictorLike | FolderOfEdges] = {}
    if pred is not None:
        predictors[PREDICTION] = FolderOfEdges(pred)
    if rivals:
        predictors |= {"sobel": sobel_edges, "canny": canny_edges}
    return predictors


def teachers(options: option.PredictorOptions, timesteps: list[float]) -> dict[str, EdgeTeacher]:
    """The teacher at each fixed timestep, and at the step that its rule chooses; they share one model."""
    from tracedge.teacher import EdgeTeacher

    chosen = options.build()
    fixed = {
        f"ABDiv at t = {at:g}": EdgeTeacher(chosen.backbone, settings=replace(chosen.settings, timestep=at))
        for at in timesteps
    }
    return {**fixed, f"IEP + ABDiv ({options.rule})": chosen}


def student_of(options: option.PredictorOptions, name: str | None) -> EdgePredictor:
    """The student, on a backbone of its own: LoRA is merged into it, and the teacher's is to stay as it is.

    name: of --student; None: the one that the package has for the backbone.
    """
    from tracedge.student.predictor import EdgePredictor

    return EdgePredictor.from_pretrained(
        name or str(options.backbone),
        backbone=options.backbone if name is not None else None,
        size=options.size,
        zoom=options.zoom or 1,
        device=options.device,
        dtype=option.torch_dtype(options.dtype),
        local_files_only=options.local_files_only,
    )


def zero_shots(names: list[str], options: option.PredictorOptions) -> dict[str, ZeroShot]:
    """The zero-shot rivals; they share one model, seen at --size.

    Raises:
        SettingsError: an unknown name.
    """
    from tracedge.rivals import ZERO_SHOT

    if unknown := [name for name in names if name not in ZERO_SHOT]:
        raise SettingsError(f"unknown rival {unknown[0]!r}: choose one of {', '.join(ZERO_SHOT)}")
    if not names:
        return {}
    from tracedge.rivals.zero_shot import zero_shot

    model = option.load(options.backbone or "mini", options.device, options.dtype, options.local_files_only)
    return {name: zero_shot(name, model, px=options.size) for name in names}


def borders_of(rival: ZeroShot, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return rival(image).edges()


def edges_of(predictor: option.Predictor, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return predictor(image).edges
