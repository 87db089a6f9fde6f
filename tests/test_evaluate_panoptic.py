"""`tracedge evaluate panoptic` on COCO panoptic files: the truth scores one, what differs costs what it should."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from panoptic_maps import CAT, CATEGORIES, DOG, SKY, panoptic
from tracedge.categories import COCO_PANOPTIC, Category
from tracedge.cli import app
from tracedge.errors import DataError, RunError, SettingsError
from tracedge.evaluation.panoptic import evaluate_panoptic
from tracedge.evaluation.panoptic_predictions import find_predictions
from tracedge.evaluation.panoptic_sets import panoptic_set_of_file
from tracedge.export.panoptic import write_panoptic
from tracedge.panoptic_map import PanopticMap

SCENE = panoptic([[1, 1, 2, 2], [3, 3, 3, 3]], {1: CAT, 2: DOG, 3: SKY})
OTHER = panoptic([[4, 4, 4]], {4: SKY})


def renamed(panoptic_map, before, after):
    segments = (
        replace(one, category_id=after.id) if one.category_id == before.id else one for one in panoptic_map.segments
    )
    return PanopticMap(panoptic_map.ids, tuple(segments))


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", "panoptic", *map(str, arguments)])


@pytest.fixture
def truth(tmp_path):
    return file(tmp_path / "truth", SCENE, OTHER)


def file(root, *maps, categories=CATEGORIES):
    path = root / "panoptic.json"
    write_panoptic(path, [(number, f"{number}.jpg", part) for number, part in enumerate(maps, 1)], categories)
    return path


def cells(result, name="prediction"):
    """The cells of a row: PQ, SQ, RQ of all, of things and of stuff, and the number of classes; None for a dash."""
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.output.splitlines() if f"| {name} |" in line)
    return [None if "-" in cell else float(cell) for cell in line.split("|")[3:-1]]


def test_the_truth_scores_one_and_the_report_says_all(truth, tmp_path):
    result = run("--truth", truth.parent, "--pred", truth, "--json", tmp_path / "out" / "report.json")
    assert cells(result) == [100] * 10 + [3]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    for figures in (report, report["rows"][0]):
        assert [figures[f"{name}{group}"] for group in ("", "_things", "_stuff") for name in ("pq", "sq", "rq")] == [
            1.0
        ] * 9
        assert (figures["classes"], figures["classes_things"], figures["images"], figures["agnostic"]) == (
            3,
            2,
            2,
            False,
        )
    assert report["per_class"]["sky"] == {
        "id": 187, "isthing": False, "pq": 1.0, "sq": 1.0, "rq": 1.0, "matched": 2, "false_alarms": 0, "missed": 0
    }  # fmt: skip
    said = report["provenance"]
    assert said["predictions"]["prediction"]["path"] == str(truth)
    assert said["data"][str(truth.parent)]["images"] == 2


def test_dogs_called_cats_cost_both_classes(truth, tmp_path):
    pred = file(tmp_path / "pred", renamed(SCENE, DOG, CAT), OTHER)
    found = cells(run("--truth", truth, "--pred", pred))
    assert found == [55.6, 66.7, 55.6, 33.3, 50, 33.3, 100, 100, 100, 50, 3]
    assert cells(run("--truth", truth, "--pred", pred, "--class-agnostic"))[3:6] == [100] * 3


def test_several_predictions_stand_in_one_table_in_the_order_given(truth, tmp_path):
    worse = file(tmp_path / "worse", renamed(SCENE, DOG, CAT), OTHER)
    named = ("--pred", f"ours={truth}", "--pred", f"theirs={worse.parent}")
    result = run("--truth", truth, *named, "--json", tmp_path / "report.json")
    assert (cells(result, "ours")[0], cells(result, "theirs")[0]) == (100, 55.6)
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(row["name"], row["pq"]) for row in report["rows"]] == [("ours", 1), ("theirs", pytest.approx(5 / 9))]
    assert "pq" not in report


def test_predictions_have_one_name_each(truth):
    for pred, sentence in (
        (["--pred", truth, "--pred", truth], "'prediction' twice: name each by --pred NAME=PATH"),
        (["--pred", "a=x", "--pred", "a=y"], "'a' twice"),
        (["--pred", "=x"], "takes PATH or NAME=PATH, got '=x'"),
    ):
        error = run("--truth", truth, *pred).exception
        assert isinstance(error, SettingsError) and sentence in str(error)


def test_a_path_may_have_an_equals_sign(truth, tmp_path):
    pred = file(tmp_path / "a=b", SCENE, OTHER)
    assert cells(run("--truth", truth, "--pred", pred))[0] == 100


def test_an_image_without_prediction_is_refused_unless_it_counts_as_void(truth, tmp_path):
    pred = file(tmp_path / "pred", SCENE)
    result = run("--truth", truth, "--pred", pred)
    assert isinstance(result.exception, SettingsError)
    assert "has no map of 1 of the 2 images of the truth (2.jpg)" in str(result.exception)
    assert run("--truth", truth, "--pred", pred, "--limit", 1).exit_code == 0
    result = run("--truth", truth, "--pred", pred, "--missing-empty")
    assert "they count as void" in result.output
    assert cells(result)[6:9] == [66.7, 100, 66.7]


def test_the_images_are_chosen_by_id_name_and_number(truth, tmp_path):
    (tmp_path / "ids.txt").write_text("2.jpg\n")
    one = run("--truth", truth, "--pred", truth, "--ids", tmp_path / "ids.txt")
    assert cells(one)[10] == 1 and "(1) | prediction" in one.output
    assert cells(run("--truth", truth, "--pred", truth, "--sample", 1, "--sample-seed", 3))
    error = run("--truth", truth, "--pred", truth, "--split", "val").exception
    assert isinstance(error, SettingsError) and "--split is for a data set's folder" in str(error)


def test_images_of_the_truth_without_annotation_are_no_part_of_it(truth):
    content = json.loads(truth.read_text())
    content["annotations"].pop()
    truth.write_text(json.dumps(content))
    assert panoptic_set_of_file(truth).names == ("1.jpg",)


def test_categories_and_names_must_be_those_of_the_truth(truth, tmp_path):
    labelled = panoptic_set_of_file(truth)
    for categories, sentence in (
        ((Category(1, "kitten", True), *CATEGORIES[1:]), r"category 1 is 'kitten' \(thing\), but 'cat' \(thing\) in"),
        ((*CATEGORIES, Category(3, "car", True)), r"category 3 is 'car' \(thing\), but unknown in the truth; use the"),
        ((*CATEGORIES[:3], replace(CATEGORIES[3], isthing=True)), r"'sea' \(thing\), but 'sea' \(stuff\)"),
    ):
        pred = file(tmp_path / "pred", SCENE, OTHER, categories=categories)
        with pytest.raises(DataError, match=sentence):
            find_predictions(pred, labelled)
    pred = tmp_path / "shifted" / "panoptic.json"
    write_panoptic(pred, [(1, "2.jpg", SCENE)], CATEGORIES)
    with pytest.raises(DataError, match=r"image 1 is 2\.jpg in .*, and 1\.jpg in the truth"):
        find_predictions(pred, labelled)


def test_a_map_of_another_size_fails_with_the_name_of_the_image(truth, tmp_path):
    labelled = panoptic_set_of_file(truth)
    pred = find_predictions(file(tmp_path / "pred", SCENE, SCENE), labelled)
    with pytest.raises(RunError, match=r"2\.jpg.*: .* is 2 x 4 \(rows x columns\), but the image is 1 x 3"):
        evaluate_panoptic(labelled, {"pred": pred})


def test_a_truth_that_is_not_as_its_file_says_is_refused(truth):
    content = json.loads(truth.read_text())
    content["images"][0]["height"] = 7
    truth.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"1\.png is 2 x 4 \(rows x columns\), but .*panoptic\.json says 7 x 4"):
        evaluate_panoptic(panoptic_set_of_file(truth), {"empty": lambda sample: PanopticMap.empty((2, 4))})
    (truth.parent / "panoptic" / "2.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images have no PNG of panoptic ids: 2\.png"):
        panoptic_set_of_file(truth)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            lambda content: content.pop("annotations"),
            "is no panoptic file: expected an object with a list of annotations",
        ),
        (lambda content: content["annotations"].clear(), "has no annotations: those of a truth say which segments"),
        (
            lambda content: content.update(annotations={}),
            "is no panoptic file: expected an object with a list of annotations",
        ),
    ],
)
def test_a_truth_without_annotations_is_named(truth, changed, sentence):
    content = json.loads(truth.read_text())
    changed(content)
    truth.write_text(json.dumps(content))
    for path in (truth, truth.parent):
        with pytest.raises(DataError, match=rf"panoptic\.json {sentence}"):
            raise run("--truth", path, "--pred", truth).exception


def test_a_prediction_without_its_png_is_refused_before_any_map_is_read(truth, tmp_path):
    labelled, pred = panoptic_set_of_file(truth), file(tmp_path / "pred", SCENE, OTHER)
    (pred.parent / "panoptic" / "1.png").unlink()
    (pred.parent / "panoptic" / "2.png").write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"1 of 2 images have no PNG of panoptic ids: 1\.png is the first; looked in .*pred"
    ):
        find_predictions(pred, labelled)


def test_any_function_of_an_image_can_be_scored(truth):
    done = []
    (row,) = evaluate_panoptic(
        panoptic_set_of_file(truth),
        {"nothing": lambda sample: PanopticMap.empty(sample.truth.shape)},
        on_image=lambda: done.append(1),
    )
    assert (row.figures.all.pq, row.figures.all.classes, len(done)) == (0.0, 3, 2)
    assert [one.missed for one in row.figures.per_class] == [1, 1, 0, 2]
    with pytest.raises(SettingsError, match="nothing to score"):
        evaluate_panoptic(panoptic_set_of_file(truth), {})


def test_coco_s_own_categories_are_a_truth_too(tmp_path):
    people = panoptic(np.ones((2, 2), int), {1: COCO_PANOPTIC[0]})
    path = file(tmp_path / "coco", people, categories=COCO_PANOPTIC)
    result = run("--truth", path, "--pred", path, "--json", tmp_path / "report.json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(Path(tmp_path / "report.json").read_text())["per_class"]) == 133
