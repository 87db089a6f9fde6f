"""The traps of COCO's evaluation, each of which has cost somebody a figure, and that none of them is open here."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools import mask as reference
from pycocotools.coco import COCO

from dataset_roots import voc, voc_objects
from instance_answers import boxes, by_pycocotools, evaluated_by_pycocotools, scored, scores_of
from tracedge.cli.instance_methods import FromFile
from tracedge.datasets.layouts import open_dataset
from tracedge.datasets.voc import open_voc
from tracedge.errors import DataError
from tracedge.evaluation.instances import evaluate_instances, labelled_set
from tracedge.export.coco import coco_records, coco_result
from tracedge.images import MAX_PIXELS
from tracedge.instances import Instances
from tracedge.metrics.instances import InstanceScores, score_instances

LABELS = boxes((5, 5, 25, 25), (30, 40, 55, 70))
OTHER = boxes((10, 30, 40, 50), (2, 2, 8, 20))
numpy_of_pycocotools = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def truth_file(tmp_path, *maps, categories=(1,)):
    """A COCO file of label maps; the objects of an image take the categories in turn."""
    images, annotations = [], []
    for number, labels in enumerate(maps, start=1):
        image, records = coco_records(Instances.from_labels(labels), number, f"{number}.png", len(annotations) + 1)
        images.append(image)
        annotations += [
            record | {"category_id": categories[place % len(categories)]} for place, record in enumerate(records)
        ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": str(number)} for number in sorted(set(categories))],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return tmp_path / "truth.json", content


def results_of(*maps, first=1, **changes):
    """COCO results that are the label maps themselves, with some fields changed."""
    found = []
    for number, labels in enumerate(maps, start=first):
        records = coco_records(Instances.from_labels(labels), number, "x.png")[1]
        found += [coco_result(record) | changes for record in records]
    return found


def figures_of_files(truth, tmp_path, results):
    """As `tracedge evaluate instances --truth truth.json --pred results.json` scores them."""
    (tmp_path / "results.json").write_text(json.dumps(results))
    ways = FromFile(pred=tmp_path / "results.json", image_ids=truth, max_pixels=MAX_PIXELS)
    (row,) = evaluate_instances(labelled_set(open_dataset(truth).instances()), ways.methods)
    return row.figures


def test_a_a_prediction_of_category_zero_counts(tmp_path):
    truth, content = truth_file(tmp_path, LABELS)
    results = results_of(LABELS, category_id=0)
    theirs = evaluated_by_pycocotools(content["images"], content["annotations"], results, content["categories"])
    assert theirs[0] == 0  # the trap
    assert figures_of_files(truth, tmp_path, results).ap == 1
    image = score_instances(Instances.from_labels(LABELS), Instances.from_labels(LABELS))
    assert {record["category_id"] for record in (*image.truth, *image.found)} == {1}


def test_b_a_box_in_the_results_changes_nothing_and_none_is_written(tmp_path):
    truth, content = truth_file(tmp_path, LABELS, OTHER)
    found = results_of(LABELS, OTHER)
    boxed = [result | {"bbox": [0, 0, 80, 60]} for result in found]
    assert areas_by_pycocotools(content, boxed) == [60 * 80] * 4  # the trap: small, medium and large go by the box
    assert areas_by_pycocotools(content, found) == [400, 750, 600, 108]
    assert figures_of_files(truth, tmp_path, boxed) == figures_of_files(truth, tmp_path, found)
    image = score_instances(Instances.from_labels(LABELS), Instances.from_labels(LABELS))
    assert all("bbox" not in result and "area" not in result for result in image.found)


def areas_by_pycocotools(content, results):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {**copy.deepcopy(content), "info": {}}
        truth.createIndex()
        loaded = truth.loadRes(copy.deepcopy(results))
    return [int(annotation["area"]) for annotation in loaded.dataset["annotations"]]


def crowded(count):
    """One object found surely, the other behind so many false masks; all scores differ."""
    false = np.zeros((count, 60, 80), bool)
    false[np.arange(count), 58, np.arange(count) % 80] = True
    masks = np.concatenate([Instances.from_labels(LABELS).masks, false])
    return Instances(masks, np.r_[0.95, 0.2, np.linspace(0.9, 0.3, count)])


@pytest.mark.parametrize("false", [50, 98, 99, 160])
def test_c_ap_is_that_of_a_hundred_masks_however_many_there_are(false):
    """AP inside COCO's summary belongs to 100 masks; with any other number it is -1."""
    image = score_instances(Instances.from_labels(LABELS), crowded(false))
    assert len(image.found) == min(100, false + 2) and image.predictions == false + 2
    figures, theirs = scored((LABELS, crowded(false))), by_pycocotools([(LABELS, crowded(false))])
    assert figures.predictions == false + 2
    assert [figures.ap, figures.ap50, figures.ar100] == pytest.approx([theirs[0], theirs[1], theirs[8]], abs=1e-9)
    assert figures.ar100 == (1 if false <= 98 else 0.5)


