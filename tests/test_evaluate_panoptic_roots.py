"""`tracedge evaluate panoptic` on data sets as they are unpacked: VOC, COCO and labelled folders."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dataset_roots import bsds, coco_2014, coco_2017, save, save_palette, save_photo, voc, voc_objects
from panoptic_maps import CAT, CATEGORIES, SKY, panoptic
from tracedge.categories import VOC_PANOPTIC, Category, by_id
from tracedge.cli import app
from tracedge.datasets.layouts import open_dataset
from tracedge.errors import DataError, RunError, SettingsError
from tracedge.evaluation.panoptic import evaluate_panoptic
from tracedge.evaluation.panoptic_predictions import find_predictions
from tracedge.evaluation.panoptic_sets import panoptic_set
from tracedge.export.panoptic import write_panoptic
from tracedge.export.panoptic_reader import read_panoptic

BACKGROUND, CHAIR, PERSON = (by_id(VOC_PANOPTIC)[number] for number in (0, 9, 15))
STEMS = ("2007_000033", "2008_000002")


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", "panoptic", *map(str, arguments)])


def figures(root, pred, *more):
    """The report of a prediction on a root."""
    report = pred.parent / "report.json"
    result = run("--truth", root, "--pred", pred, "--json", report, *more)
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(report.read_text())


def written(path, maps, categories=VOC_PANOPTIC):
    """A prediction about images of these stems, numbered in the order of their names backwards."""
    images = ((number, f"{stem}.jpg", maps[stem]) for number, stem in enumerate(sorted(maps, reverse=True), 1))
    write_panoptic(path, images, categories)
    return path


def truth_of(root, split=None):
    return {sample.stem: sample.truth.map for sample in open_dataset(root, split).panoptic()}


def with_two_people(root):
    """The first image of a VOC root becomes two people side by side on background: of 100 pixels, and of 30."""
    objects = np.zeros((30, 40), np.uint8)
    objects[:10, :10], objects[:10, 10:13] = 1, 2
    base = root / "VOCdevkit" / "VOC2012"
    save_palette(base / "SegmentationObject" / f"{STEMS[0]}.png", objects)
    save_palette(base / "SegmentationClass" / f"{STEMS[0]}.png", np.where(objects > 0, PERSON.id, 0))
    return root


def test_the_truth_of_voc_scores_one_everywhere(tmp_path):
    root = voc(tmp_path / "voc")
    report = figures(root, written(tmp_path / "pred.json", truth_of(root)))
    scores = [report[f"{name}{group}"] for group in ("", "_things", "_stuff") for name in ("pq", "sq", "rq")]
    assert scores == [1.0] * 9
    assert (report["images"], report["classes"], len(report["per_class"])) == (2, 3, 21)
    assert report["per_class"]["person"]["matched"] == report["per_class"]["background"]["matched"] == 2
    said = report["provenance"]["data"][str(root)]
    assert (said["layout"], said["split"], said["images"]) == ("VOC", "val", 2)


def test_what_is_said_of_the_void_border_costs_nothing(tmp_path):
    root, objects = voc(tmp_path / "voc"), voc_objects()
    grown = np.where(objects == 255, 0, objects).astype(np.int32)
    grown[5:20, 5:20] = 1  # all of the belt
    grown[grown == 0] = 256  # the void corner is called background
    predicted = panoptic(grown, {1: PERSON, 3: CHAIR, 256: BACKGROUND})
    report = figures(root, written(tmp_path / "pred.json", dict.fromkeys(STEMS, predicted)))
    assert (report["pq"], report["sq_things"], report["classes"]) == (1.0, 1.0, 3)


def test_two_people_in_one_segment_cost_one_of_them_and_the_overhang(tmp_path):
    root = with_two_people(voc(tmp_path / "voc"))
    maps = truth_of(root)
    merged = np.where(maps[STEMS[0]].ids == 2, 1, maps[STEMS[0]].ids)
    maps[STEMS[0]] = panoptic(merged, {1: PERSON, 256: BACKGROUND})
    report = figures(root, written(tmp_path / "pred.json", maps))
    person = report["per_class"]["person"]
    assert (person["matched"], person["false_alarms"], person["missed"]) == (2, 0, 1)
    assert person["pq"] == pytest.approx((1 + 100 / 130) / 2.5)  # sum of IoU / (TP + FN / 2)
    assert report["pq_things"] == pytest.approx((person["pq"] + 1) / 2)  # with the chairs
    assert report["pq_stuff"] == 1.0


def test_a_voc_prediction_is_found_by_its_name_though_it_names_no_images_or_categories(tmp_path):
    root = with_two_people(voc(tmp_path / "voc"))
    path = written(tmp_path / "pred.json", truth_of(root))
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"annotations": content["annotations"]}))
    assert figures(root, path)["pq"] == 1.0


def test_one_split_and_some_of_its_images(tmp_path):
    root = with_two_people(voc(tmp_path / "voc"))
    pred = written(tmp_path / "pred.json", truth_of(root))
    (tmp_path / "ids.txt").write_text(f"{STEMS[1]}\n")
    for more, images, classes in (
        (("--split", "train"), 1, 2),
        (("--ids", tmp_path / "ids.txt"), 1, 3),
        (("--limit", 1), 1, 2),
        (("--sample", 2, "--sample-seed", 5), 2, 3),
    ):
        report = figures(root, pred, *more)
        assert (report["images"], report["classes"], report["pq"]) == (images, classes, 1.0)
    with pytest.raises(SettingsError, match="VOC has the splits val, train, trainval; got 'test'"):
        raise run("--truth", root, "--pred", pred, "--split", "test").exception


def test_what_does_not_fit_is_one_sentence(tmp_path):
    root = voc(tmp_path / "voc")
    maps = truth_of(root)
    one = written(tmp_path / "one.json", {STEMS[1]: maps[STEMS[1]]})
    with pytest.raises(SettingsError, match=rf"no map of 1 of the 2 images of the truth \({STEMS[0]}\.jpg\): add them"):
        raise run("--truth", root, "--pred", one).exception
    other = Category(15, "human", True)
    called = written(tmp_path / "called.json", maps, [one for one in VOC_PANOPTIC if one.id != 15] + [other])
    with pytest.raises(DataError, match=r"category 15 is 'human' \(thing\), but 'person' \(thing\) in the truth; use"):
        raise run("--truth", root, "--pred", called).exception
    small = written(tmp_path / "small.json", maps | {STEMS[1]: panoptic(np.ones((30, 39), int), {1: PERSON})})
    with pytest.raises(RunError, match=rf"{STEMS[1]}\.jpg.* is 30 x 39 .*, but the image is 30 x 40"):
        raise run("--truth", root, "--pred", small).exception
    twice = tmp_path / "twice.json"
    images = [(1, f"a/{STEMS[0]}.jpg", maps[STEMS[0]]), (2, f"b/{STEMS[0]}.jpg", maps[STEMS[0]])]
    write_panoptic(twice, images, VOC_PANOPTIC)
    with pytest.raises(DataError, match=rf"has 2 images named {STEMS[0]}, expected one"):
        raise run("--truth", root, "--pred", twice).exception


def test_a_truth_without_panoptic_segments_is_refused(tmp_path):
    with pytest.raises(DataError, match="it has no panoptic segments"):
        raise run("--truth", bsds(tmp_path), "--pred", tmp_path).exception
    with pytest.raises(DataError, match="is not a folder"):
        raise run("--truth", tmp_path / "nowhere", "--pred", tmp_path).exception


def test_coco_s_root_is_found_by_ids_and_its_crowds_do_not_count(tmp_path):
    root = coco_2017(tmp_path / "coco", [7, 139])
    report = figures(root, root / "annotations" / "panoptic_val2017.json")
    assert (report["pq"], report["classes"], report["images"]) == (1.0, 2, 2)
    assert report["per_class"]["person"]["matched"] == 2  # and the crowds are neither hit nor missed
    assert report["provenance"]["data"][str(root)]["split"] == "val2017"


def test_the_split_of_2014_takes_predictions_that_are_named_as_in_2017(tmp_path):
    root = coco_2014(tmp_path / "coco")
    truths = (read_panoptic(root / "annotations" / f"panoptic_{split}.json") for split in ("train2017", "val2017"))
    images = [
        (number, f"{number:012d}.jpg", truth.read(number), truth.categories)
        for truth in truths
        for number in truth.images
    ]
    pred = tmp_path / "pred.json"
    write_panoptic(pred, [image[:3] for image in images], images[0][3])
    report = figures(root, pred, "--split", "val2014")
    assert (report["images"], report["pq"]) == (3, 1.0)


def test_a_labelled_folder_is_found_by_names(tmp_path):
    maps = {
        "b": panoptic([[1, 1, 2]], {1: CAT, 2: SKY}),
        "a": panoptic([[5, 0, 0]], {5: SKY}),
    }
    root = tmp_path / "set"
    for stem, one in maps.items():
        save_photo(root / "images" / f"{stem}.png", one.shape)
    written(root / "panoptic.json", maps, CATEGORIES)
    labelled = panoptic_set(open_dataset(root).panoptic())
    assert (labelled.names, set(labelled.numbers.values())) == (("a.png", "b.png"), {None})
    assert labelled.categories == CATEGORIES
    pred = tmp_path / "pred.json"
    write_panoptic(pred, [(70, "a.jpg", maps["a"]), (71, "b.jpg", maps["b"])], CATEGORIES)
    (row,) = evaluate_panoptic(labelled, {"same": find_predictions(pred, labelled)})
    assert (row.figures.all.pq, row.figures.images) == (1.0, 2)
    Image.new("RGB", (4, 1)).save(root / "images" / "a.png")
    with pytest.raises(DataError, match=r"The truth of a\.png is 1 x 3 \(rows x columns\), but .* is 1 x 4"):
        evaluate_panoptic(labelled, {"same": find_predictions(pred, labelled)})


def test_what_a_labelled_folder_ignores_is_void(tmp_path):
    truth = panoptic([[1, 1, 2, 7]], {1: CAT, 2: SKY, 7: CAT})
    found = panoptic([[1, 1, 1, 1]], {1: CAT})
    root = tmp_path / "set"
    save_photo(root / "images" / "a.png", truth.shape)
    written(root / "panoptic.json", {"a": truth}, CATEGORIES)
    pred = written(tmp_path / "pred.json", {"a": found}, CATEGORIES)
    assert figures(root, pred)["pq"] == 0  # the IoU is 2 of 4
    save(root / "ignore" / "a.png", np.array([[0, 0, 255, 255]], np.uint8))
    report = figures(root, pred)
    assert (report["pq"], report["classes"]) == (1.0, 1)
    save(root / "ignore" / "a.png", np.array([[0, 0, 255]], np.uint8))
    with pytest.raises(
        DataError, match=r"ignore/a\.png is 1 x 3 \(rows x columns\), another size than .*panoptic/a\.png"
    ):
        raise run("--truth", root, "--pred", pred).exception
