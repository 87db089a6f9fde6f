"""The instance emergence point: the rules on curves drawn by hand, and the streaming twin against the plain form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedge.emergence import RULES, EmergenceTracker, emergence_scores, instance_emergence_point, is_settled
from tracedge.errors import SettingsError

STEPS = [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]


def test_argmax_takes_the_largest_divergence_and_of_equal_ones_the_earliest():
    assert instance_emergence_point([0, 1, 2, 3, 4], [0, 1, 5, 2, 5], rule="argmax").timestep == 2


def test_first_peak_is_not_drawn_to_a_higher_collapse_into_noise():
    curve = [0, 0.3, 0.9, 0.4, 0.2, 0.3, 0.8, 1.4, 0.9, 0.2]
    assert instance_emergence_point(STEPS, curve, rule="argmax").timestep == 700
    assert instance_emergence_point(STEPS, curve, rule="first_peak").timestep == 200


def test_first_peak_passes_over_a_ripple():
    curve = [0, 0.50, 0.49, 0.8, 1.0, 0.5, 0.3, 0.2, 0.1, 0.1]
    assert instance_emergence_point(STEPS, curve, rule="first_peak").timestep == 400


def test_first_peak_of_a_rising_curve_is_its_end():
    assert instance_emergence_point(STEPS, list(range(10)), rule="first_peak").timestep == 900


def test_bounded_looks_no_further_than_half_noise():
    curve = [0, 0.1, 0.2, 0.5, 0.3, 0.2, 0.4, 0.9, 2.0, 1.0]
    assert instance_emergence_point(STEPS, curve, rule="bounded").timestep == 300


def test_bounded_still_answers_when_all_timesteps_lie_beyond_the_bound():
    assert instance_emergence_point([600, 700, 800], [0, 0.1, 0.2], rule="bounded").timestep == 700


def test_the_margin_is_the_lead_over_the_runner_up_as_a_share():
    assert instance_emergence_point([0, 1, 2, 3], [0, 1.0, 4.0, 3.0], rule="argmax").margin == pytest.approx(0.25)
    assert instance_emergence_point([0, 1, 2], [0, 0.0, 0.0], rule="argmax").margin == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), steps=st.integers(2, 7), images=st.integers(1, 3), rule=st.sampled_from(sorted(RULES))
)
def test_streaming_equals_the_plain_form(seed, steps, images, rule):
    generator = torch.Generator().manual_seed(seed)
    maps = (3 * torch.randn(steps, images, 6, 6, generator=generator)).softmax(-1)
    timesteps = [float(150 * i) for i in range(steps)]
    tracker = EmergenceTracker(rule)
    for timestep, attention in zip(timesteps, maps, strict=True):
        tracker.update(timestep, attention, (2, 3))
    points, held, is_choice = tracker.finish()
    for image, point in enumerate(points):
        curve = emergence_scores(maps[:, image], (2, 3)).tolist()
        plain = instance_emergence_point(timesteps, curve, rule)
        assert point.index == plain.index
        assert point.divergences == pytest.approx(plain.divergences)
        assert is_choice[image]
        assert torch.equal(held[image], maps[point.index, image])


def test_the_curve_is_the_kl_from_the_previous_map_to_the_next_averaged_over_rows():
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 4, 4, generator=generator).softmax(-1).double()
    expected = (first * (first / second).log()).sum(-1).mean()
    curve = emergence_scores(torch.stack([first, second]), (2, 2))
    assert curve.tolist() == pytest.approx([0, float(expected)])


def test_the_tracker_says_when_a_rule_goes_back_to_a_map_it_no_longer_holds(monkeypatch):
    monkeypatch.setitem(RULES, "second", lambda timesteps, curve: 1 if len(curve) == 4 else len(curve) - 1)
    tracker = EmergenceTracker("second")
    for step in range(4):
        tracker.update(step, torch.full((1, 2, 2), 0.5), (1, 2))
    points, _, is_choice = tracker.finish()
    assert (points[0].index, is_choice) == (1, [False])


@pytest.mark.parametrize("curve", [[], [0.0]])
def test_a_curve_needs_two_timesteps(curve):
    with pytest.raises(SettingsError, match="two or more"):
        instance_emergence_point(list(range(len(curve))), curve)


def test_an_unknown_rule_is_refused():
    with pytest.raises(SettingsError, match="first_peak"):
        instance_emergence_point([0, 1], [0, 1], rule="best")


def test_a_choice_is_settled_only_when_nothing_later_can_change_it():
    rising, peaked = [0, 0.3, 0.9], [0, 0.3, 0.9, 0.4]
    assert not is_settled([0, 100, 200], rising, "first_peak", 300)
    assert is_settled([0, 100, 200, 300], peaked, "first_peak", 400)
    assert not is_settled([0, 100, 200, 300], peaked, "argmax", 400)
    assert is_settled([0, 250, 500], [0, 0.1, 0.2], "bounded", 750)
    assert not is_settled([0], [0.0], "first_peak", 100)


def test_an_image_whose_choice_stands_takes_no_further_step_because_of_its_neighbours():
    generator = torch.Generator().manual_seed(1)
    maps = (3 * torch.randn(6, 2, 6, 6, generator=generator)).softmax(-1)
    maps[2:, 0] = maps[1, 0]  # the first image peaks at once, and then nothing changes

    def walk(images):
        tracker = EmergenceTracker("first_peak")
        for step in range(6):
            tracker.update(100.0 * step, maps[step, images], (2, 3))
            if tracker.is_settled(100.0 * (step + 1)):
                break
        return tracker.finish()[0]

    together, alone = walk([0, 1]), walk([0])
    assert len(alone[0].timesteps) == 3
    assert together[0] == alone[0]
