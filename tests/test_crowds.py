"""Crowds in instance scores: those of pycocotools on the same records, each crowd by itself and uncut."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dataset_roots import image, save_json, save_photo, voc
from tracedge.datasets.coco import open_coco
from tracedge.datasets.voc import open_voc
from tracedge.errors import DataError
from tracedge.export import coco_reader
from tracedge.export.coco import coco_records, coco_result
from tracedge.export.coco_reader import read_coco
from tracedge.export.rle import encode
from tracedge.instances import Instances
from tracedge.metrics.instances import InstanceScores, score_instances

HW = (40, 60)


def box(top, left, bottom, right):
    mask = np.zeros(HW, bool)
    mask[top:bottom, left:right] = True
    return mask


def stacked(*masks):
    return np.stack(masks) if masks else np.zeros((0, *HW), bool)


def scored(objects, crowds, found, scores=None):
    figures = InstanceScores()
    figures.add(
        score_instances(Instances(stacked(*objects)), Instances(stacked(*found), scores), crowds=stacked(*crowds))
    )
    return figures.compute()


def by_pycocotools(images):
    """COCO's figures of (objects, crowds, found) of each image, from records that are written here."""
    truths, annotations, results = [], [], []
    for number, (objects, crowds, found) in enumerate(images, start=1):
        truths.append({"id": number, "height": HW[0], "width": HW[1], "file_name": f"{number}.png"})
        for masks, iscrowd in ((objects.masks, 0), (crowds, 1)):
            for record in coco_records(Instances(masks), number, "x.png", len(annotations) + 1)[1]:
                annotations.append(record | {"iscrowd": iscrowd})
        results += [coco_result(record) for record in coco_records(found, number, "x.png")[1]]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        categories = [{"id": 1, "name": "object"}]
        truth.dataset = {"images": truths, "annotations": annotations, "categories": categories, "info": {}}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results) if results else COCO(), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [evaluation.stats[0], evaluation.stats[1], evaluation.stats[8]]


def test_a_mask_in_a_crowd_is_neither_right_nor_wrong():
    right, other = box(5, 5, 20, 20), box(25, 30, 35, 45)
    assert scored([right], [], [other, right], [0.9, 0.8]).ap == pytest.approx(0.5)
    assert scored([right], [box(22, 28, 40, 60)], [other, right], [0.9, 0.8]).ap == pytest.approx(1)


def test_each_crowd_is_by_itself():
    """A mask over two crowds, 0.55 of it in the larger: forgiven at IoU 0.50 and 0.55, wrong at the other eight."""
    right, over = box(0, 0, 10, 10), box(20, 10, 30, 30)
    crowds = [box(20, 10, 30, 21), box(20, 21, 30, 30)]
    assert scored([right], crowds, [over, right], [0.9, 0.8]).ap == pytest.approx((2 * 1 + 8 * 0.5) / 10)
    assert scored([right], [crowds[0] | crowds[1]], [over, right], [0.9, 0.8]).ap == pytest.approx(1)


def test_a_crowd_is_not_cut_by_the_objects_in_it():
    """The second mask of an object that stands in a crowd lies in the crowd, as COCO has it."""
    inside = box(10, 10, 30, 40)
    assert scored([inside], [box(5, 5, 35, 55)], [inside, inside], [0.9, 0.8]).ap == pytest.approx(1)
    assert scored([inside, box(0, 50, 5, 60)], [box(5, 5, 35, 55)], [inside, inside, box(0, 50, 5, 60)]).ap == 1


boxes = st.tuples(st.integers(0, 30), st.integers(0, 45), st.integers(4, 12), st.integers(4, 20)).map(
    lambda b: box(b[0], b[1], b[0] + b[2], b[1] + b[3])
)
crowded = st.tuples(
    st.lists(boxes, max_size=3),
    st.lists(boxes, max_size=4),
    st.lists(st.tuples(boxes, st.sampled_from([0.25, 0.5, 1.0])), max_size=5),
)


def an_image(drawn, rng):
    """Masks that were drawn, and some near the objects and in the crowds, so that there is something to match and to forgive."""
    objects, crowds, found = drawn
    masks = [mask for mask, _ in found] + [
        np.roll(mask, tuple(rng.integers(-2, 3, 2)), (0, 1)) for mask in objects + crowds
    ]
    scores = [score for _, score in found] + rng.choice([0.25, 0.5, 1.0], len(objects) + len(crowds)).tolist()
    return Instances(stacked(*objects)), stacked(*crowds), Instances(stacked(*masks), scores)


