"""How the rows of a recipe are measured in one place: label -> column -> figure, in the paper's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch

from tracedge.evaluation.bench import Scene
from tracedge.evaluation.edges import EdgeRow, evaluate_edges
from tracedge.evaluation.instance_methods import Comparison, Method
from tracedge.evaluation.instances import evaluate_instances, labelled_set
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.reproduction.models import Models
from tracedge.evaluation.reproduction.panoptic import measure_panoptic
from tracedge.evaluation.reproduction.places import Place
from tracedge.evaluation.reproduction.recipe import STRAIGHT, EdgeSource, Row
from tracedge.evaluation.reproduction.request import Request
from tracedge.evaluation.timesteps import evaluate_timesteps
from tracedge.evaluation.timing import timed
from tracedge.metrics.edges import EdgeProtocol
from tracedge.student.predictor import EdgePredictor
from tracedge.teacher import EdgeTeacher
from tracedge.walk import walk_device

MS = "scene/ms"
"""The journal's place of times: no folder's name holds a slash."""


@dataclass(frozen=True)
class Bench:
    """What a measure has: the rows that can be run in a place, the models, and what an interrupted run has counted.

    on_step: called after each step with the number of steps done.
    """

    request: Request
    place: Place
    rows: tuple[Row, ...]
    models: Models
    journal: Journal
    on_step: Callable[[int], None]


@dataclass(frozen=True)
class Measured:
    """figures: label -> column -> figure, None where there is nothing to score. details: what fits no table, by what it is."""

    figures: Mapping[str, Mapping[str, float | None]]
    details: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def measure_edges(bench: Bench) -> Measured:
    """ODS, OIS and clDice, and precision and recall at the threshold of ODS."""
    predictors = {row.label: bench.models.edges(_source(row), bench.place.key) for row in bench.rows}
    found = evaluate_edges(
        bench.place.samples(),
        predictors,
        EdgeProtocol(bench.request.scale.thresholds),
        bench.request.workers,
        lambda done, _: bench.on_step(done),
        journal=bench.journal,
        truth=bench.place.key,
    )
    return Measured({row.name: _of_edges(row) for row in found})


def measure_instances(bench: Bench) -> Measured:
    """AP and AR100 in per cent, with edges alone too where a column asks for it, and how many masks there were."""
    methods = _methods(bench)
    done = iter(range(1, len(bench.place.names) + 1))
    found = evaluate_instances(
        labelled_set(bench.place.samples()),
        lambda: methods,
        bench.place.key if not bench.request.recipe.one_by_one else f"{bench.place.key}/{bench.rows[0].label}",
        lambda: bench.on_step(next(done)),
        journal=bench.journal,
    )
    by_name = {row.name: row.figures for row in found}
    figures = {}
    for label in (row.label for row in bench.rows):
        theirs, alone = by_name[label], by_name.get(_straight(label))
        figures[label] = {"AP": _percent(theirs.ap), "AR100": _percent(theirs.ar100)}
        figures[label][STRAIGHT] = None if alone is None else _percent(alone.ap)
    counts = {"objects": found[0].figures.objects}
    return Measured(figures, {"masks": counts | {name: theirs.predictions for name, theirs in by_name.items()}})


def measure_criteria(bench: Bench) -> Measured:
    """The same, and the milliseconds of the teacher with each criterion."""
    masks = measure_instances(bench)
    found: dict[str, Mapping[str, float | None]] = {}
    for row in bench.rows:
        teacher = bench.models.predictor(_source(row))
        found[row.label] = {
            **masks.figures[row.label],
            "ms": _milliseconds(bench, row, partial(teacher, _scene(bench).image)),
        }
    return Measured(found, masks.details)


def measure_decoder_size(bench: Bench) -> Measured:
    """The same as instances, and the decoder's parameters in 10^6 bytes."""
    masks = measure_instances(bench)
    found: dict[str, Mapping[str, float | None]] = {}
    for row in bench.rows:
        student = bench.models.predictor(_source(row))
        assert isinstance(student, EdgePredictor)
        parameters = student.student.decoder.parameters()
        found[row.label] = {
            **masks.figures[row.label],
            "MB": sum(each.numel() * each.element_size() for each in parameters) / 1e6,
        }
    return Measured(found, masks.details)


