"""Masks without a pixel: in a score they count as pycocotools counts them, and everywhere else they are left out."""

import json

import numpy as np
import pytest

from instance_answers import boxes, by_pycocotools, evaluated_by_pycocotools, noisy, scored
from instance_masks import assert_equal, two
from tracedge.cli.instance_methods import FromFile
from tracedge.datasets.layouts import open_dataset
from tracedge.errors import DataError
from tracedge.evaluation.instance_methods import Comparison, every_way
from tracedge.evaluation.instances import LabelledInstances, evaluate_instances, labelled_set
from tracedge.export.coco import coco_records, coco_result
from tracedge.export.coco_reader import read_coco
from tracedge.export.geojson import instances_geojson
from tracedge.export.label_studio import label_studio_task
from tracedge.export.labels import read_instances, write_instances, write_labels
from tracedge.export.rle import encode
from tracedge.export.yolo import yolo_lines
from tracedge.images import MAX_PIXELS
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.metrics.instances import mean_best_iou, score_instances
from tracedge.propagation import boundary_guided_propagation
from tracedge.proposals.from_files import find_masks
from tracedge.segmentation import SegmentSettings, segment
from tracedge.visualize import instances_overlay

HW = (60, 80)
NOTHING = encode(np.zeros(HW, bool))
OUTSIDE = [[-9, -9, -5, -9, -5, -5], [90, 10, 99, 10, 99, 20]]
LABELS = boxes((5, 5, 25, 25), (5, 25, 25, 50))


def with_blanks(instances, count, scores=1.0):
    """The same after so many masks without a pixel."""
    masks = np.concatenate([np.zeros((count, *instances.shape), bool), instances.masks])
    return Instances(masks, np.r_[np.broadcast_to(scores, count), instances.scores], instances.settings, blanks=True)


def drawn_files(rng):
    """Images, annotations and results, with masks that have no pixel on both sides, crowds among them."""
    images, annotations, results = [], [], []
    for number in range(1, 5):
        labels = boxes(
            *((top, left, top + 12, left + 14) for top in (4, 24, 44) for left in (3, 20) if rng.random() > 0.3)
        )
        image, records = coco_records(Instances.from_labels(labels), number, f"{number}.png")
        blanks = [NOTHING, *(OUTSIDE for _ in range(2))][: rng.integers(0, 4)]
        records += [{**records[0], "segmentation": one, "area": int(rng.integers(0, 9))} for one in blanks if records]
        records += [{**one, "iscrowd": 1} for one in records[-1:] if rng.random() < 0.3]
        images.append(image)
        annotations += [records[place] for place in rng.permutation(len(records))]
        found = [coco_result(record) for record in coco_records(noisy(labels, rng), number, "x.png")[1]]
        scores = rng.choice([0.25, 0.5, 0.75, 1.0], rng.integers(0, 4)).tolist()
        found += [{"image_id": number, "category_id": 1, "segmentation": NOTHING, "score": one} for one in scores]
        results += [found[place] for place in rng.permutation(len(found))]
    annotations = [one | {"id": number} for number, one in enumerate(annotations, 1)]
    return images, annotations, results


