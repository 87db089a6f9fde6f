"""From an image to proposals: both methods' objects, on the image's own pixels, with all that they depend on."""

from __future__ import annotations

import numpy as np
import pytest

from drawn_features import DISCS, scene, sets
from tracedge.crf import CrfSettings
from tracedge.errors import SettingsError
from tracedge.proposals.from_features import METHODS, parameters_of, propose
from tracedge.proposals.pixels import tokens_to_masks


def coloured(labels: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """Each label's own colour, enlarged."""
    colours = np.array([[40, 80, 160], [200, 90, 60], [80, 200, 90]], np.uint8)
    rows, columns = (np.arange(side) * cells // side for side, cells in zip(image_hw, labels.shape, strict=True))
    return colours[labels][rows[:, None], columns]


@pytest.mark.parametrize("image_hw", [(40, 56), (41, 57), (19, 30), (7, 9)])
def test_each_token_covers_its_part_of_an_image_of_any_size(image_hw):
    grid = np.random.default_rng(0).random((2, 6, 8)) < 0.5
    grid[:, 1:5, 1:7] = grid[:, :1, :1] = True  # large enough for no hole and not to vanish
    masks = tokens_to_masks(np.zeros((*image_hw, 3), np.uint8), grid, None)
    for row in range(image_hw[0]):
        for column in range(image_hw[1]):
            token = int((row + 0.5) * 6 / image_hw[0]), int((column + 0.5) * 8 / image_hw[1])
            assert (masks[:, row, column] >= grid[:, *token]).all()
    outside = np.zeros_like(grid)
    outside[:, :, :4] = True  # a half plane has no holes
    assert tokens_to_masks(np.zeros((*image_hw, 3), np.uint8), outside, None).mean() == pytest.approx(0.5, abs=0.06)


def test_holes_are_filled_and_the_outline_moves_to_the_colours():
    labels = np.zeros((20, 28), int)
    labels[5:15, 6:18] = 1
    image = coloured(labels, (60, 84))
    exact = coloured(labels, (60, 84))[..., 0] == 200
    rough = labels == 1
    rough[5:15, 5] = True  # a column too many
    rough[9:11, 10:12] = False  # a hole
    assert np.array_equal(tokens_to_masks(image, rough[None], CrfSettings())[0], exact)
    plain = tokens_to_masks(image, rough[None], None)[0]
    assert plain[30, 33]
    assert not np.array_equal(plain, exact)


def test_a_mask_that_the_crf_does_not_recognise_is_dropped():
    labels = np.zeros((20, 28), int)
    labels[5:15, 6:18] = 1
    image = coloured(labels, (60, 84))
    stray = np.zeros((20, 28), bool)
    stray[1:19, 1:25:2] = True  # every other column, across the object and the background
    grid = np.stack([stray, labels == 1])
    kept = tokens_to_masks(image, grid, CrfSettings())
    assert len(kept) == 1
    assert np.array_equal(kept[0], image[..., 0] == 200)
    assert len(tokens_to_masks(image, grid, None)) == 2


def test_a_mask_without_a_pixel_of_a_small_image_is_dropped():
    assert (
        len(tokens_to_masks(np.zeros((2, 2, 3), np.uint8), np.eye(9, dtype=bool).reshape(9, 3, 3)[[0, 1, 2]], None))
        == 2
    )


def test_a_large_picture_is_refined_small_and_its_masks_enlarged():
    labels = np.zeros((10, 14), int)
    labels[2:8, 3:11] = 1
    image = coloured(labels, (100, 140))
    found = tokens_to_masks(image, (labels == 1)[None], CrfSettings(), px=70)
    exact = image[..., 0] == 200
    assert found.shape == (1, 100, 140)
    assert (found[0] & exact).sum() / (found[0] | exact).sum() > 0.9


@pytest.mark.parametrize(
    ("grid", "options"),
    [(np.zeros((2, 3), bool), {}), (np.zeros((1, 2, 3)), {}), (np.zeros((1, 2, 3), bool), {"min_iou": 2}),
     (np.zeros((1, 2, 3), bool), {"px": 4})],
)  # fmt: skip
def test_grids_and_options_that_make_no_sense_are_refused(grid, options):
    with pytest.raises(SettingsError, match="got"):
        tokens_to_masks(np.zeros((4, 6, 3), np.uint8), grid, None, **options)


class Drawn:
    """Features of a drawn scene, whatever the image."""

    provenance = {"features": "drawn"}  # noqa: RUF012

    def __init__(self, features: np.ndarray) -> None:
        self.features = features

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.features


@pytest.mark.parametrize("method", METHODS)
def test_proposals_are_instances_of_the_images_size_with_equal_scores(method):
    features, labels = scene(noise=0.3)
    image = coloured(labels, (60, 84))
    found = propose(image, Drawn(features), method)
    truth = [(image == image[row * 3, column * 3]).all(axis=-1) for row, column, _ in DISCS]
    assert sets(found.masks) == sets(truth)
    assert found.scores.tolist() == [1, 1]
    assert found.settings["proposals"] == method
    assert found.settings["features"] == {"features": "drawn"}
    assert found.settings["parameters"]["threshold"] == parameters_of(method)["threshold"]
    assert found.settings["crf"]["iterations"] == 10


def test_parameters_and_the_crf_reach_where_they_belong_and_are_written_down():
    features, labels = scene(noise=0.3)
    image = coloured(labels, (60, 84))
    one = propose(image, Drawn(features), "maskcut", crf=False, count=1)
    assert len(one) == 1
    assert one.settings["parameters"]["count"] == 1
    assert one.settings["crf"] is None
    mine = propose(image, Drawn(features), "promerge", crf=CrfSettings(iterations=2), min_iou=0.9, px=48)
    assert (mine.settings["crf"]["iterations"], mine.settings["min_iou"], mine.settings["px"]) == (2, 0.9, 48)


def test_no_object_is_an_empty_result_of_the_images_size():
    found = propose(np.zeros((30, 50, 3), np.uint8), Drawn(np.ones((6, 10, 3), np.float32)))
    assert len(found) == 0
    assert found.shape == (30, 50)


def test_unknown_methods_and_parameters_are_refused_before_any_work():
    with pytest.raises(SettingsError, match="choose one of maskcut, promerge"):
        propose(np.zeros((30, 50, 3), np.uint8), Drawn(np.ones(1)), "cutler")
    with pytest.raises(SettingsError, match="maskcut has no parameter 'stride'"):
        propose(np.zeros((30, 50, 3), np.uint8), Drawn(np.ones(1)), "maskcut", stride=4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.zeros((4, 5)), "token features"),
        (np.zeros((4, 5, 2)), "float32"),
        (np.zeros((1, 1, 2), np.float32), "two tokens"),
        (np.zeros((4, 5, 0), np.float32), "token features"),
        (np.full((4, 5, 2), np.inf, np.float32), "finite"),
    ],
)
def test_features_that_are_none_are_refused(method, features, said):
    with pytest.raises(SettingsError, match=said):
        METHODS[method](features)


@pytest.mark.parametrize(
    ("method", "wrong"),
    [("maskcut", {"count": 0}), ("maskcut", {"threshold": 1.0}), ("maskcut", {"epsilon": 0}), ("maskcut", {"max_iou": 2}),
     ("promerge", {"stride": 0}), ("promerge", {"min_sides": 5}), ("promerge", {"threshold": -0.1}),
     ("promerge", {"vote": 1.5}), ("promerge", {"max_likeness": -2})],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(method, wrong):
    with pytest.raises(SettingsError, match=r"got"):
        METHODS[method](scene()[0], **wrong)
