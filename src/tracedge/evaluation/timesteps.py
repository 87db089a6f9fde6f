"""How well the timestep is chosen: each fixed step, each rule, and the best that any choice could reach.

*Regret* is the ODS at the best fixed step of the set minus the ODS at the steps a rule chose, image by image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.emergence import RULES, instance_emergence_point
from tracedge.errors import SettingsError
from tracedge.evaluation.edges import LabelledImage, LabelledImages, counts_as_json, counts_from_json, true_boundaries
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.naming import naming, refuse_doubles
from tracedge.maps import EdgeMap
from tracedge.metrics.edges import STANDARD, EdgeCounts, EdgeProtocol, EdgeScores, score_image


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
        DataError: two images of one name.
        RunError: an image failed; or photo or truth of one that the journal has are not what they were.
    """
    refuse_doubles((sample.name for sample in dataset), truth)
    journal, sums = journal or Journal(None, {}), _Sums(protocol)
    for done, sample in enumerate(dataset, start=1):
        with naming(sample.name, "reading its truth"):
            of = sample.fingerprint if journal.lasts else None
        counted = journal.get(truth, sample.name, of=of)
        if counted is None:
            with naming(sample.name, "edges at each timestep"):
                counted = _counted(sample, sweep, protocol)
            if journal.lasts:
                journal.put(counted, truth, sample.name, of=of)
        sums.add(*counted)
        if progress is not None:
            progress(done)
    return sums.rows()


def _counted(
    sample: LabelledImage, sweep: Callable[[NDArray[np.uint8]], list[EdgeMap]], protocol: EdgeProtocol
) -> list[Any]:
    """The timesteps, the curve and the counts at each, of JSON's types."""
    borders, maps = true_boundaries(sample), sweep(sample.image)
    counts = [counts_as_json(score_image(found.edges, borders, sample.ignore, protocol)) for found in maps]
    return [maps[0].timesteps, maps[0].divergences, counts]


class _Way:
    """One way to choose the step: the counts of all images at the steps that it chose."""

    def __init__(self, protocol: EdgeProtocol) -> None:
        self._scores, self._chosen = EdgeScores(protocol), Counter[float]()

    def add(self, counts: EdgeCounts, timestep: float) -> None:
        self._scores.add(counts)
        self._chosen[timestep] += 1

    def row(self, choice: str, best: float | None = None) -> TimestepRow:
        figures, chosen = self._scores.compute(), dict(sorted(self._chosen.items()))
        mean = sum(timestep * count for timestep, count in chosen.items()) / figures.images
        return TimestepRow(choice, figures.ods, figures.ois, None if best is None else best - figures.ods, mean, chosen)


class _Sums:
    """All ways at once, image after image, of which nothing is kept but sums."""

    def __init__(self, protocol: EdgeProtocol) -> None:
        self._protocol = protocol
        self._fixed: list[_Way] = []
        self._timesteps: Sequence[float] = ()
        self._rules = {rule: _Way(protocol) for rule in RULES}
        self._oracle = _Way(protocol)

    def add(self, timesteps: Sequence[float], divergences: Sequence[float], plain: Sequence[Mapping[str, Any]]) -> None:
        """An image: the curve, and the counts at each step."""
        counts = [counts_from_json(self._protocol, each) for each in plain]
        if not self._fixed:
            self._timesteps, self._fixed = timesteps, [_Way(self._protocol) for _ in timesteps]
        for way, of_step, timestep in zip(self._fixed, counts, timesteps, strict=True):
            way.add(of_step, timestep)
        for rule, way in self._rules.items():
            index = instance_emergence_point(timesteps, divergences, rule).index
            way.add(counts[index], timesteps[index])
        index = max(range(len(counts)), key=[_best_f(part, self._protocol) for part in counts].__getitem__)
        self._oracle.add(counts[index], timesteps[index])

    def rows(self) -> list[TimestepRow]:
        if not self._fixed:
            raise SettingsError("there is no image to evaluate")
        fixed = [way.row(f"t = {t:g}") for way, t in zip(self._fixed, self._timesteps, strict=True)]
        best = max(row.ods for row in fixed)
        rules = [way.row(f"rule {rule}", best) for rule, way in self._rules.items()]
        return [*fixed, *rules, self._oracle.row("per-image best")]


def _best_f(counts: EdgeCounts, protocol: EdgeProtocol) -> float:
    scores = EdgeScores(protocol)
    scores.add(counts)
    return scores.compute().ois


def timesteps_markdown(rows: Iterable[TimestepRow]) -> str:
    """The rows as a Markdown table."""
    lines = ["| step | ODS | OIS | regret | mean t |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        regret = "" if row.regret is None else f"{row.regret:+.3f}"
        lines.append(f"| {row.choice} | {row.ods:.3f} | {row.ois:.3f} | {regret} | {row.mean_timestep:.0f} |")
    return "\n".join(lines) + "\n"
