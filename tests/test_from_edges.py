"""Masks straight from edges: objects, not background, not parts."""

import numpy as np
import pytest

from tracedge.datasets.scenes import draw_scene
from tracedge.errors import SettingsError
from tracedge.instances import Instances, pairwise_iou
from tracedge.metrics.edges import instance_boundaries
from tracedge.objectness import gap_shares, strongest_split
from tracedge.proposals.from_edges import (
    FromEdgesSettings,
    best_disjoint,
    instances_from_edges,
    unlike,
)
from tracedge.regions import closed_regions


def test_oracle_edges_of_a_scene_give_its_objects():
    scene = draw_scene(900_001, 192)
    edges = instance_boundaries(scene.labels.astype(np.int32)).astype(np.float32)
    found = instances_from_edges(edges)
    truth = Instances.from_labels(scene.labels)
    large = truth.areas > 200
    assert pairwise_iou(truth.masks, found.masks).max(axis=1)[large].min() > 0.9


def test_background_comes_after_objects_and_nothing_overlaps():
    edges = np.zeros((60, 80), np.float32)
    edges[10:40, [10, 30, 50]] = edges[[10, 39], 10:51] = 0.8
    found = instances_from_edges(edges)
    assert found.masks.sum(axis=0).max() == 1
    assert not found.masks[:2, 0, 0].any()
    assert (np.diff(found.scores) <= 0).all()


def test_a_faint_line_inside_does_not_split_an_object_and_a_strong_one_does():
    edges = np.zeros((60, 80), np.float32)
    edges[10:50, [10, 60]] = edges[[10, 49], 10:61] = 0.9
    edges[10:50, 35] = 0.1
    assert instances_from_edges(edges).masks[0][30, [20, 50]].all()
    edges[10:50, 35] = 0.9
    first, second = instances_from_edges(edges).masks[:2, 30][:, [20, 50]]
    assert (first != second).all()


def two_halves(line):
    """A box of 40 x 50 with a line of that strength down its middle; the rest is background."""
    edges = np.zeros((60, 80), np.float32)
    edges[10:50, [10, 60]] = edges[[10, 49], 10:61] = 0.9
    edges[10:50, 35] = line
    return edges


def test_overlapping_masks_hold_the_whole_and_its_parts():
    edges = two_halves(0.5)
    disjoint, all_of_them = instances_from_edges(edges), instances_from_edges(edges, overlapping=True)
    parts = np.zeros((3, 60, 80), bool)
    parts[0, 10:50, 10:36] = parts[1, 10:50, 36:61] = parts[2, 10:50, 10:61] = True
    assert pairwise_iou(parts, all_of_them.masks).max(axis=1).min() > 0.9
    assert pairwise_iou(parts, disjoint.masks).max(axis=1).min() < 0.7
    assert (np.diff(all_of_them.scores) <= 0).all()


def test_a_speck_inside_speaks_less_against_an_object_than_a_line_through_it():
    regions = closed_regions(two_halves(0.5))
    speck = two_halves(0)
    speck[28:33, [20, 24]] = speck[[28, 32], 20:25] = 0.5
    with_speck = closed_regions(speck)
    splits = []
    for each in (regions, with_speck):
        box = each.gathered(each.areas)
        whole = int(np.abs(box - 40 * 50).argmin())
        splits.append(strongest_split(each, each.areas)[whole])
    assert splits[1] < 0.7 * splits[0]
    assert strongest_split(regions, regions.areas, 0.0) == pytest.approx(regions.levels())


def disc(row, column, radius=20):
    rows, columns = np.indices((100, 100))
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_ground_between_objects_is_cut_out_by_several_and_what_lies_behind_one_is_not():
    four = np.stack([disc(row, column) for row in (29, 70) for column in (29, 70)])
    between = np.zeros((100, 100), bool)
    between[29:71, 29:71] = True
    between &= ~four.any(axis=0)
    shares = gap_shares(np.concatenate((four, between[None])))
    assert shares[:4].tolist() == [0] * 4
    assert shares[4] > 0.4
    behind = disc(50, 70) & ~disc(50, 40)
    assert gap_shares(np.stack((disc(50, 40), behind))).tolist() == [0, 0]


def test_ground_closed_in_by_objects_comes_after_them():
    labels = np.zeros((100, 100), np.int32)
    for number, (row, column) in enumerate(((29, 29), (29, 70), (70, 29), (70, 70)), start=1):
        labels[disc(row, column, 21)] = number
    edges = instance_boundaries(labels).astype(np.float32)
    found, plain = instances_from_edges(edges), instances_from_edges(edges, FromEdgesSettings(gaps=0))
    between = [int(np.flatnonzero(each.masks[:, 50, 50])[0]) for each in (found, plain)]
    assert between[0] >= 4
    assert found.scores[between[0]] < 0.7 * plain.scores[between[1]]
    discs = pairwise_iou(Instances.from_labels(labels).masks, found.masks).argmax(axis=1)
    assert sorted(discs) == [0, 1, 2, 3]


def test_unlike_keeps_what_brute_force_keeps():
    rng = np.random.default_rng(1)
    regions = closed_regions(rng.random((12, 14), dtype=np.float32))
    nodes = rng.permutation(len(regions.areas) + len(regions.merges))
    members = regions.members(np.arange(len(nodes)))
    overlap = pairwise_iou(members[:, regions.basins], members[:, regions.basins])
    kept = []
    for node in nodes.tolist():
        if not kept or overlap[node, kept].max() < 0.6:
            kept.append(node)
    assert unlike(regions, nodes, 0.6).tolist() == kept


def test_no_edges_give_no_instances():
    assert len(instances_from_edges(np.zeros((20, 24), np.float32))) == 0


def test_the_best_set_of_nodes_is_the_best_of_all_sets():
    rng = np.random.default_rng(0)
    regions = closed_regions(rng.random((6, 7), dtype=np.float32))
    values = rng.random(len(regions.areas) + len(regions.merges))
    members = regions.members(np.arange(len(values)))

    def best_within(node):
        if node < len(regions.areas):
            return values[node]
        return max(values[node], sum(best_within(child) for child in regions.merges[node - len(regions.areas)]))

    chosen = best_disjoint(regions, values)
    assert members[chosen].sum(axis=0).max() == 1
    assert values[chosen].sum() == pytest.approx(best_within(len(values) - 1))


@pytest.mark.parametrize("wrong", [{"min_area": -1.0}, {"max_area": 2.0}, {"border": np.inf}, {"size": True}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        FromEdgesSettings(**wrong)
