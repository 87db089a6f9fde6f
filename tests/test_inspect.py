"""`tracedge inspect`: what its figure shows is what the teacher finds, from one walk over the timesteps."""

import numpy as np
import pytest

import tracedge.teacher
from tracedge.cli.inspect import _look
from tracedge.datasets.scenes import draw_scene
from tracedge.teacher import EdgeTeacher


@pytest.fixture(scope="module")
def photo():
    """Wide, so that at zoom 2 it has few tiles."""
    return draw_scene(3, 64).image[16:48]


@pytest.mark.parametrize("options", [{}, {"ensemble": 2, "zoom": 2}, {"inversion": True}])
def test_one_walk_gives_the_teachers_own_edges_and_curve(options, photo):
    teacher = EdgeTeacher("mini", size=64, early_stop=False, rule="argmax", stride=200, **options)
    seen, found = _look(teacher, photo, 3), teacher(photo)
    assert len(found.timesteps) == 5
    assert found.edges.any()
    assert np.array_equal(seen.edges.edges, found.edges)
    assert (seen.edges.timestep, seen.edges.margin) == (found.timestep, found.margin)
    assert (seen.edges.timesteps, seen.edges.divergences) == (found.timesteps, found.divergences)
    assert seen.edges.settings == found.settings
    shown = [step.timestep for step in seen.steps]
    assert shown == sorted(shown) and {found.timesteps[0], found.timesteps[-1], found.timestep} <= set(shown)


def test_the_model_sees_each_timestep_once_and_the_chosen_one_once_more(monkeypatch, photo):
    times, fused = [], tracedge.teacher.fused_attention

    def counted(backbone, noisy, timestep):
        times.extend(timestep.tolist())
        return fused(backbone, noisy, timestep)

    monkeypatch.setattr(tracedge.teacher, "fused_attention", counted)
    teacher = EdgeTeacher("mini", size=64, early_stop=False, stride=200)
    seen = _look(teacher, photo, 2)
    assert sorted(times) == sorted([*seen.edges.timesteps, seen.edges.timestep])
