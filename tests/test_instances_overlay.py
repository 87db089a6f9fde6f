"""The overlay of instances: colours that can be told apart, numbers that can be read."""

import numpy as np
import pytest
from scipy import ndimage

from instance_masks import blobs
from tracedge.errors import DataError
from tracedge.instances import Instances
from tracedge.visualize import instance_colours, instances_overlay
from tracedge.visualize.overlays import numbered as labels_numbered

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


@pytest.mark.parametrize("shade", [0, 90, 255])
def test_an_outline_is_seen_on_objects_of_any_colour(shade):
    masks = np.zeros((2, 60, 90), bool)
    masks[0, 10:50, 10:45] = masks[1, 10:50, 45:80] = True  # side by side
    for colour in instance_colours(2)[1:]:
        photo = np.where(shade == 90, colour, np.uint8(shade)).astype(np.uint8) * np.ones((60, 90, 1), np.uint8)
        drawn = instances_overlay(photo, Instances(masks)).astype(int)
        for line, inside in (((30, 10), (30, 13)), ((49, 20), (46, 20)), ((30, 44), (30, 41)), ((30, 45), (30, 48))):
            assert np.abs(drawn[line] - drawn[inside]).max() > 80
            assert drawn[line].tolist() in ([0, 0, 0], [255, 255, 255])


def numbered(photo, instances):
    """Where a number changes the picture, by drawing the photo's own instances with and without."""
    import tracedge.visualize.overlays as drawing

    drawn = instances_overlay(photo, instances)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "numbered", lambda picture, *_, **__: picture)
        plain = instances_overlay(photo, instances)
    return (drawn != plain).any(axis=2)


def test_a_number_stands_inside_what_is_seen_of_its_mask():
    photo = np.full((120, 160, 3), 90, np.uint8)
    heap, coin, small = np.zeros((3, 120, 160), bool)
    heap[10:110, 10:110] = True
    coin[35:85, 35:85] = True  # in its middle
    small[20:36, 130:146] = True
    seen = Instances(np.stack([heap, coin, small]), [0.2, 0.9, 0.5])
    places = numbered(photo, seen)
    assert places[coin].any()
    assert places[heap & ~coin].any()
    assert places[small].any()
    assert not places[~(heap | coin | small)].any()
    inner = ndimage.binary_erosion(coin, iterations=2)
    assert not places[coin & ~inner].any()  # the heap's own number is not across the coin's outline


def test_numbers_at_the_border_are_moved_into_the_picture():
    drawn = {}
    for place in ((20, 30), (0, 0), (39, 59)):
        mask = np.zeros((1, 40, 60), bool)
        mask[0][place] = True
        picture = instances_overlay(np.full((40, 60, 3), 90, np.uint8), Instances(mask))
        drawn[place] = (picture < 45).all(axis=2).sum()  # of the black rim
    assert drawn[20, 30] > 15
    assert all(abs(count - drawn[20, 30]) <= 2 for count in drawn.values())


def test_numbers_that_must_stand_apart_leave_out_those_of_the_smaller_labels():
    picture, labels = np.full((40, 60, 3), 90, np.uint8), np.zeros((40, 60), np.uint16)
    labels[18:22, 20:23], labels[18:22, 23:28], labels[5:7, 50:52] = 1, 2, 3
    kept = np.where(labels == 1, 0, labels).astype(np.uint16)
    np.testing.assert_array_equal(labels_numbered(picture, labels, apart=True), labels_numbered(picture, kept))
    assert (labels_numbered(picture, labels) != labels_numbered(picture, kept)).any()


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
