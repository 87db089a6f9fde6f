"""Panoptic quality: COCO's rules by hand and by brute force, equal to torchmetrics, the same bits in any order."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_maps import CAT, CATEGORIES, DOG, SEA, SKY, drawn, pairs, panoptic
from tracedge.categories import COCO_PANOPTIC
from tracedge.errors import DataError, SettingsError
from tracedge.metrics import panoptic as metric
from tracedge.metrics.panoptic import (
    ANY_THING,
    ClassCounts,
    PanopticCounts,
    PanopticScores,
    panoptic_scores,
    score_image,
)
from tracedge.panoptic_map import PanopticMap, Segment


def figures(*images, categories=CATEGORIES, agnostic=False):
    scores = PanopticScores(categories, agnostic=agnostic)
    for truth, found in images:
        scores.update(found, truth)
    return scores.compute()


def of(scored, category):
    one = next(one for one in scored.per_class if one.category == category)
    return one.matched, one.false_alarms, one.missed


def test_every_rule_by_hand():
    # One row of 40 pixels: id: pixels. Truth: cat 1: 0-9, void: 10-13, dog 2: 14-19, crowd of dogs 3: 20-27, sky 4: 28-39.
    truth = panoptic([[1] * 10 + [0] * 4 + [2] * 6 + [3] * 8 + [4] * 12], {1: CAT, 2: DOG, 3: DOG, 4: SKY}, crowds={3})
    ids = np.zeros((1, 40), int)
    ids[0, 2:14] = 11  # a cat on 8 of 10 of the cat and on all void: IoU 8 / (12 + 10 - 8 - 4) = 0.8
    ids[0, 14:17] = 12  # a dog on half of the dog: IoU 0.5 is no match, so a miss and a false alarm
    ids[0, 20:23] = 13  # a dog within the crowd of dogs: neither right nor wrong
    ids[0, 23:25] = 14  # a cat within the crowd of dogs: a false alarm
    ids[0, 25:27] = 15  # a dog within the crowd too
    ids[0, 28:34] = 16  # half of the sky, as sea: a false alarm there, and a miss of the sky
    found = panoptic(ids, {11: CAT, 12: DOG, 13: DOG, 14: CAT, 15: DOG, 16: SEA})
    scored = figures((truth, found))
    assert of(scored, CAT) == (1, 1, 0)
    assert of(scored, DOG) == (0, 1, 1)
    assert of(scored, SKY) == (0, 0, 1)
    assert of(scored, SEA) == (0, 1, 0)
    cat = scored.per_class[0]
    assert (cat.pq, cat.sq, cat.rq) == (pytest.approx(0.8 / 1.5), 0.8, pytest.approx(1 / 1.5))
    assert scored.things.pq == pytest.approx(0.8 / 1.5 / 2)
    assert (scored.stuff.pq, scored.stuff.classes, scored.all.classes) == (0.0, 2, 4)
    assert scored.all.sq == pytest.approx(0.2)


def test_the_hand_case_of_the_reference():
    truth = panoptic([[1, 1, 1, 1, 2, 2, 2, 2]], {1: CAT, 2: CAT})
    found = panoptic([[1, 1, 1, 0, 2, 0, 3, 0]], {1: CAT, 2: CAT, 3: DOG})
    cat = figures((truth, found)).per_class[0]
    assert (cat.matched, cat.false_alarms, cat.missed) == (1, 1, 1)
    assert (cat.pq, cat.sq, cat.rq) == (0.375, 0.75, 0.5)


def test_segments_shifted_beyond_a_third_of_themselves_score_zero():
    """At a shift of a third IoU is exactly a half, which is no match; a pixel less is one."""
    ids = np.zeros((5, 40), int)
    ids[:, 5:20], ids[:, 20:] = 1, 2
    ids[:, :5] = 2
    truth = panoptic(ids, {1: CAT, 2: SKY})
    near, far = (panoptic(np.where(np.roll(ids == 1, by, axis=1), 1, 0), {1: CAT}) for by in (4, 5))
    assert figures((truth, near)).things.sq == pytest.approx(11 / 19)
    assert figures((truth, near)).things.pq == pytest.approx(11 / 19)
    scored = figures((truth, far))
    assert (scored.things.pq, scored.things.sq, scored.things.rq) == (0, 0, 0)
    assert (of(scored, CAT), of(scored, SKY)) == ((0, 1, 1), (0, 0, 1))


def test_more_than_half_in_void_is_no_false_alarm_and_half_is_one():
    truth = panoptic([[0, 0, 0, 1, 1, 1, 1, 1, 1, 1]], {1: SKY})
    assert of(figures((truth, panoptic([[5, 5, 5, 5, 5, 0, 0, 0, 0, 0]], {5: CAT}))), CAT) == (0, 0, 0)
    assert of(figures((truth, panoptic([[5, 5, 5, 5, 5, 5, 0, 0, 0, 0]], {5: CAT}))), CAT) == (0, 1, 0)


def test_void_and_several_crowds_of_a_class_add_up():
    truth = panoptic([[0, 1, 2, 3, 3]], {1: CAT, 2: CAT, 3: SKY}, crowds={1, 2})
    assert of(figures((truth, panoptic([[5, 5, 5, 5, 5]], {5: CAT}))), CAT) == (0, 0, 0)


def test_a_crowd_is_never_matched():
    truth = panoptic([[1, 1, 1, 2]], {1: CAT, 2: SKY}, crowds={1})
    assert of(figures((truth, panoptic([[5, 5, 5, 0]], {5: CAT}))), CAT) == (0, 0, 0)


def test_void_of_the_prediction_is_a_part_of_the_union():
    truth = panoptic([[1, 1, 1, 1]], {1: CAT})
    assert of(figures((truth, panoptic([[5, 5, 0, 0]], {5: CAT}))), CAT) == (0, 1, 1)
    assert figures((truth, panoptic([[5, 5, 5, 0]], {5: CAT}))).per_class[0].sq == 0.75


def test_classes_that_are_nowhere_are_in_no_mean():
    truth = panoptic([[1, 1, 2, 2]], {1: CAT, 2: SKY})
    scored = figures((truth, panoptic([[1, 1, 1, 1]], {1: CAT})))
    assert (scored.all.classes, scored.things.classes, scored.stuff.classes) == (2, 1, 1)
    assert [one.pq for one in scored.per_class if one.category in (DOG, SEA)] == [None, None]


def test_nothing_true_and_nothing_found_has_no_score_and_no_image_is_refused():
    empty = PanopticMap.empty((2, 3))
    scored = figures((empty, empty))
    assert (scored.images, scored.all.pq, scored.all.classes, scored.things.sq, scored.stuff.rq) == (
        1,
        None,
        0,
        None,
        None,
    )
    cat = panoptic([[1, 1, 1], [1, 1, 1]], {1: CAT})
    assert figures((cat, empty)).all.pq == 0.0
    assert figures((empty, cat)).all.pq is None  # all of it lies in void
    with pytest.raises(DataError, match="No image was scored"):
        figures()


@settings(deadline=None, max_examples=30)
@given(pairs())
def test_the_truth_itself_scores_one(pair):
    truth, _ = pair
    whole = figures((truth, truth))
    for one in whole.per_class:
        assert one.pq in (1.0, None)
        assert (one.false_alarms, one.missed) == (0, 0)
    assert whole.all.pq in (1.0, None)


def brute_force(images, class_of):
    """COCO's rules from sets of pixels, one segment after the other. Class -> TP, FP, FN and the exact sum of IoU."""
    sums = {}

    def counted(number):
        return sums.setdefault(number, [0, 0, 0, Fraction(0)])

    for truth, found in images:
        true, ours = (
            [(one, {*zip(*np.nonzero(part.ids == one.id), strict=True)}) for one in part.segments]
            for part in (truth, found)
        )
        void = {*zip(*np.nonzero(truth.ids == 0), strict=True)}
        taken = set()
        for g, g_pixels in true:
            if g.iscrowd:
                continue
            for p, p_pixels in ours:
                union = len((p_pixels - void) | g_pixels)
                iou = Fraction(len(p_pixels & g_pixels), union)
                if class_of(p) == class_of(g) and iou > Fraction(1, 2):
                    counted(class_of(g))[0] += 1
                    counted(class_of(g))[3] += Fraction(float(iou))  # rounded once, then added exactly
                    assert p.id not in taken
                    taken.add(p.id)
                    break
            else:
                counted(class_of(g))[2] += 1
        for p, p_pixels in ours:
            crowds = [pixels for g, pixels in true if g.iscrowd and class_of(g) == class_of(p)]
            forgiven = p_pixels & void.union(*crowds)
            if p.id not in taken and 2 * len(forgiven) <= len(p_pixels):
                counted(class_of(p))[1] += 1
    return sums