def figures_of(tmp_path, images, annotations, results):
    """As `tracedge evaluate instances --truth truth.json --pred results.json` scores them."""
    categories = [{"id": 1, "name": "x"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    (tmp_path / "results.json").write_text(json.dumps(results))
    ways = FromFile(pred=tmp_path / "results.json", image_ids=tmp_path / "truth.json", max_pixels=MAX_PIXELS)
    samples = labelled_set(open_dataset(tmp_path / "truth.json").instances())
    (row,) = evaluate_instances(samples, ways.methods)
    return row.figures


@pytest.mark.parametrize("seed", range(8))
def test_masks_without_a_pixel_score_as_in_pycocotools(tmp_path, seed):
    images, annotations, results = drawn_files(np.random.default_rng(seed))
    theirs = evaluated_by_pycocotools(images, annotations, results, [{"id": 1, "name": "x"}])
    figures = figures_of(tmp_path, images, annotations, results)
    assert [figures.ap, figures.ap50, figures.ar100] == pytest.approx([theirs[0], theirs[1], theirs[8]], abs=1e-9)
    assert figures.objects == sum(not one["iscrowd"] for one in annotations)
    assert figures.predictions == len(results)


def test_an_object_without_a_pixel_is_missed_whatever_its_annotation_says_of_its_area(tmp_path):
    image, records = coco_records(Instances.from_labels(LABELS), 1, "1.png")
    for area in (0, 500):
        images, annotations = [image], [*records, {**records[0], "id": 3, "segmentation": OUTSIDE, "area": area}]
        results = [coco_result(record) for record in records]
        theirs = evaluated_by_pycocotools(images, annotations, results, [{"id": 1, "name": "x"}])
        figures = figures_of(tmp_path, images, annotations, results)
        assert (figures.ar100, figures.ap) == pytest.approx((theirs[8], theirs[0]), abs=1e-9)
        assert figures.ar100 == pytest.approx(2 / 3)


def test_a_mask_without_a_pixel_is_a_false_alarm_and_takes_a_place_among_the_hundred():
    truth = Instances.from_labels(LABELS)
    for count in (0, 1, 98, 99, 100):
        found = with_blanks(truth, count)
        images, figures = [(LABELS, found)], scored((LABELS, found))
        theirs = by_pycocotools(images)
        assert [figures.ap, figures.ap50, figures.ar100] == pytest.approx([theirs[0], theirs[1], theirs[8]], abs=1e-9)
        assert figures.boundary_ap == pytest.approx(figures.ap)
        assert figures.ar100 == max(0, min(2, 100 - count)) / 2
        assert figures.touching_separated == (1 if count <= 98 else 0)
    image = score_instances(with_blanks(truth, 1), with_blanks(truth, 1))
    assert mean_best_iou(image) == pytest.approx(2 / 3) and image.pairs == 1


def test_instances_are_asked_before_they_take_masks_without_a_pixel_and_keep_them_through_everything():
    with pytest.raises(DataError, match="not empty"):
        Instances(np.zeros((1, 3, 4), bool))
    some = with_blanks(two(), 2, (0.5, 0.3))
    assert some.areas.tolist() == [0, 0, *two().areas.tolist()]
    assert some.boxes.tolist() == [[0] * 4] * 2 + two().boxes.tolist()
    assert some.inner_points.tolist() == [[0, 0]] * 2 + two().inner_points.tolist()
    assert some[1:].areas.tolist() == some.areas[1:].tolist()
    assert some.sorted().scores.tolist() == sorted(some.scores, reverse=True)
    assert len(Instances.merge([two(), some])) == 6
    assert_equal(some.seen(), two())
    assert_equal(some.non_overlapping(), two().non_overlapping())
    assert not some.seen().blanks


def test_files_for_people_and_pictures_have_only_what_is_seen(tmp_path):
    some, image = with_blanks(two(), 1), np.zeros((7, 10, 3), np.uint8)
    assert yolo_lines(some) == yolo_lines(two())
    assert instances_geojson(some) == instances_geojson(two())
    assert label_studio_task(some, "a.jpg") == label_studio_task(two(), "a.jpg")
    assert len(some.to_sam()) == 2
    write_instances(tmp_path / "a.npz", some)
    assert_equal(read_instances(tmp_path / "a.npz"), two())
    write_labels(tmp_path / "a.png", some)
    assert instances_overlay(image, some).shape == instances_overlay(image, two()).shape


def npz_of(folder):
    some = with_blanks(two(), 1, 0.75)
    np.savez(folder / "a.npz", masks=some.masks, scores=some.scores)
    return find_masks(folder / "a.npz")


def coco_of(folder):
    image, records = coco_records(with_blanks(two(), 1, 0.75), 1, "a.png")
    (folder / "a.json").write_text(json.dumps({"images": [image], "annotations": records}))
    assert len(read_coco(folder / "a.json").instances(1)) == 2
    return find_masks(folder / "a.json")


@pytest.mark.parametrize("source_of", [npz_of, coco_of])
def test_a_file_of_masks_gives_those_without_a_pixel_to_the_score_and_not_to_propagation(tmp_path, source_of):
    source = source_of(tmp_path)
    seen, scored_ones = source.read("a", (7, 10)), source.read("a", (7, 10), blanks=True)
    assert_equal(seen, two(), settings=False)
    assert_equal(scored_ones, with_blanks(two(), 1, 0.75), settings=False)
    edges = np.zeros((7, 10), np.float32)
    for settings in (SegmentSettings(), SegmentSettings(bgp=False)):
        assert_equal(segment(EdgeMap(edges), scored_ones, settings), segment(EdgeMap(edges), seen, settings))
    assert_equal(boundary_guided_propagation(edges, scored_ones), boundary_guided_propagation(edges, seen))


def test_proposals_beside_what_became_of_them_are_scored_as_their_file_is():
    sample = LabelledInstances("a.png", np.zeros((*HW, 3), np.uint8), Instances.from_labels(LABELS), None, None)
    ways = every_way(["no"], ["files"])
    found = Comparison(
        ways, {"no": lambda image: np.zeros(HW, np.float32)}, {"files": lambda of: with_blanks(of.objects, 3)}
    )(sample)
    assert len(found["files"]) == 5 and not found["files + BGP, no edges"].blanks
