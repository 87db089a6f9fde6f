"""From the options of `evaluate edges` to what is scored side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import PREDICTION
from tracedge.errors import SettingsError
from tracedge.settings import choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tracedge.evaluation.edges import EdgesOf
    from tracedge.rivals import FolderOfEdges
    from tracedge.rivals.zero_shot import ZeroShot
    from tracedge.teacher import EdgeTeacher


@dataclass(frozen=True)
class EdgeMethods:
    """What is scored side by side.

    predictors: by name, in the order of the table. depends_on: the provenance of those that are models, by name. shown: whose
    best and worst photos are shown. thin: whose edges are lines already, without non-maxima that could be suppressed.
    """

    predictors: dict[str, EdgesOf | FolderOfEdges]
    depends_on: dict[str, object]
    shown: str
    thin: list[str]


def edge_methods(
    options: option.PredictorOptions,
    *,
    pred: Path | None,
    rivals: bool,
    student: str | None,
    timesteps: list[float],
    zero_shot: list[str],
) -> EdgeMethods:
    """Predictions from files, the classical rivals, models, and the borders of zero-shot segments.

    Raises:
        SettingsError: options that do not go together, or nothing to score.
        DataError: --pred is no folder.
    """
    from tracedge.rivals import FolderOfEdges, canny_edges, sobel_edges

    predictors: dict[str, EdgesOf | FolderOfEdges] = {}
    if pred is not None:
        predictors[PREDICTION] = FolderOfEdges(pred)
    if rivals:
        predictors |= {"sobel": sobel_edges, "canny": canny_edges}
    segments = zero_shots(zero_shot, options)
    models = _models(options, student, timesteps)
    predictors |= {name: partial(edges_of, model) for name, model in models.items()}
    predictors |= {name: partial(borders_of, method) for name, method in segments.items()}
    if not predictors:
        raise SettingsError("There is nothing to score: give --pred, --backbone or --rival, or leave --no-rivals out.")
    shown = PREDICTION if pred is not None else (*models, *predictors)[0]
    depends_on: dict[str, object] = {name: model.provenance for name, model in {**models, **segments}.items()}
    return EdgeMethods(predictors, depends_on, shown, [name for name in predictors if name in ("canny", *segments)])


def _models(
    options: option.PredictorOptions, student: str | None, timesteps: list[float]
) -> dict[str, option.Predictor]:
    """Those of --backbone and --student, by the names of their rows."""
    from tracedge.student.files import SHIPPED

    models: dict[str, option.Predictor] = {}
    if options.is_vision:
        options.refuse_for_vision(*["--timestep"] * bool(timesteps), *["--student"] * (student is not None))
        models[f"ABDiv, {Path(str(options.backbone)).name}"] = options.build_vision()
    elif options.backbone is not None:
        models |= teachers(options, timesteps)
    elif (
        asked := options.asked_of_the_teacher() + ["--timestep"] * bool(timesteps) + ["--block"] * bool(options.blocks)
    ):
        raise SettingsError(f"{', '.join(asked)} is for a model: give it with --backbone.")
    if student is not None or options.backbone in SHIPPED:
        models["student"] = options.build_student(student)
    return models


def teachers(options: option.PredictorOptions, timesteps: list[float]) -> dict[str, EdgeTeacher]:
    """The teacher at each fixed timestep, and at the step that its rule chooses; they share one model."""
    from tracedge.teacher import EdgeTeacher

    chosen = options.build()
    fixed = {
        f"ABDiv at t = {at:g}": EdgeTeacher(chosen.backbone, settings=replace(chosen.settings, timestep=at))
        for at in timesteps
    }
    return {**fixed, f"IEP + ABDiv ({options.rule})": chosen}


def zero_shots(names: list[str], options: option.PredictorOptions) -> dict[str, ZeroShot]:
    """The zero-shot rivals; they share one model, seen at --size.

    Raises:
        SettingsError: an unknown name.
    """
    from tracedge.rivals import ZERO_SHOT

    for name in names:
        choose("rival", name, dict.fromkeys(ZERO_SHOT))
    if not names:
        return {}
    from tracedge.rivals.zero_shot import zero_shot

    model = option.load(options.backbone or "mini", options.device, options.dtype, options.local_files_only)
    return {name: zero_shot(name, model, px=options.size) for name in names}


def borders_of(rival: ZeroShot, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return rival(image).edges()


def edges_of(predictor: option.Predictor, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return predictor(image).edges