@pytest.mark.parametrize("agnostic", [False, True])
@settings(deadline=None, max_examples=30)
@given(st.lists(pairs(), min_size=1, max_size=3))
def test_scores_equal_brute_force(agnostic, images):
    def class_of(segment):
        return ANY_THING.id if agnostic and segment.isthing else segment.category_id

    scored, sums = figures(*images, agnostic=agnostic), brute_force(images, class_of)
    means = {True: [], False: []}
    for one in scored.per_class:
        matched, false_alarms, missed, iou = sums.get(one.category.id, [0, 0, 0, Fraction(0)])
        assert (one.matched, one.false_alarms, one.missed) == (matched, false_alarms, missed)
        if matched + false_alarms + missed == 0:
            assert one.pq is None
            continue
        assert one.pq == float(iou / (matched + Fraction(false_alarms + missed, 2)))
        assert one.sq * one.rq == pytest.approx(one.pq, abs=1e-15)
        assert one.rq == float(matched / (matched + Fraction(false_alarms + missed, 2)))
        means[one.category.isthing].append((one.pq, one.sq, one.rq))
    for group, values in (
        (scored.things, means[True]),
        (scored.stuff, means[False]),
        (scored.all, means[True] + means[False]),
    ):
        assert group.classes == len(values)
        expected = pytest.approx(np.mean(values, axis=0).tolist()) if values else [None] * 3
        assert [group.pq, group.sq, group.rq] == expected


