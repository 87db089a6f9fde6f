"""How the rows of a table of panoptic segments are measured: from the maps that `--files` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tracedge.datasets.samples import PanopticSamples
from tracedge.evaluation.panoptic import evaluate_panoptic
from tracedge.evaluation.panoptic_predictions import find_predictions
from tracedge.evaluation.panoptic_sets import panoptic_set

if TYPE_CHECKING:
    from tracedge.evaluation.reproduction.measures import Bench

Figures = Mapping[str, Mapping[str, float | None]]


def measure_panoptic(bench: Bench) -> tuple[Figures, Mapping[str, Mapping[str, object]]]:
    """PQ of all, of things and of stuff, SQ and RQ, in per cent; and how many classes there were."""
    truth, key = bench.place.samples(), bench.place.key
    assert isinstance(truth, PanopticSamples)
    labelled = panoptic_set(truth)
    predictors = {}
    for row in bench.rows:
        path = bench.request.file(str(row.segments), key)
        assert path is not None  # or the row would lack it
        predictors[row.label] = find_predictions(path, labelled)
    done = iter(range(1, len(truth) + 1))
    scored = evaluate_panoptic(
        labelled,
        predictors,
        key,
        lambda: bench.on_step(next(done)),
        workers=bench.request.workers,
        journal=bench.journal,
    )
    figures: dict[str, Mapping[str, float | None]] = {}
    for each in scored:
        found = each.figures
        scores = {"PQ": found.all.pq, "PQ things": found.things.pq, "PQ stuff": found.stuff.pq}
        scores |= {"SQ": found.all.sq, "RQ": found.all.rq}
        figures[each.name] = {name: None if value is None else 100 * value for name, value in scores.items()}
    return figures, {"classes": {each.name: each.figures.all.classes for each in scored}}