def measure_timesteps(bench: Bench) -> Measured:
    """ODS and regret of each way to choose the step, and in how many images it chose which."""
    teacher = bench.models.predictor(EdgeSource("teacher"))
    assert isinstance(teacher, EdgeTeacher)
    rows = evaluate_timesteps(
        bench.place.samples(),
        teacher.sweep,
        EdgeProtocol(bench.request.scale.thresholds),
        bench.on_step,
        journal=bench.journal,
        truth=bench.place.key,
    )
    by_choice = {row.choice: row for row in rows}
    figures, chosen = {}, {}
    for row in bench.rows:
        theirs = by_choice[str(row.choice)]
        figures[row.label] = {"ODS": theirs.ods, "regret": theirs.regret, "mean t": theirs.mean_timestep}
        chosen[row.label] = {f"{timestep:g}": count for timestep, count in theirs.chosen.items()}
    fixed = {row.choice: row.ods for row in rows if row.choice.startswith("t = ")}
    return Measured(figures, {"images at each step": chosen, "ODS at each fixed step": fixed})


def measure_cost(bench: Bench) -> Measured:
    """Milliseconds of an image of the model's own size, and how many times as fast as the teacher as it is written."""
    times: dict[str, float] = {}
    for done, row in enumerate(bench.rows, start=1):
        times[row.label] = _milliseconds(bench, row, _computation(bench, str(row.computed)))
        bench.on_step(done)
    plain = next((times[row.label] for row in bench.rows if row.computed == "plain teacher"), None)
    return Measured(
        {name: {"ms": ms, "times as fast": plain / ms if plain is not None else None} for name, ms in times.items()}
    )


MEASURES: dict[str, Callable[[Bench], Measured]] = {
    "edges": measure_edges,
    "instances": measure_instances,
    "criteria": measure_criteria,
    "decoder size": measure_decoder_size,
    "timesteps": measure_timesteps,
    "cost": measure_cost,
    "panoptic": lambda bench: Measured(*measure_panoptic(bench)),
}
"""What `Recipe.measure` names."""


def _methods(bench: Bench) -> Comparison[EdgeSource]:
    """The rows, and where a column asks for it each row's edges alone; what rows share is made once an image."""
    key, models, device = bench.place.key, bench.models, bench.request.device or "cpu"
    methods = [Method(row.label, row.edges, _given(row)) for row in bench.rows]
    if STRAIGHT in bench.request.recipe.columns:
        methods += [Method(_straight(row.label), row.edges, None) for row in bench.rows if row.edges is not None]
    sources = dict.fromkeys(method.edges for method in methods if method.edges is not None)
    names = dict.fromkeys(method.proposals for method in methods if method.proposals is not None)
    return Comparison(
        tuple(methods),
        {source: models.edges(source, key) for source in sources},
        {name: models.proposals(name, key) for name in names},
        device=walk_device(torch.device(device)),
    )


def _given(row: Row) -> str | None:
    """The proposals of a row; None for masks straight from its edges."""
    return None if row.proposals == "edges" else row.proposals


def _straight(label: str) -> str:
    return f"{label}, straight"


def _of_edges(row: EdgeRow) -> dict[str, float | None]:
    at = EdgeProtocol(row.thresholds).nearest(row.ods_threshold)
    scores = {"ODS": row.ods, "OIS": row.ois, "clDice": row.cldice}
    return {**scores, "precision": row.precision[at], "recall": row.recall[at]}


def _source(row: Row) -> EdgeSource:
    assert row.edges is not None
    return row.edges


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _milliseconds(bench: Bench, row: Row, compute: Callable[[], object]) -> float:
    """The median time, or the one that an interrupted run has measured."""
    known = bench.journal.get(MS, row.label)
    if known is None:
        device = bench.models.predictor(EdgeSource("teacher")).device
        known = timed(compute, device, bench.request.scale.repeats).milliseconds
        bench.journal.put(known, MS, row.label)
    return float(known)


def _scene(bench: Bench) -> Scene:
    """A picture of the size that the model sees."""
    teacher = bench.models.predictor(EdgeSource("teacher"))
    assert isinstance(teacher, EdgeTeacher)
    return Scene(teacher)


def _computation(bench: Bench, what: str) -> Callable[[], object]:
    scene = _scene(bench)
    return scene.plain if what == "plain teacher" else partial(bench.models.predictor(EdgeSource(what)), scene.image)