@settings(deadline=None, max_examples=20)
@given(st.lists(pairs(), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_shards_in_any_order_give_the_same_bits(images, random):
    whole = figures(*images)
    shuffled = random.sample(images, len(images))
    shards = [PanopticScores(CATEGORIES) for _ in range(3)]
    for (truth, found), shard in zip(shuffled, itertools.cycle(shards), strict=False):
        shard.update(found, truth)
    random.shuffle(shards)
    for shard in shards[1:]:
        shards[0].merge(shard)
    assert shards[0].compute() == whole
    assert panoptic_scores([score_image(found, truth) for truth, found in shuffled], CATEGORIES) == whole


def test_ious_are_summed_exactly():
    # In float64, 0.1 more or less is lost beside the others in one order and not in another; here nothing is lost.
    units = [int(0.9 * 2**53), int(2 / 3 * 2**53), int(0.7 * 2**53)]
    orders = itertools.permutations(PanopticCounts({1: ClassCounts(1, 0, 0, unit)}) for unit in units * 2)
    found = {panoptic_scores(order, CATEGORIES).all.sq for order in itertools.islice(orders, 200)}
    assert found == {sum(units) / (3 * 2**53)}


@pytest.mark.slow  # not the scores: torchmetrics takes its time to be imported
def test_scores_equal_torchmetrics():
    detection = pytest.importorskip("torchmetrics.detection")
    import torch

    rng = np.random.default_rng(3)
    theirs = detection.PanopticQuality(things={1, 18}, stuffs={187, 155}, return_sq_and_rq=True, return_per_class=True)
    images = []
    for _ in range(6):
        truth = single_stuff(drawn(rng, (24, 31), void=False, blocks=True))
        noise = single_stuff(drawn(rng, (24, 31), void=False, blocks=True))
        found = np.where(rng.random((24, 31)) < rng.choice([0.1, 0.4, 0.6]), noise.ids, truth.ids)
        known = {one.id: one for one in (*noise.segments, *truth.segments)}
        segments = [known[number] for number in np.unique(found).tolist()]
        ours = PanopticMap(found, tuple(Segment(one.id, one.category_id, one.isthing) for one in segments))
        images.append((truth, single_stuff(ours)))
    for truth, found in images:
        theirs.update(*(torch.from_numpy(tagged(part))[None] for part in (found, truth)))
    expected = theirs.compute().numpy()  # a row a class: pq, sq, rq; things first, each in ascending order
    scored = {one.category.id: one for one in figures(*images).per_class}
    assert sum(one.matched for one in scored.values()) > 5
    assert sum(one.missed for one in scored.values()) > 2
    for number, line in zip((1, 18, 155, 187), expected, strict=True):
        one = scored[number]
        assert [one.pq, one.sq, one.rq] == pytest.approx(line.tolist(), abs=1e-6)


def single_stuff(part):
    """The same with one segment a stuff class: torchmetrics does not look at the ids of stuff."""
    ids, kept = part.ids.copy(), {}
    for one in part.segments:
        first = kept.setdefault(one.id if one.isthing else -one.category_id, one)
        ids[ids == one.id] = first.id
    return PanopticMap(ids, tuple(Segment(one.id, one.category_id, one.isthing) for one in kept.values()))


def tagged(part):
    """(H, W, 2): category and id, as torchmetrics takes them."""
    category = np.zeros(part.ids.shape, np.int64)
    for one in part.segments:
        category[part.ids == one.id] = one.category_id
    return np.stack([category, part.ids.astype(np.int64)], axis=2)


def test_things_as_one_class_are_matched_whatever_their_class():
    truth = panoptic([[1, 1, 2, 2]], {1: CAT, 2: SKY})
    found = panoptic([[5, 5, 6, 6]], {5: DOG, 6: SEA})
    scored = figures((truth, found), agnostic=True)
    assert (scored.things.pq, scored.things.classes) == (1.0, 1)
    assert scored.stuff.pq == 0.0
    assert figures((truth, found)).things.pq == 0.0
    assert [one.category.name for one in scored.per_class] == ["any thing", "sea", "sky"]


def test_many_segments_are_counted_by_sorting_as_by_a_table(monkeypatch):
    truth = panoptic(np.arange(1, 1201).reshape(30, 40), dict.fromkeys(range(1, 1201), CAT))
    found = panoptic(np.arange(1, 1201).reshape(30, 40) // 2 + 1, dict.fromkeys(range(1, 602), CAT))
    by_sorting = score_image(found, truth)
    monkeypatch.setattr(metric, "_PLACES_PER_PIXEL", 10**9)
    assert score_image(found, truth) == by_sorting
    assert by_sorting.classes[CAT.id].matched == 2  # the first and the last: pairs overlap by exactly a half


def test_what_does_not_fit_together_is_refused():
    cat = panoptic([[1, 1]], {1: CAT})
    scores = PanopticScores(CATEGORIES)
    with pytest.raises(DataError, match=r"the truth is \(1, 2\) and the prediction \(1, 3\) \(rows, columns\)"):
        scores.update(panoptic([[1, 1, 1]], {1: CAT}), cat)
    with pytest.raises(DataError, match="the segment 1 is a thing of category 17, which is not among"):
        scores.update(PanopticMap(np.array([[1, 1]]), (Segment(1, 17, True),)), cat)
    with pytest.raises(DataError, match=r"the segment 1 is a thing of category 187, which is 'sky' \(stuff\)"):
        scores.update(cat, PanopticMap(np.array([[1, 1]]), (Segment(1, 187, True),)))
    assert scores.images == 0
    with pytest.raises(SettingsError, match="things as one class or not"):
        scores.merge(PanopticScores(CATEGORIES, agnostic=True))
    with pytest.raises(SettingsError, match="other categories"):
        scores.merge(PanopticScores(COCO_PANOPTIC))
    with pytest.raises(SettingsError, match=r"categories \[5\]"):
        scores.add(PanopticCounts({5: ClassCounts(0, 1, 0, 0)}))
    with pytest.raises(DataError, match="two categories have one name"):
        PanopticScores([CAT, type(CAT)(2, "cat", True)])
    with pytest.raises(DataError, match="each match has an IoU"):
        ClassCounts(1, 0, 0, 0)


def test_figures_are_ready_for_json():
    plain = figures((panoptic([[1, 1]], {1: CAT}),) * 2).as_dict()
    assert {name: plain[name] for name in ("pq", "sq_things", "rq_stuff", "classes_stuff", "images")} == {
        "pq": 1.0, "sq_things": 1.0, "rq_stuff": None, "classes_stuff": 0, "images": 1
    }  # fmt: skip
    assert plain["per_class"]["cat"] == {
        "id": 1, "isthing": True, "pq": 1.0, "sq": 1.0, "rq": 1.0, "matched": 1, "false_alarms": 0, "missed": 0
    }  # fmt: skip
