"""Tiles cover the image, and their maps blend back without a seam."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedge.errors import SettingsError
from tracedge.tiling import blend_tiles, tiles


@st.composite
def tilings(draw: st.DrawFn) -> tuple[tuple[int, int], int, int]:
    tile = draw(st.integers(1, 60))
    return (draw(st.integers(1, 150)), draw(st.integers(1, 150))), tile, draw(st.integers(max(0, tile - 40), tile - 1))


def bounded(tiling: tuple[tuple[int, int], int, int]) -> tuple[tuple[int, int], int, int]:
    """One pixel steps over a large image are many tiles that test nothing more."""
    hw, tile, overlap = tiling
    return hw, tile, min(overlap, tile * 3 // 4)


@settings(max_examples=80, deadline=None)
@given(tilings().map(bounded))
def test_every_pixel_is_covered_and_every_tile_is_inside_and_full(tiling):
    (height, width), tile, overlap = tiling
    covered = np.zeros((height, width), int)
    for top, left, bottom, right in tiles((height, width), tile, overlap):
        assert 0 <= top < bottom <= height
        assert 0 <= left < right <= width
        assert (bottom - top, right - left) == (min(tile, height), min(tile, width))
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1


@settings(max_examples=80, deadline=None)
@given(tilings().map(bounded))
def test_neighbours_overlap_by_at_least_what_was_asked(tiling):
    hw, tile, overlap = tiling
    boxes = tiles(hw, tile, overlap)
    for side in (0, 1):
        spans = sorted({(box[side], box[side + 2]) for box in boxes})
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end - start >= overlap


@settings(max_examples=60, deadline=None)
@given(tilings().map(bounded), st.floats(0, 1, width=32))
def test_a_constant_map_stays_constant(tiling, value):
    boxes = tiles(*tiling)
    blended = blend_tiles((box, np.full((box[2] - box[0], box[3] - box[1]), value, np.float32)) for box in boxes)
    assert blended.shape == tiling[0]
    assert blended.dtype == np.float32
    np.testing.assert_allclose(blended, value, rtol=1e-6, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(tilings().map(bounded), st.integers(0, 99))
def test_tiles_cut_from_one_map_give_that_map(tiling, seed):
    whole = np.random.default_rng(seed).random(tiling[0], dtype=np.float32)
    blended = blend_tiles((box, whole[box[0] : box[2], box[1] : box[3]]) for box in tiles(*tiling))
    np.testing.assert_allclose(blended, whole, atol=1e-6)


def test_where_tiles_disagree_the_map_goes_over_smoothly():
    first, second = tiles((1, 60), 40, 20)
    line = blend_tiles([(first, np.zeros((1, 40))), (second, np.ones((1, 40)))])[0]
    assert line[:20].max() == 0
    assert line[40:].min() == 1
    assert np.diff(line).min() >= 0
    assert np.diff(line).max() < 0.1
    np.testing.assert_allclose(line + line[::-1], 1, atol=1e-6)


def test_an_image_smaller_than_a_tile_is_one_tile():
    assert tiles((5, 3), 64, 16) == [(0, 0, 5, 3)]


def test_tiles_without_overlap_stand_side_by_side():
    assert tiles((2, 6), 2, 0) == [(0, 0, 2, 2), (0, 2, 2, 4), (0, 4, 2, 6)]


@pytest.mark.parametrize(("hw", "tile", "overlap"), [((0, 4), 4, 1), ((4, 4), 0, 0), ((4, 4), 4, 4), ((4, 4), 4, -1)])
def test_tilings_that_make_no_sense_are_refused(hw, tile, overlap):
    with pytest.raises(SettingsError, match="0 <= overlap < tile"):
        tiles(hw, tile, overlap)


def test_a_map_that_is_not_of_its_tiles_size_is_refused():
    with pytest.raises(SettingsError, match=r"must be of shape \(2, 3\), got \(3, 2\)"):
        blend_tiles([((0, 0, 2, 3), np.zeros((3, 2)))])


def test_a_missing_tile_is_refused():
    with pytest.raises(SettingsError, match="leave 4 pixels"):
        blend_tiles([((0, 2, 2, 4), np.zeros((2, 2)))])
    with pytest.raises(SettingsError, match="leave 0 pixels"):
        blend_tiles([])