def test_d_a_hundred_masks_are_those_of_an_image_and_not_of_each_category(tmp_path):
    truth, content = truth_file(tmp_path, LABELS, categories=(1, 2))
    results = [coco_result(record) for record in coco_records(crowded(160), 1, "x.png")[1]]
    results = [result | {"category_id": 1 + place % 2} for place, result in enumerate(results)]
    arguments = content["images"], content["annotations"], results, content["categories"]
    collapsed = evaluated_by_pycocotools(*arguments, use_categories=False)
    assert evaluated_by_pycocotools(*arguments)[8] == 1 > collapsed[8]  # the trap: 80 false masks a category, not 160
    figures = figures_of_files(truth, tmp_path, results)
    assert [figures.ap, figures.ar100] == pytest.approx([collapsed[0], collapsed[8]], abs=1e-9)


@pytest.mark.parametrize(("of_truth", "of_found"), [((18, 3), 1), ((1,), 90), ((18, 3), 18)])
def test_e_categories_are_one_on_both_sides(tmp_path, of_truth, of_found):
    truth, _ = truth_file(tmp_path, LABELS, OTHER, categories=of_truth)
    figures = figures_of_files(truth, tmp_path, results_of(LABELS, OTHER, category_id=of_found))
    assert (figures.ap, figures.ar100, figures.boundary_ap, figures.objects) == (1, 1, 1, 4)


@numpy_of_pycocotools
def test_f_masks_go_by_columns_and_their_counts_are_text():
    """A mask that is neither square nor symmetric: by rows it would be another one."""
    mask = np.zeros((7, 11), bool)
    mask[1:3, 4:10] = mask[5, 0] = True
    image = score_instances(Instances(mask[None]), Instances(mask[None]))
    for record in (*image.truth, *image.found):
        said = json.loads(json.dumps(record))["segmentation"]
        assert type(said["counts"]) is str and said["size"] == [7, 11]
        np.testing.assert_array_equal(reference.decode(said).astype(bool), mask)


def test_g_results_of_an_image_that_the_truth_has_not_are_refused(tmp_path):
    truth, _ = truth_file(tmp_path, LABELS)
    with pytest.raises(DataError, match=r"is of image 7, which is not among the 1 images"):
        figures_of_files(truth, tmp_path, results_of(LABELS) + results_of(OTHER, first=7))


