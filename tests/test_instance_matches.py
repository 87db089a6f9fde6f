"""Images matched one by one and ranked together score what faster-coco-eval gives for all of them at once."""

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedge.export.coco import CATEGORY, coco_records
from tracedge.instances import Instances
from tracedge.metrics.instance_matches import Matches, Ranking, match_instances
from tracedge.metrics.instances import InstanceScores, count_instances, score_instances

SIZE = (24, 30)


def boxes(random, count):
    masks = np.zeros((count, *SIZE), bool)
    for mask in masks:
        top, left = random.integers(0, 18), random.integers(0, 22)
        mask[top : top + random.integers(2, 9), left : left + random.integers(2, 9)] = True
    return masks


def scene(random):
    """Objects, and masks near them of few different scores; sometimes crowds, sometimes nothing."""
    truth = boxes(random, random.integers(0, 5))
    near = [np.roll(mask, random.integers(-1, 2, 2), axis=(0, 1)) for mask in truth for _ in range(2)]
    found = np.concatenate([np.array(near, bool).reshape(-1, *SIZE), boxes(random, random.integers(0, 4))])
    found = found[random.permutation(len(found))]
    image = score_instances(Instances(truth), Instances(found, random.integers(1, 4, len(found)) / 4))
    crowds = coco_records(Instances(boxes(random, random.integers(0, 3))), 0, "image")[1]
    image.truth.extend({**record, "iscrowd": 1} for record in crowds)
    return image


def at_once(images, kind):
    records = {"images": [], "annotations": [], "categories": [CATEGORY]}
    found = []
    for number, image in enumerate(images, start=1):
        records["images"].append({"id": number, "height": SIZE[0], "width": SIZE[1], "file_name": "image"})
        for record in image.truth:
            records["annotations"].append({**record, "image_id": number, "id": len(records["annotations"]) + 1})
        found += [{**result, "image_id": number} for result in image.found]
    truth = COCO(records, print_function=lambda *_: None)
    evaluation = COCOeval_faster(
        truth, truth.loadRes(found), iouType=kind, print_function=lambda *_: None, boundary_cpu_count=1
    )
    evaluation.run()
    return [evaluation.stats[0], evaluation.stats[1], evaluation.stats[8]]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6))
def test_scores_are_those_of_the_reference(seed, count):
    random = np.random.default_rng(seed)
    images, scores = [scene(random) for _ in range(count)], InstanceScores()
    for image in images:
        scores.add(image)
    ours = scores.compute()
    if ours.objects == 0:
        assert ours.ap is ours.ap50 is ours.ar100 is ours.boundary_ap is None
        return
    assert [ours.ap, ours.ap50, ours.ar100] == pytest.approx(at_once(images, "segm"), abs=1e-12)
    assert ours.boundary_ap == pytest.approx(at_once(images, "boundary")[0], abs=1e-12)


def test_a_mask_takes_the_object_that_is_left_and_only_then_a_crowd():
    plane = np.zeros((4, *SIZE), bool)
    plane[:, 2:12, 2:12] = True
    plane[3] = ~plane[3]
    objects = coco_records(Instances(plane[:1]), 0, "image")[1]
    crowd = {**coco_records(Instances(plane[:1]), 0, "image")[1][0], "iscrowd": 1}
    found = score_instances(Instances(plane[:1]), Instances(plane, [0.9, 0.8, 0.7, 0.6])).found
    every = 2**10 - 1
    assert match_instances(SIZE, objects, found, "segm") == Matches((every, 0, 0, 0), (0, 0, 0, 0))
    assert match_instances(SIZE, [*objects, crowd], found, "segm") == Matches((every, 0, 0, 0), (0, every, every, 0))
    assert match_instances(SIZE, [], found, "segm") == Matches((0,) * 4, (0,) * 4)
    assert match_instances(SIZE, objects, [], "segm") == Matches((), ())


def test_of_two_objects_that_fit_alike_the_last_is_taken_as_the_reference_does():
    """The better mask lies halfway between two objects; the other mask is the first object, which must be left for it."""
    truth, found = np.zeros((2, 2, *SIZE), bool)
    truth[0, 2:12, 0:12] = truth[1, 2:12, 4:16] = found[0, 2:12, 2:14] = found[1, 2:12, 0:12] = True
    image, scores = score_instances(Instances(truth), Instances(found, [0.9, 0.8])), InstanceScores()
    assert match_instances(SIZE, image.truth, image.found, "segm").hit == (0b11111, 2**10 - 1)
    scores.add(image)
    assert scores.compute().ap == pytest.approx(at_once([image], "segm")[0], abs=1e-12)


def test_precision_and_recall_by_hand():
    """Two objects; the ranks are right, wrong, in a crowd, right: precision 1, 1/2, -, 2/3."""
    every, ranking = 2**10 - 1, Ranking()
    ranking.add([0.9, 0.3], Matches((every, every), (0, 0)))
    ranking.add([0.8, 0.5], Matches((0, 0), (0, every)))
    precision, most = ranking.precision_and_recall(2)
    assert (most == 1).all()
    assert precision[0, :51] == pytest.approx(1) and precision[0, 51:] == pytest.approx(2 / 3)


def test_what_is_kept_of_an_image_is_small():
    random = np.random.default_rng(0)
    image = score_instances(Instances(boxes(random, 10)), Instances(boxes(random, 50)))
    scores = InstanceScores()
    counts = count_instances(image)
    for _ in range(100):
        scores.add(counts)
    kept = sum(
        part.itemsize * len(part) for side in (scores._by_mask, scores._by_border) for part in vars(side).values()
    )
    assert kept == 100 * 50 * 24
