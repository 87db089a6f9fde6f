"""From queries to masks: Mask2Former's rules, against a pixel-by-pixel account of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracedge.categories import Category
from tracedge.detector.inference import DetectSettings, Queries, instances_of, panoptic_of
from tracedge.errors import SettingsError

CAT, SKY, SEA = Category(17, "cat", True), Category(187, "sky", False), Category(155, "sea", False)
CATEGORIES = (CAT, SKY, SEA)
HW = (12, 16)


def queries_of(classes, masks):
    return Queries(
        torch.tensor(classes, dtype=torch.float32), torch.tensor(np.array(masks), dtype=torch.float32), lambda m: m, HW
    )


def log_odds(box, inside=4.0, outside=-4.0):
    rows, columns = box
    mask = np.full(HW, outside)
    mask[rows, columns] = inside
    return mask


LEFT, RIGHT = (slice(0, 12), slice(0, 8)), (slice(0, 12), slice(8, 16))


def test_sure_queries_become_segments_and_the_rest_is_void():
    queries = queries_of(
        [[0.9, 0.05, 0.0, 0.05], [0.0, 0.95, 0.0, 0.05], [0.6, 0.0, 0.0, 0.4], [0.0, 0.0, 0.05, 0.95]],
        [
            log_odds(LEFT),
            log_odds((slice(0, 6), slice(8, 16))),
            log_odds((slice(6, 12), slice(8, 16))),
            log_odds(RIGHT),
        ],
    )
    found = panoptic_of(queries, CATEGORIES, DetectSettings())
    assert [(one.category_id, one.isthing, round(one.score, 2)) for one in found.segments] == [
        (17, True, 0.9),
        (187, False, 0.95),
    ]
    assert (found.ids[:, :8] == 1).all() and (found.ids[:6, 8:] == 2).all() and (found.ids[6:, 8:] == 0).all()


def test_what_is_mostly_hidden_is_dropped():
    hidden = log_odds((slice(0, 12), slice(0, 10)), inside=2.0)  # 120 pixels, of which the surer mask takes 96
    classes = [[0.95, 0, 0, 0.05], [0.9, 0, 0, 0.1]]
    queries = queries_of(classes, [log_odds(LEFT), hidden])
    assert len(panoptic_of(queries, CATEGORIES, DetectSettings())) == 1
    assert len(panoptic_of(queries, CATEGORIES, DetectSettings(visible=0.1))) == 2


def test_stuff_of_one_class_is_one_segment_and_things_are_not():
    for category, count in ((0, 2), (1, 1)):
        classes = np.full((2, 4), 0.0)
        classes[:, category] = 0.9
        found = panoptic_of(
            queries_of(classes.tolist(), [log_odds(LEFT), log_odds(RIGHT)]), CATEGORIES, DetectSettings()
        )
        assert len(found) == count and (found.ids > 0).all()


def test_instances_are_the_things_of_the_panoptic_map():
    queries = queries_of([[0.9, 0, 0, 0.1], [0, 0.9, 0, 0.1]], [log_odds(LEFT), log_odds(RIGHT)])
    found = instances_of(queries, CATEGORIES, DetectSettings())
    assert found.masks.shape == (1, *HW) and found.masks[0, :, :8].all() and found.scores[0] == pytest.approx(0.9)


def test_masks_that_overlap_are_kept_whole_and_ranked_by_how_sure_their_mask_is():
    queries = queries_of(
        [[0.5, 0.4, 0, 0.1], [0.5, 0, 0, 0.5], [0.1, 0, 0, 0.9]],
        [log_odds(LEFT, inside=0.1), log_odds((slice(0, 12), slice(4, 12)), inside=5), log_odds(RIGHT, -1)],
    )
    found = instances_of(queries, CATEGORIES, DetectSettings(min_score=0, overlapping=True))
    assert len(found) == 2  # the third has no pixel above one half
    assert found.masks[0, :, 4:12].all() and found.masks[1, :, :8].all()
    assert found.scores.tolist() == pytest.approx([0.5 / (1 + np.exp(-5)), 0.5 / (1 + np.exp(-0.1))])
    assert len(instances_of(queries, CATEGORIES, DetectSettings(min_score=0.4, overlapping=True))) == 1


def test_nothing_sure_is_nothing():
    queries = queries_of([[0.1, 0, 0, 0.9]], [log_odds(LEFT)])
    assert len(panoptic_of(queries, CATEGORIES, DetectSettings())) == 0
    assert instances_of(queries, CATEGORIES, DetectSettings()).shape == HW


@pytest.mark.parametrize("wrong", [{"min_score": 1.5}, {"visible": -0.1}, {"overlapping": 1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError):
        DetectSettings(**wrong)


def accounted(queries, settings):
    """The rules once more, a pixel at a time: what each kept query is left with."""
    kept = []
    for number, row in enumerate(queries.classes.tolist()):
        place = int(np.argmax(row))
        if place < len(CATEGORIES) and row[place] > settings.min_score:
            kept.append((number, place, row[place]))
    owner = {}
    for pixel in np.ndindex(HW):
        worth = [score / (1 + np.exp(-float(queries.masks[(number, *pixel)]))) for number, _, score in kept]
        if worth:
            owner[pixel] = kept[int(np.argmax(worth))][0]
    regions = {}
    for number, place, _ in kept:
        whole = sum(float(queries.masks[(number, *pixel)]) > 0 for pixel in np.ndindex(HW))
        won = [pixel for pixel, one in owner.items() if one == number]
        left = {pixel for pixel in won if float(queries.masks[(number, *pixel)]) > 0}
        if left and len(won) >= settings.visible * whole:
            key = place if place else (place, number)
            regions.setdefault(key, set()).update(left)
    return sorted(map(sorted, regions.values()))


@given(st.integers(0, 10_000), st.integers(1, 20), st.floats(0, 1))
def test_the_rules_agree_with_their_account_pixel_by_pixel(seed, count, visible):
    rng = np.random.default_rng(seed)
    classes = rng.dirichlet(np.full(4, 0.3), count)
    queries = queries_of(classes.tolist(), rng.normal(-0.5, 2, (count, *HW)).tolist())
    settings = DetectSettings(min_score=0.5, visible=visible)
    found = panoptic_of(queries, CATEGORIES, settings)
    regions = [[tuple(map(int, at)) for at in np.argwhere(found.ids == one.id)] for one in found.segments]
    assert sorted(map(sorted, regions)) == accounted(queries, settings)
