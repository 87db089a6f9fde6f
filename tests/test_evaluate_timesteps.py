"""How well the timestep is chosen: regret by hand, and equal to scores that are computed one by one."""

from dataclasses import dataclass

import numpy as np
import pytest

from tracedge.errors import SettingsError
from tracedge.evaluation.timesteps import evaluate_timesteps, timesteps_markdown
from tracedge.maps import EdgeMap
from tracedge.metrics.edges import EdgeProtocol, EdgeScores, instance_boundaries

PROTOCOL = EdgeProtocol(thresholds=3)
TIMESTEPS = (0.0, 300.0, 600.0)


@dataclass(frozen=True)
class Sample:
    """An image of one box: which sweep it takes is written into its first pixel."""

    number: int
    void: None = None
    boundaries: None = None

    @property
    def name(self):
        return f"image{self.number}.png"

    @property
    def stem(self):
        return f"image{self.number}"

    @property
    def fingerprint(self):
        return str(self.number)

    @property
    def labels(self):
        labels = np.zeros((40, 50), np.int32)
        labels[10:30, 10 : 30 + self.number] = 1
        return labels

    @property
    def ignore(self):
        return np.zeros((40, 50), bool)

    @property
    def image(self):
        return np.full((40, 50, 3), self.number, np.uint8)


def sweep_of(curves, right):
    """The truth at the step that is right for an image, and at each other step a line where there is nothing."""

    def sweep(image):
        number = int(image[0, 0, 0])
        truth = instance_boundaries(Sample(number).labels).astype(np.float32)
        false = np.zeros_like(truth)
        false[2, 3:47] = 1
        maps = [truth if step == right[number] else false for step in TIMESTEPS]
        return [
            EdgeMap(edges, step, 0.5, TIMESTEPS, curves[number]) for edges, step in zip(maps, TIMESTEPS, strict=True)
        ]

    return sweep


def rows_of(curves, right):
    dataset = [Sample(number) for number in range(len(right))]
    rows = evaluate_timesteps(dataset, sweep_of(curves, right), PROTOCOL)
    return {row.choice: row for row in rows}


def test_regret_is_what_the_best_fixed_step_has_more_than_the_rule():
    """Three images, of which 300 is right for two and 600 for one."""
    last, middle = (0.0, 0.1, 0.9), (0.0, 0.9, 0.1)
    rows = rows_of([middle, last, last], right=[300, 300, 600])
    assert list(rows) == [
        *("t = 0", "t = 300", "t = 600"),
        *("rule argmax", "rule first_peak", "rule bounded", "per-image best"),
    ]
    assert rows["t = 0"].ods == 0
    best, rule = rows["t = 300"], rows["rule argmax"]
    assert 0 < rows["t = 600"].ods < best.ods < 1 and best.regret is None
    assert rule.chosen == {300: 1, 600: 2} and rule.mean_timestep == 500
    assert 0 < rule.ods < 1 and rule.regret == best.ods - rule.ods  # one image wrong, as many as at 300
    assert rows["rule bounded"].chosen == {300: 3} and rows["rule bounded"].regret == 0
    oracle = rows["per-image best"]
    assert (oracle.ods, oracle.ois, oracle.regret, oracle.chosen) == (1, 1, None, {300: 2, 600: 1})


def test_a_rule_that_is_right_for_every_image_has_a_regret_below_zero():
    rows = rows_of([(0.0, 0.9, 0.1), (0.0, 0.1, 0.9)], right=[300, 600])
    assert rows["rule argmax"].ods == 1
    assert rows["rule argmax"].regret == max(rows[f"t = {step}"].ods for step in (0, 300, 600)) - 1 < 0


@pytest.mark.parametrize("seed", range(3))
def test_rows_equal_scores_of_the_chosen_maps_one_by_one(seed):
    rng = np.random.default_rng(seed)
    maps = rng.random((4, 3, 40, 50)).astype(np.float32) ** 3
    curves = [(0.0, *rng.random(2).tolist()) for _ in range(4)]

    def sweep(image):
        number = int(image[0, 0, 0])
        return [
            EdgeMap(edges, step, 0.0, TIMESTEPS, curves[number])
            for edges, step in zip(maps[number], TIMESTEPS, strict=True)
        ]

    def scored(chosen):
        scores = EdgeScores(PROTOCOL)
        for number, step in enumerate(chosen):
            scores.update(maps[number, step], instance_boundaries(Sample(number).labels))
        return scores.compute()

    rows = {row.choice: row for row in evaluate_timesteps([Sample(number) for number in range(4)], sweep, PROTOCOL)}
    fixed = [scored([step] * 4) for step in range(3)]
    assert [(rows[f"t = {step:g}"].ods, rows[f"t = {step:g}"].ois) for step in TIMESTEPS] == [
        (one.ods, one.ois) for one in fixed
    ]
    by_argmax = scored([1 + int(curve[2] > curve[1]) for curve in curves])
    assert rows["rule argmax"].ods == by_argmax.ods
    assert rows["rule argmax"].regret == max(one.ods for one in fixed) - by_argmax.ods
    singly = [[scored_alone(maps[number, step], Sample(number).labels) for step in range(3)] for number in range(4)]
    oracle = scored([int(np.argmax(ois)) for ois in singly])
    assert (rows["per-image best"].ods, rows["per-image best"].ois) == (oracle.ods, oracle.ois)


class Partly(Sample):
    """Nothing is known of its upper rows."""

    @property
    def ignore(self):
        ignored = super().ignore
        ignored[:6] = True
        return ignored


def test_ignored_ground_is_left_out_of_every_step():
    def sweep(image):
        """The truth and a line that is not in it, at every step."""
        edges = instance_boundaries(Sample(5).labels).astype(np.float32)
        edges[2, 3:47] = 1
        return [EdgeMap(edges, step, 0.5, TIMESTEPS, (0.0, 0.9, 0.1)) for step in TIMESTEPS]

    assert {row.ods for row in evaluate_timesteps([Partly(5)], sweep, PROTOCOL)} == {1}
    assert max(row.ods for row in evaluate_timesteps([Sample(5)], sweep, PROTOCOL)) < 0.9


def scored_alone(edges, labels):
    scores = EdgeScores(PROTOCOL)
    scores.update(edges, instance_boundaries(labels))
    return scores.compute().ois


def test_no_image_is_refused_and_the_table_shows_regret_for_rules_only():
    with pytest.raises(SettingsError, match="no image"):
        evaluate_timesteps([], sweep_of([], []), PROTOCOL)
    rows = evaluate_timesteps([Sample(0)], sweep_of([(0.0, 0.9, 0.1)], [300]), PROTOCOL)
    lines = timesteps_markdown(rows).splitlines()
    assert lines[3] == "| t = 300 | 1.000 | 1.000 |  | 300 |"
    assert lines[5] == "| rule argmax | 1.000 | 1.000 | +0.000 | 300 |"
