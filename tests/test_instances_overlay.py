"""The overlay of instances: colours that can be told apart, numbers that can be read."""

import numpy as np
import pytest
from scipy import ndimage

from instance_masks import blobs
from tracedge.errors import DataError
from tracedge.instances import Instances
from tracedge.visualize import instance_colours, instances_overlay

NONE = Instances.empty((5, 8))


def test_the_overlay_colours_instances_alike_twice_and_leaves_the_rest():
    photo = np.full((61, 90, 3), 100, np.uint8)
    found = blobs(3)
    drawn = instances_overlay(photo, found)
    assert drawn.dtype == np.uint8
    assert drawn.shape == photo.shape
    np.testing.assert_array_equal(drawn, instances_overlay(photo, found))
    outside = ndimage.binary_dilation(found.masks.any(axis=0), iterations=3)
    assert (drawn[~outside] == 100).all()
    assert (drawn[found.masks.any(axis=0)] != 100).any(axis=1).mean() > 0.95


def test_the_number_stands_inside_white_on_black_whatever_the_photo():
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 5:35, 5:55] = True
    for shade in (0, 255):
        drawn = instances_overlay(np.full((40, 60, 3), shade, np.uint8), Instances(mask))
        inside = drawn[10:30, 20:40].reshape(-1, 3)
        assert (inside > 230).all(axis=1).sum() > 3
        assert (inside < 25).all(axis=1).sum() > 10


def test_numbers_at_the_border_are_moved_into_the_picture():
    drawn = {}
    for place in ((20, 30), (0, 0), (39, 59)):
        mask = np.zeros((1, 40, 60), bool)
        mask[0][place] = True
        picture = instances_overlay(np.full((40, 60, 3), 90, np.uint8), Instances(mask))
        drawn[place] = (picture < 45).all(axis=2).sum()  # of the black rim
    assert drawn[20, 30] > 15
    assert all(abs(count - drawn[20, 30]) <= 2 for count in drawn.values())


def test_colours_of_numbers_that_follow_each_other_are_far_apart():
    colours = instance_colours(60).astype(int)
    assert colours[0].tolist() == [0, 0, 0]
    assert len(set(map(tuple, colours.tolist()))) == 61
    for apart in (1, 2, 3):
        assert np.abs(colours[apart:] - colours[:-apart]).sum(axis=1).min() > 100
    assert instance_colours(0).shape == (1, 3)


def test_an_overlay_of_none_is_the_photo_and_of_another_size_an_error():
    photo = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(instances_overlay(photo, NONE), photo)
    with pytest.raises(DataError, match=r"expected an image of uint8 \(5, 8, 3\), got uint8 \(8, 5, 3\)"):
        instances_overlay(photo.transpose(1, 0, 2), NONE)
