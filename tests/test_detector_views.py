"""Large-scale jitter and copy-paste: what is shown is where the photo says it is, and follows from the step alone."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_detection import KINDS, labelled, panoptic_labelled
from tracedge.detector.config import DetectorConfig
from tracedge.detector.labels import LabelledPhoto, find_labels
from tracedge.detector.views import VISIBLE, View, Views, flipped, jittered, pasted, stacked
from tracedge.errors import ImageError

SCALES = st.floats(0.2, 2.0)
PLACES = st.tuples(st.floats(0, 0.999), st.floats(0, 0.999))


def disc(hw, centre, radius):
    rows, columns = np.indices(hw)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def photo_of(*masks, colours=(0.9, 0.1, 0.5)):
    """Each mask in its own grey on black."""
    image = np.zeros((*masks[0].shape, 3), np.uint8)
    for mask, colour in zip(masks, colours, strict=False):
        image[mask] = round(colour * 255)
    return LabelledPhoto(image, np.stack(masks), np.arange(len(masks)))


@given(SCALES, PLACES, st.sampled_from([(96, 128), (128, 96), (60, 60)]))
def test_masks_stay_where_their_object_is(scale, place, hw):
    photo = photo_of(disc(hw, (hw[0] * 0.4, hw[1] * 0.5), 20))
    view = jittered(photo, 64, scale, np.array(place))
    assert view.image.shape == (64, 64, 3) and view.inside.shape == (64, 64)
    bright = view.image[..., 0] > 0.45
    if len(view.masks):
        differs = (view.masks[0] != bright).sum()
        assert differs <= 0.25 * max(40, view.masks[0].sum() ** 0.5 * 6)  # the rim: bilinear beside nearest


def test_a_picture_that_just_fits_is_seen_whole_and_a_small_one_is_padded():
    photo = photo_of(np.ones((80, 160), bool))
    view = jittered(photo, 64, 1.0, np.zeros(2))
    assert view.inside.sum() == 32 * 64 and view.masks[0].sum() == 32 * 64
    assert jittered(photo, 64, 0.5, np.zeros(2)).inside.sum() == 16 * 32
    assert jittered(photo, 64, 2.0, np.array([0.5, 0.5])).inside.all()


def test_the_place_decides_which_part_of_a_large_picture_is_seen():
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    photo = photo_of(left)
    assert jittered(photo, 64, 2.0, np.array([0.0, 0.0])).masks.all()
    assert len(jittered(photo, 64, 2.0, np.array([0.0, 0.999])).masks) == 0


def test_a_mask_of_a_few_pixels_is_left_out():
    small, large = disc((64, 64), (10, 10), 1), disc((64, 64), (40, 40), 15)
    view = jittered(photo_of(small, large), 64, 1.0, np.zeros(2))
    assert view.classes.tolist() == [1]


def test_a_flip_is_undone_by_another():
    view = jittered(photo_of(disc((64, 64), (20, 12), 9)), 64, 1.0, np.zeros(2))
    turned = flipped(view)
    assert turned.masks[0, 20, 51] and not turned.masks[0, 20, 12]
    np.testing.assert_array_equal(flipped(turned).image, view.image)


def test_what_is_pasted_covers_what_was_there():
    below = jittered(photo_of(disc((64, 64), (32, 32), 20)), 64, 1.0, np.zeros(2))
    above = jittered(photo_of(disc((64, 64), (32, 50), 12), colours=(0.3,)), 64, 1.0, np.zeros(2))
    view = next(
        found for seed in range(20) if len((found := pasted(below, above, np.random.default_rng(seed))).masks) == 2
    )
    lower, upper = view.masks
    assert not (lower & upper).any()
    assert (lower | upper == below.masks[0] | above.masks[0]).all()
    assert np.allclose(view.image[upper], 77 / 255, atol=0.01) and np.allclose(view.image[lower], 230 / 255, atol=0.01)


def test_what_is_almost_wholly_under_something_pasted_is_no_mask_any_more():
    square = np.zeros((64, 64), bool)
    square[10:50, 10:50] = True
    cover = square.copy()
    cover[10:12] = False  # a twentieth of it is left to see: 80 pixels
    blank, whole = np.zeros((64, 64, 3), np.float32), np.ones((64, 64), bool)
    below, above = View(blank, whole, square[None], np.array([3])), View(blank, whole, cover[None], np.array([5]))
    found = [pasted(below, above, np.random.default_rng(seed)).classes.tolist() for seed in range(10)]
    assert VISIBLE * square.sum() > 80 and sorted(map(tuple, set(map(tuple, found)))) == [(3,), (5,)]


def test_of_another_picture_things_are_pasted_and_no_stuff(tmp_path):
    folder = panoptic_labelled(tmp_path)
    config = DetectorConfig(px=64, batch=8, copy_paste=1.0, steps=4, scale_low=1.0, scale_high=1.0)
    seen = [
        view.classes.tolist()
        for forward in Views(find_labels(folder, [folder / "images"]), config)[0]
        for view in forward
    ]
    assert all(classes.count(1) == 1 for classes in seen) and max(classes.count(0) for classes in seen) > 2


def test_a_broken_photo_is_told_and_another_one_seen(tmp_path):
    labels = find_labels(labelled(tmp_path), [tmp_path / "images"])
    path = tmp_path / "images" / "1.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match=r"left out: 1\.png"):
        views = Views(labels, DetectorConfig(px=64, batch=32, steps=2, scale_low=1.0, scale_high=1.0))[0][0]
    assert len(views) == 32
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ImageError):
        _ = Views(labels, DetectorConfig(px=64, steps=2))[0]


def test_padding_is_the_mean_after_standardising():
    view = jittered(photo_of(np.ones((32, 64), bool)), 64, 1.0, np.zeros(2))
    batch = stacked([view, view], (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    assert batch.shape == (2, 3, 64, 64) and batch.dtype == np.float32
    assert (batch[:, :, 32:] == 0).all() and np.allclose(batch[0, 0, :32], (230 / 255 - 0.5) / 0.2, atol=0.01)


class Counted(list):
    """Stands for `Labels`."""

    categories = (KINDS[0],) * 3


CONFIG = DetectorConfig(px=64, batch=3, accumulate=2, copy_paste=0.5, steps=5, scale_low=0.5)


def test_the_views_of_a_step_follow_from_the_step_alone():
    labels = Counted([photo_of(disc((64, 80), (30, 20 + 5 * i), 10)) for i in range(6)])
    one, two = Views(labels, CONFIG), Views(labels, CONFIG)
    later = one[4]
    _ = [two[step] for step in range(4)]
    for mine, theirs in zip(chain(*later), chain(*two[4]), strict=True):
        np.testing.assert_array_equal(mine.image, theirs.image)
        np.testing.assert_array_equal(mine.masks, theirs.masks)
    assert [len(forward) for forward in later] == [3, 3]
    other_process = Views(labels, CONFIG, process=1)[4]
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(later[0], other_process[0], strict=True))
    with pytest.raises(IndexError):
        _ = one[5]
