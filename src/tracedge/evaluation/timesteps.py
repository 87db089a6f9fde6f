"""How well the timestep is chosen: each fixed step, each rule, and the best that any choice could reach.

*Regret* is the ODS at the best fixed step of the set minus the ODS at the steps a rule chose, image by image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracedge.emergence import RULES, instance_emergence_point
from tracedge.errors import SettingsError
from tracedge.evaluation.edges import LabelledImages, counts_as_json, counts_from_json, true_boundaries
from tracedge.evaluation.journal import Journal
from tracedge.maps import EdgeMap
from tracedge.metrics.edges import (
    STANDARD,
    EdgeCounts,
    EdgeProtocol,
    EdgeScores,
    edge_scores,
    score_image,
)


@dataclass(frozen=True)
class TimestepRow:
    """One way to choose the step. regret is None for fixed steps and the oracle. mean_timestep: over the images.

    chosen: timestep -> in how many images it was chosen.
    """

    choice: str
    ods: float
    ois: float
    regret: float | None
    mean_timestep: float
    chosen: Mapping[float, int] = field(default_factory=dict)


def evaluate_timesteps(
    dataset: LabelledImages,
    sweep: Callable[[NDArray[np.uint8]], list[EdgeMap]],
    protocol: EdgeProtocol = STANDARD,
    progress: Callable[[int], None] | None = None,
    *,
    journal: Journal | None = None,
    truth: str = "",
) -> list[TimestepRow]:
    """Score the edges of every timestep on every image, and then every rule on the same counts.

    Args:
        dataset: images with truth.
        sweep: image -> its edges at each timestep, with the whole curve (`EdgeTeacher.sweep`).
        protocol: how edges are scored.
        progress: called with the number of images done.
        journal: what an interrupted evaluation has counted, and where this one writes what it counts.
        truth: the name of the data set in the journal.

    Returns:
        A row for each fixed step, then for each rule of `tracedge.emergence.RULES`, then "per-image best": the step
        with the best F of each image, which knows the truth.

    Raises:
        SettingsError: an empty data set.
    """
    journal = journal or Journal(None, {})
    for done, sample in enumerate(dataset, start=1):
        if journal.get(truth, sample.stem) is None:
            borders = true_boundaries(sample)
            maps = sweep(sample.image)
            counted = [counts_as_json(score_image(found.edges, borders, sample.ignore, protocol)) for found in maps]
            journal.put([maps[0].timesteps, maps[0].divergences, counted], truth, sample.stem)
        if progress is not None:
            progress(done)
    images = [found for _, found in journal.items(truth)]
    if not images:
        raise SettingsError("there is no image to evaluate")
    counts = [[counts_from_json(protocol, plain) for plain in counted] for _, _, counted in images]
    timesteps: Sequence[float] = images[0][0]
    fixed = [_row(f"t = {t:g}", counts, [i] * len(counts), timesteps) for i, t in enumerate(timesteps)]
    best = max(row.ods for row in fixed)
    rows = list(fixed)
    for rule in RULES:
        chosen = [instance_emergence_point(steps, curve, rule).index for steps, curve, _ in images]
        rows.append(_row(f"rule {rule}", counts, chosen, timesteps, best))
    oracle = [
        max(range(len(timesteps)), key=[_best_f(part, protocol) for part in image].__getitem__) for image in counts
    ]
    return [*rows, _row("per-image best", counts, oracle, timesteps)]


def _best_f(counts: EdgeCounts, protocol: EdgeProtocol) -> float:
    scores = EdgeScores(protocol)
    scores.add(counts)
    return scores.compute().ois


def _row(
    choice: str,
    counts: Sequence[Sequence[EdgeCounts]],
    chosen: Sequence[int],
    timesteps: Sequence[float],
    best: float | None = None,
) -> TimestepRow:
    figures = edge_scores(image[index] for image, index in zip(counts, chosen, strict=True))
    mean = sum(timesteps[index] for index in chosen) / len(chosen)
    times = dict(sorted(Counter(timesteps[index] for index in chosen).items()))
    return TimestepRow(choice, figures.ods, figures.ois, None if best is None else best - figures.ods, mean, times)


def timesteps_markdown(rows: Iterable[TimestepRow]) -> str:
    """The rows as a Markdown table."""
    lines = ["| step | ODS | OIS | regret | mean t |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        regret = "" if row.regret is None else f"{row.regret:+.3f}"
        lines.append(f"| {row.choice} | {row.ods:.3f} | {row.ois:.3f} | {regret} | {row.mean_timestep:.0f} |")
    return "\n".join(lines) + "\n"
