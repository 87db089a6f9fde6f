"""Into the model's frame and back: exact sizes, nothing shifted, nothing of the padding left."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.images import Fit as FitOfImages

sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))
quick = settings(max_examples=60, deadline=None)


@st.composite
def fits(draw: st.DrawFn) -> Fit:
    side = draw(st.sampled_from(["long", "short"]))
    hw = draw(sizes)
    px = draw(st.integers(1, 320))
    if side == "short" and max(hw) * px > 2000 * min(hw):
        side = "long"  # a frame of megapixels tests nothing more
    return Fit(hw, px, draw(st.sampled_from([1, 2, 7, 8, 14, 16, 64])), side)


def ramp(hw: tuple[int, int], dim: int) -> torch.Tensor:
    """A plane that rises from 0 to 1 along one axis, by pixel centres: (1, 3, H, W)."""
    line = (torch.arange(hw[dim]) + 0.5) / hw[dim]
    return (line[:, None] if dim == 0 else line[None, :]).expand(1, 3, *hw).contiguous()


# --- sizes ------------------------------------------------------------------------------------------------------------


@quick
@given(fits(), st.integers(1, 2))
def test_apply_gives_multiples_and_undo_gives_the_image_size(fit, batch):
    frame = fit.apply(torch.rand(batch, 3, *fit.image_hw))
    assert frame.shape == (batch, 3, *fit.padded_hw)
    assert all(side % fit.multiple_of == 0 for side in frame.shape[-2:])
    assert fit.undo(frame[:, :1]).shape == (batch, *fit.image_hw)
    assert fit.undo(frame[:, 0]).shape == (batch, *fit.image_hw)


@quick
@given(fits())
def test_the_named_side_becomes_px_and_the_padding_is_less_than_a_multiple(fit):
    named = max if fit.side == "long" else min
    assert named(fit.scaled_hw) == fit.px
    for scaled, padded in zip(fit.scaled_hw, fit.padded_hw, strict=True):
        assert 0 <= padded - scaled < fit.multiple_of


@quick
@given(fits())
def test_the_aspect_is_kept_to_half_a_pixel(fit):
    named = max if fit.side == "long" else min
    scale = fit.px / named(fit.image_hw)
    for side, scaled in zip(fit.image_hw, fit.scaled_hw, strict=True):
        assert abs(scaled - side * scale) <= 0.5 or scaled == 1


def test_an_image_that_fits_is_left_alone():
    images = torch.rand(2, 3, 64, 48)
    assert torch.equal(Fit((64, 48), 64, 16).apply(images), images)


# --- values -----------------------------------------------------------------------------------------------------------


@quick
@given(fits(), st.floats(0, 1))
def test_a_constant_stays_that_constant(fit, value):
    images = torch.full((1, 3, *fit.image_hw), value)
    frame = fit.apply(images)
    torch.testing.assert_close(frame, torch.full_like(frame, value))
    torch.testing.assert_close(fit.undo(frame[:, 0]), images[:, 0])


@quick
@given(fits())
def test_values_stay_in_the_unit_range(fit):
    frame = fit.apply(torch.rand(1, 3, *fit.image_hw))
    back = fit.undo(frame[:, 0])
    for values in (frame, back):
        assert values.min() >= -1e-6
        assert values.max() <= 1 + 1e-6


@quick
@given(fits(), st.sampled_from([0, 1]))
def test_a_linear_ramp_survives_there_and_back(fit, dim):
    images = ramp(fit.image_hw, dim)
    back = fit.undo(fit.apply(images)[:, 0])
    # The ends are held, not extrapolated, so they may be off by half a sample of the coarser of the two grids.
    tolerance = 1.0 / min(fit.image_hw[dim], fit.scaled_hw[dim]) + 1e-5
    assert (back - images[:, 0]).abs().max() <= tolerance


@pytest.mark.parametrize("dim", [0, 1])
def test_away_from_the_ends_a_ramp_comes_back_to_a_fraction_of_a_grey_step(dim):
    fit = Fit((90, 120), 64, 32)
    images = ramp(fit.image_hw, dim)
    inner = (fit.undo(fit.apply(images)[:, 0]) - images[:, 0])[:, 4:-4, 4:-4]
    assert inner.abs().max() < 1e-3


@quick
@given(sizes, st.sampled_from([1, 8, 14, 64]), st.data())
def test_at_scale_one_an_edge_stays_where_it_is(hw, multiple, data):
    row, column = data.draw(st.integers(0, hw[0] - 1)), data.draw(st.integers(0, hw[1] - 1))
    images = torch.zeros(1, 3, *hw)
    images[:, :, row, column] = 1
    fit = Fit(hw, max(hw), multiple)
    torch.testing.assert_close(fit.undo(fit.apply(images)[:, 0]), images[:, 0])


@quick
@given(st.integers(40, 300), st.integers(40, 300), st.integers(64, 256), st.data())
def test_at_any_scale_an_edge_stays_within_a_sample(height, width, px, data):
    fit = Fit((height, width), px, 16)
    column = data.draw(st.integers(8, width - 9))
    images = torch.zeros(1, 3, height, width)
    images[:, :, :, column - 1 : column + 2] = 1
    line = fit.undo(fit.apply(images)[:, 0])[0].mean(dim=0)
    centre = (line * torch.arange(width)).sum() / line.sum()
    assert abs(centre - column) <= max(1.0, width / fit.scaled_hw[1])


def test_nothing_of_the_padding_comes_back():
    fit = Fit((30, 50), 100, 64)  # scaled 60 x 100, frame 64 x 128
    frame = torch.zeros(1, *fit.padded_hw)
    frame[:, 60:], frame[:, :, 100:] = 1, 1
    assert fit.undo(frame).max() == 0


@pytest.mark.parametrize("cell", [1, 2, 4, 8, 16])
def test_maps_of_any_resolution_lie_over_the_frame_without_a_shift(cell):
    fit = Fit((75, 110), 128, 16)  # scaled 87 x 128, frame 96 x 128: the cut falls inside a cell
    rows = (torch.arange(96 // cell) + 0.5) * cell  # each cell holds the height of its centre in the frame
    back = fit.undo(rows[None, :, None].expand(1, -1, 128 // cell).contiguous())
    expected = (torch.arange(75) + 0.5) * 87 / 75
    inside = slice(cell, 75 - cell)
    torch.testing.assert_close(back[0, inside, 0], expected[inside], atol=0.1, rtol=0)


def test_a_finer_map_is_averaged_and_not_sampled():
    fit = Fit((8, 8), 64, 64)
    stripes = torch.zeros(1, 64, 64)
    stripes[:, ::8] = 1  # one line in each sample, away from its centre
    assert (fit.undo(stripes)[:, 1:-1] - 1 / 8).abs().max() < 1e-6


def test_the_padding_is_the_mirrored_image():
    image = torch.arange(5.0).reshape(1, 1, 5, 1).expand(1, 3, 5, 8) / 4
    frame = Fit((5, 8), 8, 8).apply(image)
    assert (frame[0, 0, :, 0] * 4).tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


def test_a_mirror_that_is_too_short_repeats_the_last_row():
    image = torch.tensor([0.25, 0.75]).reshape(1, 1, 2, 1).expand(1, 3, 2, 8)
    frame = Fit((2, 8), 8, 8).apply(image)
    assert frame[0, 0, :, 0].tolist() == [0.25, 0.75] + [0.25] * 6


def test_half_precision_maps_come_back_in_single_and_doubles_stay():
    fit = Fit((10, 12), 16, 16)
    assert fit.undo(torch.rand(1, 16, 16, dtype=torch.bfloat16)).dtype == torch.float32
    assert fit.undo(torch.rand(1, 16, 16, dtype=torch.float64)).dtype == torch.float64


# --- what makes no sense ----------------------------------------------------------------------------------------------


def test_the_grid_of_patches_covers_the_frame():
    assert Fit((300, 400), 512, 64).grid_hw(16) == (24, 32)


def test_a_patch_that_does_not_divide_the_frame_is_refused():
    with pytest.raises(SettingsError, match=r"384 x 512 pixels is not whole patches of 14"):
        Fit((300, 400), 512, 64).grid_hw(14)


@pytest.mark.parametrize(
    "change", [{"image_hw": (0, 4)}, {"image_hw": (4,)}, {"px": 0}, {"multiple_of": 0}, {"side": "height"}]
)
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(SettingsError):
        dataclasses.replace(Fit((4, 4), 4, 4), **change)


@pytest.mark.parametrize(
    "images", [torch.rand(3, 8, 8), torch.rand(1, 3, 8, 9), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]
)
def test_images_of_another_size_or_kind_are_refused(images):
    with pytest.raises(SettingsError, match=r"expected float images \(B, C, 8, 8\)"):
        Fit((8, 8), 16, 8).apply(images)


@pytest.mark.parametrize("maps", [torch.rand(1, 2, 16, 16), torch.rand(16, 16), torch.zeros(1, 16, 16).int()])
def test_maps_of_another_kind_are_refused(maps):
    with pytest.raises(SettingsError, match="expected float maps"):
        Fit((8, 8), 16, 8).undo(maps)


@pytest.mark.parametrize("hw", [(16, 24), (32, 16), (0, 0)])
def test_maps_of_another_proportion_are_refused(hw):
    with pytest.raises(SettingsError, match="do not lie over a frame of 16 x 32"):
        Fit((8, 16), 32, 8).undo(torch.rand(1, *hw))


def test_images_hands_out_the_same_fit():
    assert FitOfImages is Fit


def test_a_picture_one_column_wide_keeps_its_rows_apart():
    column = torch.tensor([1.0, 3.0, 5.0]).reshape(1, 1, 3, 1)
    one = Fit((3, 1), 2).apply(column)
    row = Fit((1, 3), 2).apply(column.transpose(-2, -1))
    assert one.flatten().tolist() == row.flatten().tolist()
    assert one[0, 0, 0, 0] < one[0, 0, 1, 0]