def tied(order):
    """The object and a false mask of one score, in one order or the other."""
    false = boxes((40, 2, 55, 30)) == 1
    masks = [LABELS == 1, LABELS == 2, false]
    return Instances(np.stack([masks[number] for number in order]))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_among_equal_scores_the_earlier_image_and_the_earlier_mask_come_first(order):
    images = [(LABELS, tied(order)), (OTHER, tied(order)), (LABELS, tied(order))]
    figures, theirs = scored(*images), by_pycocotools(images)
    assert figures.ap == pytest.approx(theirs[0], abs=1e-9)
    assert scored(*images) == figures
    alone = scored((LABELS, tied(order)))
    right = np.array([number < 2 for number in order])
    precision = np.cumsum(right) / np.arange(1, 4)
    expected = np.mean([precision[np.cumsum(right) / 2 >= level].max() for level in np.linspace(0, 1, 101)])
    assert alone.ap == pytest.approx(expected)


def test_constant_scores_do_not_depend_on_how_images_are_shared_out():
    images = [(LABELS, tied((2, 0, 1))), (OTHER, tied((0, 1, 2))), (LABELS, tied((0, 2, 1)))]
    shards = [scores_of([image]) for image in images]
    merged = InstanceScores()
    for shard in shards:
        merged.merge(shard)
    assert merged.compute() == scored(*images)
    assert scored(*images[::-1]).ap != scored(*images).ap  # so the order is one of the settings


@pytest.mark.parametrize("most", [1, 100, 87.3])
def test_scores_that_are_nearly_equal_rank_as_in_pycocotools(tmp_path, most):
    """Saturated scores: in float32 all of an image would be one, and the order that of the file."""
    truth, content = truth_file(tmp_path, LABELS, OTHER)
    rng = np.random.default_rng(0)
    right = results_of(LABELS, OTHER)
    wrong = [one | {"image_id": 3 - one["image_id"]} for one in right]
    results = [
        one | {"score": most * (1 - 1e-9 * int(rank))}
        for one, rank in zip(wrong + right, rng.permutation(8), strict=True)
    ]
    theirs = evaluated_by_pycocotools(content["images"], content["annotations"], results, content["categories"])
    figures = figures_of_files(truth, tmp_path, results)
    assert [figures.ap, figures.ap50, figures.ar100] == pytest.approx([theirs[0], theirs[1], theirs[8]], abs=1e-9)
    tied = figures_of_files(truth, tmp_path, [one | {"score": most} for one in results])
    assert figures.ap > tied.ap + 0.1


def test_images_without_predictions_count_in_files_too(tmp_path):
    truth, content = truth_file(tmp_path, LABELS, OTHER)
    found = results_of(LABELS)
    theirs = evaluated_by_pycocotools(content["images"], content["annotations"], found, content["categories"])
    figures = figures_of_files(truth, tmp_path, found)
    assert [figures.ap, figures.ar100] == pytest.approx([theirs[0], theirs[8]], abs=1e-9)
    assert (figures.ar100, figures.images, figures.objects) == (0.5, 2, 4)
    none = figures_of_files(truth, tmp_path, [])
    assert (none.ap, none.ar100, none.boundary_ap, none.predictions) == (0, 0, 0, 0)


def test_the_void_of_voc_is_neither_object_nor_background(tmp_path):
    """Out of the objects, and a mask that lies in it is wrong: COCO ignores no pixels."""
    dataset = labelled_set(open_voc(voc(tmp_path), "train").instances())
    void = voc_objects() == 255
    in_void = np.zeros(void.shape, bool)
    in_void[2:8, 26:34] = True

    def methods(sample):
        assert not (sample.objects.masks & void).any() and not len(sample.crowds)
        plain = Instances(sample.objects.masks, [0.5, 0.5])
        widened = [mask | (void & (np.indices(void.shape)[1] > 34)) for mask in sample.objects.masks]
        return {
            "plain": plain,
            "and in void": Instances.merge([Instances(in_void[None], [0.9]), plain]),
            "over void": Instances(np.stack(widened), [0.5, 0.5]),
        }

    rows = {row.name: row.figures for row in evaluate_instances(dataset, lambda: methods)}
    assert rows["plain"].ap == 1
    assert rows["and in void"].ap < 1
    assert rows["over void"].ap < 1  # COCO has no ignored pixel: what a mask takes of void counts in its IoU