@given(st.lists(crowded, min_size=1, max_size=3), st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_scores_with_crowds_equal_pycocotools(drawn, seed):
    rng = np.random.default_rng(seed)
    images = [an_image(each, rng) for each in drawn]
    if not any(len(found) for _, _, found in images):
        return
    figures, without = InstanceScores(), InstanceScores()
    for objects, crowds, found in images:
        figures.add(score_instances(objects, found, crowds=crowds))
        without.add(score_instances(objects, found))
    ours, bare = figures.compute(), without.compute()
    expected = [None if value < 0 else pytest.approx(value, abs=1e-9) for value in by_pycocotools(images)]
    assert [ours.ap, ours.ap50, ours.ar100] == expected
    if ours.ap is not None:
        assert ours.ap >= bare.ap - 1e-12 and ours.ar100 == bare.ar100
        assert ours.boundary_ap >= bare.boundary_ap - 1e-12
    assert (ours.objects, ours.touching) == (bare.objects, bare.touching)
    assert ours.touching_separated == bare.touching_separated


def test_boundary_ap_compares_a_crowd_by_area():
    """A mask deep in a crowd, whose border is nowhere near the crowd's."""
    right = box(0, 0, 10, 10)
    figures = scored([right], [box(10, 10, 40, 60)], [box(20, 25, 30, 45), right], [0.9, 0.8])
    assert figures.boundary_ap == pytest.approx(1)


def test_crowds_of_another_form_are_refused():
    for crowds in (np.zeros(HW, bool), np.zeros((1, 5, 5), bool)):
        with pytest.raises(DataError, match=r"crowds are masks \(C, H, W\)"):
            score_instances(Instances.empty(HW), Instances.empty(HW), crowds=crowds)


def a_coco_root(root):
    """One image: two objects, one of them in the first of two crowds, and an empty mask."""
    masks = [
        (box(5, 5, 15, 15), 0),
        (box(0, 0, 20, 30), 1),
        (box(25, 5, 35, 15), 0),
        (box(20, 0, 40, 30), 1),
        (box(0, 0, 0, 0), 0),
    ]
    annotations = [
        {"id": k, "image_id": 7, "category_id": k, "segmentation": encode(mask), "iscrowd": crowd}
        for k, (mask, crowd) in enumerate(masks, start=1)
    ]
    save_photo(root / "val2017" / "7.jpg", HW)
    path = root / "annotations" / "instances_val2017.json"
    save_json(path, {"images": [image(7, "7.jpg") | {"height": 40, "width": 60}], "annotations": annotations})
    return path, masks


def test_the_crowds_of_a_coco_file_stay_apart_and_whole(tmp_path):
    _, masks = a_coco_root(tmp_path)
    (sample,) = open_coco(tmp_path).instances()
    np.testing.assert_array_equal(sample.truth.crowds, [masks[1][0], masks[3][0]])
    np.testing.assert_array_equal(sample.truth.objects.seen().masks, [masks[0][0], masks[2][0]])
    assert sample.truth.objects.areas.tolist().count(0) == 1 and len(sample.truth.classes) == 3


def test_the_truth_of_an_image_decodes_each_mask_once(tmp_path, monkeypatch):
    path, masks = a_coco_root(tmp_path)
    decoded = []

    def counted(segmentation, *arguments, **keywords):
        decoded.append(segmentation["counts"])
        return decode(segmentation, *arguments, **keywords)

    decode = coco_reader.decode
    monkeypatch.setattr(coco_reader, "decode", counted)
    read_coco(path).truth(7)
    assert len(decoded) == len(masks)
    decoded.clear()
    read_coco(path).instances(7)
    assert len(decoded) == 3  # predictions have no use for crowds


def test_a_mask_in_the_void_of_voc_counts_as_wrong(tmp_path):
    """Void is left out: there is no ground in VOC on which a mask is forgiven."""
    truth = next(iter(open_voc(voc(tmp_path)).instances())).truth
    in_void = np.zeros(truth.shape, bool)
    in_void[5:20, 27:38] = True
    found = Instances(np.concatenate([in_void[None], truth.objects.masks]), [1, 0.5, 0.5])
    scores = InstanceScores()
    scores.add(score_instances(truth.objects, found, crowds=truth.crowds))
    assert scores.compute().ap == pytest.approx(2 / 3)
