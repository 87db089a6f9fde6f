"""`tracedge evaluate panoptic`: the truth scores one, what differs costs what it should, and what does not fit is refused."""

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
from tracedge.evaluation.panoptic import evaluate_panoptic, panoptic_set, predicted_file
from tracedge.export.panoptic import write_panoptic
from tracedge.export.panoptic_reader import read_panoptic
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


def test_the_truth_scores_one_and_the_report_says_all(truth, tmp_path):
    result = run("--truth", truth.parent, "--pred", truth, "--json", tmp_path / "out" / "report.json")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [report[f"{name}{group}"] for group in ("", "_things", "_stuff") for name in ("pq", "sq", "rq")] == [1.0] * 9
    assert (report["classes"], report["classes_things"], report["images"], report["agnostic"]) == (3, 2, 2, False)
    assert report["per_class"]["sky"] == {
        "id": 187, "isthing": False, "pq": 1.0, "sq": 1.0, "rq": 1.0, "matched": 2, "false_alarms": 0, "missed": 0
    }  # fmt: skip
    assert report["provenance"]["predictions"] == str(truth)
    assert (
        "| 2 images | PQ | SQ | RQ | classes |\n| --- | ---: | ---: | ---: | ---: |\n| all | 100.0 |" in result.output
    )


def test_dogs_called_cats_cost_both_classes(truth, tmp_path):
    pred = file(tmp_path / "pred", renamed(SCENE, DOG, CAT), OTHER)
    result = run("--truth", truth, "--pred", pred)
    assert "| all | 55.6 | 66.7 | 55.6 | 3 |" in result.output
    assert "| things | 33.3 | 50.0 | 33.3 | 2 |" in result.output
    assert "| stuff | 100.0 | 100.0 | 100.0 | 1 |" in result.output
    agnostic = run("--truth", truth, "--pred", pred, "--class-agnostic")
    assert "| things | 100.0 | 100.0 | 100.0 | 1 |" in agnostic.output


def test_an_image_without_prediction_is_refused_unless_it_counts_as_void(truth, tmp_path):
    pred = file(tmp_path / "pred", SCENE)
    result = run("--truth", truth, "--pred", pred)
    assert isinstance(result.exception, SettingsError)
    assert "has no map of 1 of the 2 images of the truth (2.jpg)" in str(result.exception)
    assert run("--truth", truth, "--pred", pred, "--limit", 1).exit_code == 0
    result = run("--truth", truth, "--pred", pred, "--missing-empty")
    assert result.exit_code == 0, result.output
    assert "they count as void" in result.output
    assert "| stuff | 66.7 | 100.0 | 66.7 | 1 |" in result.output


def test_categories_and_names_must_be_those_of_the_truth(truth, tmp_path):
    labelled = panoptic_set(read_panoptic(truth))
    others = (Category(1, "kitten", True), *CATEGORIES[1:])
    with pytest.raises(
        DataError, match=r"has Category\(id=1, name='kitten', isthing=True\), the truth Category\(id=1, name='cat'"
    ):
        predicted_file(file(tmp_path / "names", SCENE, OTHER, categories=others), labelled)
    with pytest.raises(DataError, match="the truth None: use the truth's categories"):
        predicted_file(
            file(tmp_path / "more", SCENE, OTHER, categories=(*CATEGORIES, Category(3, "car", True))), labelled
        )
    pred = tmp_path / "shifted" / "panoptic.json"
    write_panoptic(pred, [(1, "2.jpg", SCENE)], CATEGORIES)
    with pytest.raises(DataError, match=r"image 1 is 2\.jpg in .*, and 1\.jpg in the truth"):
        predicted_file(pred, labelled)


def test_a_map_of_another_size_fails_with_the_name_of_the_image(truth, tmp_path):
    of_truth = read_panoptic(truth)
    labelled = panoptic_set(of_truth)
    pred = predicted_file(file(tmp_path / "pred", SCENE, SCENE), labelled, of_truth)
    with pytest.raises(RunError, match=r"2\.jpg: DataError: .* is 2 x 4 \(rows x columns\), but the image is 1 x 3"):
        evaluate_panoptic(labelled, pred)


def test_any_function_of_an_image_can_be_scored(truth):
    done = []
    labelled = panoptic_set(read_panoptic(truth))
    figures = evaluate_panoptic(
        labelled, lambda sample: PanopticMap.empty(sample.truth.shape), on_image=lambda: done.append(1)
    )
    assert (figures.all.pq, figures.all.classes, len(done)) == (0.0, 3, 2)
    assert [one.missed for one in figures.per_class] == [1, 1, 0, 2]


def test_coco_s_own_categories_are_a_truth_too(tmp_path):
    people = panoptic(np.ones((2, 2), int), {1: COCO_PANOPTIC[0]})
    path = file(tmp_path / "coco", people, categories=COCO_PANOPTIC)
    result = run("--truth", path, "--pred", path, "--json", tmp_path / "report.json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(Path(tmp_path / "report.json").read_text())["per_class"]) == 133
