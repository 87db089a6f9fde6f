"""Semantic maps and edges to panoptic maps: things are cut, stuff is not, nothing leaves its class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from tracedge.categories import COCO_PANOPTIC, VOC_PANOPTIC
from tracedge.datasets.scenes import SCENE_CATEGORIES, draw_scenes
from tracedge.errors import DataError, SettingsError
from tracedge.metrics.instance_boundaries import instance_boundaries
from tracedge.metrics.panoptic import PanopticScores
from tracedge.panoptic import PanopticSettings, gathered, panoptic_map
from tracedge.semantic_map import SemanticMap

PERSON, CAT, SKY = 1, 17, 187


def row(*blocks):
    """(20, 20 x K) blocks side by side, each of one value."""
    return np.repeat(np.repeat([blocks], 20, axis=1), 20, axis=0)


def edges_of(labels):
    return instance_boundaries(labels).astype(np.float32)


def test_things_are_cut_stuff_is_not_and_nothing_leaves_its_class():
    classes = row(PERSON, PERSON, CAT, SKY, SKY)
    found = panoptic_map(SemanticMap(classes), edges_of(row(1, 2, 3, 4, 5)), COCO_PANOPTIC)
    assert [(segment.category_id, segment.isthing, segment.area) for segment in found.segments] == [
        (PERSON, True, 400),
        (PERSON, True, 400),
        (CAT, True, 400),
        (SKY, False, 800),
    ]
    assert len(np.unique(found.ids[:, :20])) == 1  # exactly the left one


def test_without_edges_things_are_the_components_of_their_class():
    classes = row(PERSON, CAT, PERSON, PERSON)
    found = panoptic_map(SemanticMap(classes), None, COCO_PANOPTIC)
    assert [(segment.category_id, segment.area) for segment in found.segments] == [(1, 400), (1, 800), (17, 400)]


def test_what_is_unknown_is_void():
    found = panoptic_map(SemanticMap(row(-1, PERSON)), np.zeros((20, 40), np.float32), COCO_PANOPTIC)
    assert (found.ids[:, :20] == 0).all() and (found.ids[:, 20:] > 0).all()
    nothing = panoptic_map(SemanticMap(row(-1)), None, COCO_PANOPTIC)
    assert len(nothing) == 0


def test_a_faint_or_a_long_edge_does_not_part_and_a_neck_does():
    one = SemanticMap(row(PERSON, PERSON))
    for strength, parts in ((0.5, 1), (0.7, 2)):
        found = panoptic_map(one, np.float32(strength) * edges_of(row(1, 2)), COCO_PANOPTIC)
        assert len(found) == parts
    slice_of = np.zeros((20, 40), int)
    slice_of[:4] = 1  # as long as the whole, and narrow
    assert len(panoptic_map(one, np.float32(0.7) * edges_of(slice_of), COCO_PANOPTIC)) == 1


def test_crumbs_join_the_nearest_of_their_class():
    classes = row(PERSON, SKY, SKY, PERSON, SKY)
    classes[5:8, 25:28] = PERSON  # near the left one
    found = panoptic_map(SemanticMap(classes), np.zeros(classes.shape, np.float32), COCO_PANOPTIC)
    assert found.ids[6, 26] == found.ids[6, 10] != found.ids[6, 70]


def test_true_classes_and_true_edges_give_back_scenes_whose_objects_are_in_one_piece():
    scores, count = PanopticScores(SCENE_CATEGORIES), 0
    for scene in draw_scenes(1_000_000, 12, 256):
        truth = scene.panoptic
        if not scene.in_one_piece:
            continue
        count += 1
        of_place = np.array([-1, *(segment.category_id for segment in truth.segments)])
        classes = SemanticMap(of_place[truth.places()])
        scores.update(panoptic_map(classes, edges_of(truth.ids), SCENE_CATEGORIES), truth)
    figures = scores.compute()
    assert count > 6
    assert figures.things.rq == 1 and figures.things.pq > 0.998 and figures.stuff.pq == 1


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_every_known_pixel_has_a_segment_of_its_class(seed):
    rng = np.random.default_rng(seed)
    classes = rng.choice([-1, PERSON, CAT, SKY], (6, 8)).repeat(5, 0).repeat(5, 1)
    edges = rng.random(classes.shape).astype(np.float32) ** 4
    found = panoptic_map(SemanticMap(classes), edges, COCO_PANOPTIC)
    of_place = np.array([-1, *(segment.category_id for segment in found.segments)])
    assert (of_place[found.places()] == classes).all()


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_edges_that_are_everywhere_come_to_an_end(seed):
    rng = np.random.default_rng(seed)
    classes = rng.choice([-1, PERSON, CAT], (8, 10)).repeat(4, 0).repeat(4, 1)
    edges = (rng.random(classes.shape) < rng.uniform(0.2, 1)).astype(np.float32)
    found = panoptic_map(SemanticMap(classes), edges, COCO_PANOPTIC)
    of_place = np.array([-1, *(segment.category_id for segment in found.segments)])
    assert (of_place[found.places()] == classes).all()


def test_bad_input_is_said():
    with pytest.raises(DataError, match="class 187, which is none of the categories"):
        panoptic_map(SemanticMap(row(SKY)), None, VOC_PANOPTIC)
    with pytest.raises(DataError, match="must be of one image"):
        panoptic_map(SemanticMap(row(PERSON)), np.zeros((4, 4), np.float32), COCO_PANOPTIC)
    with pytest.raises(DataError, match="integer array"):
        SemanticMap(np.zeros((4, 4)))
    with pytest.raises(SettingsError, match="cut"):
        PanopticSettings(cut=2.0)


def test_scores_of_classes_become_the_best_one_and_unknown_where_none_is():
    scores = np.zeros((2, 1, 3), np.float32)
    scores[:, 0] = [[0.9, 0.4, 0.01], [0.1, 0.4, 0.02]]
    found = SemanticMap.from_scores(scores, np.array([CAT, SKY]), least=0.05)
    assert found.classes.tolist() == [[CAT, CAT, -1]]


def joined_by_brute_force(pieces, joins):
    """The smallest first, each to the nearest of all that have joined no other, if it is small beside it."""
    found = pieces.copy()
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = sizes.argmax()
    large = [number for number in np.unique(pieces) if number]
    for number in sorted(set(large) - {largest}, key=lambda each: (sizes[each], each)):
        if sizes[number] >= joins * sizes[largest]:
            break
        away, where = distance_transform_edt(
            ~np.isin(found, [one for one in large if one != number]), return_indices=True
        )
        row, column = np.unravel_index(np.where(found == number, away, np.inf).argmin(), found.shape)
        nearest = found[tuple(where[:, row, column])]
        if sizes[number] < joins * sizes[nearest]:
            found[found == number] = nearest
            large.remove(number)
    return found


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(deadline=None)
def test_small_pieces_join_as_by_brute_force(seed, joins):
    rng = np.random.default_rng(seed)
    pieces = np.zeros((60, 70), np.int64)
    for number in range(1, int(rng.integers(2, 9))):
        row, column, height, width = (int(rng.integers(0, limit)) for limit in (50, 60, 20, 20))
        pieces[row : row + height + 1, column : column + width + 1] = number
    ours = gathered(pieces, PanopticSettings(min_area=0, joins=joins))
    np.testing.assert_array_equal(ours, joined_by_brute_force(pieces, joins))


def test_crumbs_however_many_join_the_nearest_piece_that_is_none():
    pieces = np.zeros((200, 300), np.int64)
    pieces[20:60, 20:60], pieces[120:180, 200:280] = 1, 2
    crumbs = [(row, column) for row in range(0, 200, 5) for column in range(0, 300, 5) if not pieces[row, column]]
    for number, at in enumerate(crumbs, start=3):
        pieces[at] = number
    found = gathered(pieces, PanopticSettings())
    assert set(np.unique(found)) == {0, 1, 2}
    away = [distance_transform_edt(pieces != number) for number in (1, 2)]
    for at in crumbs:
        assert away[found[at] - 1][at] == min(each[at] for each in away)
