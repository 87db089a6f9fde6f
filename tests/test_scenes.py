"""Synthetic scenes: their truth is exact, repeatable, and holds what the project exists for."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from tracedge.datasets.scenes import Scene, draw_scene, draw_scenes
from tracedge.errors import SettingsError


def test_a_scene_is_a_function_of_its_seed():
    first, again, other = draw_scene(5, 64), draw_scene(5, 64), draw_scene(6, 64)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("px", [32, 97, 128])
def test_size_type_and_labels_are_as_promised(px):
    scene = draw_scene(3, px)
    assert scene.image.shape == (px, px, 3)
    assert scene.image.dtype == np.uint8
    assert scene.labels.shape == (px, px)
    assert scene.labels.dtype == np.uint16
    assert set(np.unique(scene.labels)) - {0} == set(range(1, len(scene.classes) + 1))


def test_every_object_keeps_a_visible_part():
    for scene in draw_scenes(20, 12, 96):
        areas = np.bincount(scene.labels.ravel(), minlength=len(scene.classes) + 1)[1:]
        assert areas.min() >= 4


def test_many_scenes_have_touching_objects_of_one_class():
    touching = 0
    for scene in draw_scenes(100, 20, 96):
        labels, classes = scene.labels, np.array([-1, *scene.classes])
        for one in range(1, len(classes)):
            near = np.unique(labels[binary_dilation(labels == one, iterations=2)])
            touching += any(classes[other] == classes[one] for other in near if other not in (0, one))
    assert touching >= 20


def test_the_truth_lies_where_the_picture_changes():
    steps, flat = [], []
    for scene in draw_scenes(40, 10, 128):
        image = scene.image.astype(float).mean(axis=2)
        change = np.abs(np.diff(image, axis=1))
        border = scene.labels[:, 1:] != scene.labels[:, :-1]
        steps.append(change[border].mean())
        flat.append(change[~border].mean())
    assert np.mean(steps) > 4 * np.mean(flat)


def test_an_object_that_another_one_cuts_in_two_is_not_in_one_piece():
    labels = np.zeros((32, 32), np.uint16)
    labels[4:28, 4:28] = 1
    image = np.zeros((32, 32, 3), np.uint8)
    assert Scene(image, labels, (0,)).in_one_piece
    labels[:, 15] = 2
    assert not Scene(image, labels, (0, 0)).in_one_piece


def test_larger_is_the_same_scene_drawn_finer():
    small, large = draw_scene(11, 64), draw_scene(11, 128)
    agree = (large.labels[::2, ::2] > 0) == (small.labels > 0)
    assert agree.mean() > 0.97


@pytest.mark.parametrize(("seed", "px"), [(-1, 64), (0, 31), (0, 5000)])
def test_seeds_and_sizes_out_of_range_are_refused(seed, px):
    with pytest.raises(SettingsError, match="seed >= 0"):
        draw_scene(seed, px)
