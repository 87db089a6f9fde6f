"""What the page computes: the predictor's own edges, the defaults of `tracedge segment`, the curve of `tracedge inspect`."""

import numpy as np
import pytest

from small_reader import scene, small_reader
from tracedge.errors import SettingsError
from tracedge.segmentation import SegmentSettings, segment
from tracedge.student.predictor import EdgePredictor
from tracedge.teacher import EdgeTeacher
from tracedge.web.reading import Controls, at_zoom


def test_the_edges_are_the_predictors():
    reader, image = small_reader(), scene()
    assert np.array_equal(reader.edges(image).edges, reader.predictor(image).edges)


def test_another_zoom_is_the_same_model_at_that_zoom_and_changes_nothing_for_others():
    reader, image = small_reader(), scene()
    zoomed = EdgePredictor.from_pretrained("mini", size=64, zoom=2, device="cpu")
    plain = reader.edges(image).edges
    np.testing.assert_allclose(reader.edges(image, 2).edges, zoomed(image).edges, atol=1e-5)
    assert np.array_equal(reader.edges(image).edges, plain)
    assert not np.array_equal(reader.edges(image, 2).edges, plain)


def test_a_teacher_zooms_as_well():
    teacher = EdgeTeacher("mini", size=64, timestep=0, device="cpu")
    assert at_zoom(teacher, 3).settings.zoom == 3
    assert at_zoom(teacher, 3).backbone is teacher.backbone


def test_objects_at_the_defaults_are_those_of_segment():
    reader, image = small_reader(), scene(13)
    edges = reader.edges(image)
    found, expected = reader.objects(edges, Controls()), segment(edges)
    assert len(found) > 0
    assert np.array_equal(found.masks, expected.masks)
    assert np.array_equal(found.scores, expected.scores)
    assert Controls().settings((96, 96)).from_edges == SegmentSettings().from_edges
    assert Controls().settings((96, 96)).min_score == SegmentSettings().min_score


def test_stronger_edges_and_larger_objects_alone_leave_fewer():
    reader, image = small_reader(), scene(13)
    edges = reader.edges(image)
    plain = reader.objects(edges, Controls())
    assert len(reader.objects(edges, Controls(strength=0.6))) < len(plain)
    large = reader.objects(edges, Controls(smallest=0.05))
    assert len(large) < len(plain)
    assert large.areas.min() >= 0.05 * edges.edges.size


def test_groups_are_cut_by_the_edges():
    reader, image = small_reader(), scene()
    groups = reader.groups(image)
    refined = reader.refined(reader.edges(image), groups, Controls(strength=0.3))
    assert len(groups) > 0
    assert groups.shape == refined.shape == image.shape[:2]
    assert refined.settings["propagation"]["level"] == 0.3
    assert not np.array_equal(groups.to_labels(), refined.to_labels())


def test_the_curve_is_the_teachers_and_each_step_has_a_picture():
    reader, image = small_reader(), scene()
    told: list[float] = []
    steps = reader.steps(image, (48, 48), lambda share, what: told.append(share))
    found = reader.teacher(image)
    assert steps.chosen == found.timestep
    np.testing.assert_allclose(steps.divergences, found.divergences, rtol=1e-5)
    assert [picture.shape for picture in steps.colours] == [(48, 48, 3)] * len(steps.timesteps)
    assert not np.array_equal(steps.colours[0], steps.colours[-1])
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"smallest": 0.9}, {"zoom": 7}, {"strength": float("nan")}])
def test_controls_that_the_page_does_not_have_are_refused(wrong):
    with pytest.raises(SettingsError):
        Controls(**wrong)
