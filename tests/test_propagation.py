"""BGP: merged objects come apart, fragments come together, and nothing is left along the edges."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from tracedge import propagation
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import DataError, SettingsError
from tracedge.instances import Instances, pairwise_iou
from tracedge.metrics.edges import instance_boundaries
from tracedge.propagation import PropagationSettings, boundary_guided_propagation, merged
from tracedge.walk import walk


def oracle_edges(labels):
    return instance_boundaries(labels.astype(np.int32)).astype(np.float32)


def touching_boxes(count):
    """`count` boxes side by side: labels (64, 20 count + 24)."""
    labels = np.zeros((64, 20 * count + 24), np.int32)
    for number in range(count):
        labels[14:50, 12 + 20 * number : 32 + 20 * number] = number + 1
    return labels


@pytest.mark.parametrize("over", ["basins", "cells"])
@pytest.mark.parametrize("separate", ["regions", "components"])
def test_one_mask_of_k_touching_objects_becomes_k(separate, over):
    labels = touching_boxes(4)
    merged_mask = Instances((labels > 0)[None])
    settings = PropagationSettings(separate=separate, walk=over)
    found = boundary_guided_propagation(oracle_edges(labels), merged_mask, settings)
    truth = Instances.from_labels(labels)
    overlap = pairwise_iou(truth.masks, found.masks)
    assert len(found) == 4
    assert overlap.max(axis=1).min() > 0.95
    assert sorted(overlap.argmax(axis=1)) == [0, 1, 2, 3]


def test_touching_objects_of_a_scene_come_apart():
    scene = draw_scene(900_001, 192)
    truth = Instances.from_labels(scene.labels)
    found = boundary_guided_propagation(oracle_edges(scene.labels), Instances((scene.labels > 0)[None]))
    large = truth.areas > 200
    assert pairwise_iou(truth.masks, found.masks).max(axis=1)[large].min() > 0.95


def test_fragments_of_one_object_become_one():
    labels = touching_boxes(1)
    object_mask = labels == 1
    halves = np.stack([object_mask, object_mask])
    halves[0, :, 23:] = False  # they share a strip
    halves[1, :, :20] = False
    found = boundary_guided_propagation(oracle_edges(labels), Instances(halves, [0.9, 0.5]))
    assert len(found) == 1
    assert pairwise_iou(object_mask[None], found.masks)[0, 0] > 0.95
    assert 0.5 < found.scores[0] < 0.9


def test_groups_merge_above_the_threshold_only_and_until_nothing_changes():
    areas = np.ones(12, np.int64)
    members = np.zeros((4, 12), bool)
    members[0, :6], members[1, 2:8] = True, True  # 4 of 8 shared: 0.5
    members[2, 1:8] = True  # 6 of 7 with the second
    members[3, 9:] = True
    assert merged(members[:2], areas, 0.5) == [[0], [1]]
    assert merged(members, areas, 0.5) == [[0, 1, 2], [3]]  # the second and third together are near enough to the first


def test_fragments_that_masks_share_walk_once_and_the_masks_are_what_they_are_alone(monkeypatch):
    labels = touching_boxes(3)
    masks = np.stack([labels > 0, labels >= 2])  # boxes 1, 2, 3 and boxes 2, 3
    walked = []
    monkeypatch.setattr(
        propagation, "walk", lambda edges, seeds, **how: walked.append(len(seeds)) or walk(edges, seeds, **how)
    )
    both = boundary_guided_propagation(oracle_edges(labels), Instances(masks))
    alone = boundary_guided_propagation(oracle_edges(labels), Instances(masks[:1]))
    assert walked == [3, 3]
    assert (both.masks == alone.masks).all()


def test_pixels_on_the_edges_belong_to_an_object():
    labels = touching_boxes(2)
    found = boundary_guided_propagation(oracle_edges(labels), Instances((labels > 0)[None])).non_overlapping()
    between = found.to_labels()[20:44, 14:50]
    assert (between > 0).all()  # no moat along the common border


def test_no_edges_leave_a_mask_whole():
    mask = np.zeros((1, 40, 48), bool)
    mask[0, 10:30, 10:30] = True
    found = boundary_guided_propagation(
        np.zeros((40, 48), np.float32), Instances(mask), PropagationSettings(min_seed=0)
    )
    assert len(found) == 1


def test_no_proposals_and_tiny_ones_give_no_instances():
    edges = np.zeros((40, 48), np.float32)
    assert len(boundary_guided_propagation(edges, Instances.empty((40, 48)))) == 0
    dot = np.zeros((1, 40, 48), bool)
    dot[0, 3, 3] = True
    assert len(boundary_guided_propagation(edges, Instances(dot))) == 0


@pytest.mark.parametrize("judge", [True, False])
def test_a_mask_on_edges_alone_stays(judge):
    masks, edges = Instances(np.ones((1, 40, 48), bool)), np.ones((40, 48), np.float32)
    found = boundary_guided_propagation(edges, masks, PropagationSettings(min_area=0, judge=judge))
    assert found.masks.all()
    assert len(found) == 1


def rims(masks, where):
    """Edges one pixel wide on the last pixels of each mask, or on the first ones outside it."""
    edges = np.zeros(masks.shape[1:], np.float32)
    for mask in masks:
        edges[mask & ~binary_erosion(mask) if where == "inside" else binary_dilation(mask) & ~mask] = 1
    return edges


def disc(row, column, radius, image_hw=(100, 120)):
    rows, columns = np.indices(image_hw)
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("radius", [10, 20])
@pytest.mark.parametrize("strength", [0.4, 1])
def test_outlines_are_exact_on_whichever_side_of_them_the_edge_is(where, radius, strength):
    truth = np.stack([disc(50, 30, radius), disc(50, 31 + 2 * radius, radius)])
    edges = rims(truth, where) * np.float32(strength)
    found = boundary_guided_propagation(edges, Instances(truth.any(axis=0)[None]))
    assert len(found) == 2
    assert pairwise_iou(truth, found.masks).max(axis=1).min() > 0.95


@pytest.mark.parametrize("over", ["basins", "cells"])
def test_narrow_objects_with_an_edge_in_each_of_their_cells_are_kept(over):
    truth = np.zeros((2, 60, 120), bool)
    truth[0, 20:24, 10:110] = truth[1, 24:28, 10:110] = True
    found = boundary_guided_propagation(
        rims(truth, "outside"), Instances(truth.any(axis=0)[None]), PropagationSettings(walk=over)
    )
    assert pairwise_iou(truth, found.masks).max(axis=1).min() > 0.9


def test_a_good_mask_stays_where_edges_do_no_better():
    good = disc(50, 60, 30)
    faint = 0.16 * rims(good[None], "inside")
    found = boundary_guided_propagation(faint, Instances(good[None]))
    assert (found.masks == good).all()
    assert found.scores[0] > 0
    gone = boundary_guided_propagation(faint, Instances(good[None]), PropagationSettings(judge=False))
    assert not (gone.masks == good).all()  # what the paper's form makes of it


def test_scores_stay_apart_where_they_are_the_proposals_own_and_short_where_they_are_ours():
    labels = touching_boxes(3)
    given = Instances.from_labels(labels, [0.9, 0.9 - 1e-9, 0.7605914])
    edges = oracle_edges(labels) * np.float32(0.8)
    own = boundary_guided_propagation(edges, given, PropagationSettings(judge=False))
    assert own.scores.tolist() == given.scores.tolist()
    judged = boundary_guided_propagation(edges, given).scores
    assert judged.tolist() == [float(str(score)) for score in judged.astype(np.float32)]


def test_groups_are_those_of_brute_force():
    rng = np.random.default_rng(3)
    areas = rng.integers(1, 20, 12)
    members = rng.random((9, 12)) < 0.4
    members[4] = members[1]
    sets, groups = [row.copy() for row in members], [[number] for number in range(9)]
    while True:
        overlaps = {
            (one, other): areas @ (sets[one] & sets[other]) / max(areas @ (sets[one] | sets[other]), 1)
            for one in range(len(sets))
            for other in range(one + 1, len(sets))
        }
        one, other = max(overlaps, key=overlaps.__getitem__)
        if overlaps[one, other] <= 0.3:
            break
        sets[one], groups[one] = sets[one] | sets[other], sorted(groups[one] + groups[other])
        del sets[other], groups[other]
    assert len(groups) < 8
    assert merged(members, areas, 0.3) == sorted(groups)


def test_two_runs_are_equal():
    scene = draw_scene(900_003, 128)
    runs = [
        boundary_guided_propagation(oracle_edges(scene.labels), Instances((scene.labels > 0)[None])) for _ in range(2)
    ]
    assert (runs[0].masks == runs[1].masks).all()
    assert runs[0].scores.tolist() == runs[1].scores.tolist()


def test_masks_of_another_image_are_refused():
    with pytest.raises(DataError, match="must be of one image"):
        boundary_guided_propagation(np.zeros((8, 8), np.float32), Instances(np.ones((1, 8, 9), bool)))


@pytest.mark.parametrize(
    "wrong", [{"level": 1.5}, {"grid": 0}, {"beta": np.nan}, {"steps": True}, {"separate": "x"}, {"walk": "x"}]
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        PropagationSettings(**wrong)


def test_a_proposal_is_not_lost_to_what_grew_over_another():
    """Two discs whose common side has a gap: what the first becomes grows over the second, and the first must not vanish."""
    discs = np.stack([disc(120, 100, 40, (240, 280)), disc(120, 180, 40, (240, 280))])
    edges = np.maximum(rims(discs, "inside"), rims(discs, "outside"))
    edges[100:140, 50:70] = edges[100:140, 135:145] = 0
    found = boundary_guided_propagation(edges, Instances(discs))
    assert pairwise_iou(discs, found.masks).max(axis=1).min() > 0.9


def test_a_loose_mask_leaves_no_background_behind():
    truth = disc(80, 80, 60, (160, 160))
    edges = np.maximum(rims(truth[None], "inside"), rims(truth[None], "outside"))
    found = boundary_guided_propagation(edges, Instances(disc(80, 80, 70, (160, 160))[None]))
    assert len(found) == 1
    assert pairwise_iou(truth[None], found.masks).max() > 0.95


def test_copies_of_a_mask_come_back_once():
    mask = disc(50, 60, 20)
    found = boundary_guided_propagation(np.zeros((100, 120), np.float32), Instances(np.stack([mask] * 3)))
    assert len(found) == 1
    assert (found.masks == mask).all()


def halves(mask, share=0.5):
    """Two pieces of a mask, from its left and its right, each with about this share of its columns."""
    columns = np.flatnonzero(mask.any(axis=0))
    left, right = mask.copy(), mask.copy()
    left[:, columns[round(len(columns) * share)] :] = right[:, : columns[round(len(columns) * (1 - share))]] = False
    return np.stack([left, right])


@pytest.mark.parametrize("size", [12, 20, 40, 80])
@pytest.mark.parametrize("strength", [0.3, 0.4, 0.7, 1])
def test_halves_of_an_object_come_together_however_small_it_is_and_soft_its_edges(size, strength):
    truth = disc(60, 60, size / 2, (120, 120))
    edges = np.float32(strength) * rims(truth[None], "inside")
    found = boundary_guided_propagation(
        edges, Instances(halves(truth)), PropagationSettings(walk="basins", min_area=16)
    )
    assert len(found) == 1
    assert pairwise_iou(truth[None], found.masks).max() > 0.9


@pytest.mark.parametrize("strength", [0.3, 0.4, 1])
def test_a_quarter_of_a_small_object_grows_to_all_of_it(strength):
    truth = disc(60, 60, 10, (120, 120))
    quarter = truth & (np.arange(120) < 60) & (np.arange(120)[:, None] < 60)
    edges = np.float32(strength) * rims(truth[None], "inside")
    found = boundary_guided_propagation(
        edges, Instances(quarter[None]), PropagationSettings(walk="basins", min_area=16)
    )
    assert len(found) == 1
    assert pairwise_iou(truth[None], found.masks).max() > 0.75


@pytest.mark.parametrize("judge", [True, False])
@pytest.mark.parametrize("strength", [0.3, 0.5, 1])
def test_a_ring_stays_a_ring(strength, judge):
    outer, inner = disc(60, 60, 40, (120, 120)), disc(60, 60, 20, (120, 120))
    ring = outer & ~inner
    edges = np.float32(strength) * rims(np.stack([outer, inner]), "inside")
    found = boundary_guided_propagation(
        edges, Instances(np.stack([ring, inner])), PropagationSettings(walk="basins", judge=judge)
    )
    assert len(found) == 2
    assert pairwise_iou(np.stack([ring, inner]), found.masks).max(axis=1).min() > 0.9


def test_an_image_without_edges_gets_no_objects_that_were_not_given():
    noise = (0.1 * np.random.default_rng(0).random((100, 120))).astype(np.float32)
    given = disc(50, 60, 20)
    found = boundary_guided_propagation(noise, Instances(given[None]))
    assert (found.masks == given).all()
    assert found.scores.max(initial=0) < 0.1
