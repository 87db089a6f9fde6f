"""Options go where they belong: each by its name, none in another's place; and their help can be read by a newcomer."""

import json
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dataset_roots import bsds, coco_2014
from tracedge.cli import app
from tracedge.cli.dataset_options import DatasetOptions
from tracedge.cli.distill import _validation
from tracedge.cli.instance_methods import FromFile, FromModel
from tracedge.cli.predictor_options import PredictorOptions
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import SettingsError


@pytest.mark.parametrize("kind", [PredictorOptions, DatasetOptions, FromFile, FromModel])
def test_objects_of_options_take_names_only(kind):
    with pytest.raises(TypeError, match="positional"):
        kind(*(None for _ in fields(kind)))


GIVEN = {"rule": "bounded", "stride": 450, "size": 48, "zoom": 1, "ensemble": 2, "seed": 5}


def given() -> list[str]:
    return [word for name, value in GIVEN.items() for word in (f"--{name}", str(value))]


@pytest.mark.parametrize("verb", ["edges", "teach"])
def test_every_option_reaches_the_setting_of_its_name(verb, tmp_path):
    Image.fromarray(draw_scene(1, 64).image).save(tmp_path / "a.png")
    more = ["--inversion"] if verb == "edges" else ["--no-snap"]
    asked = [verb, str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), *given(), *more, "--dtype", "float32"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    head = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert {name: head[name] for name in GIVEN} == GIVEN
    assert (head["inversion"], head["snap"]) == (verb == "edges", verb == "edges")


def test_every_option_of_an_evaluation_reaches_the_setting_of_its_name(tmp_path):
    for folder, values in (("images", draw_scene(1, 64).image), ("masks", draw_scene(1, 64).labels.astype(np.uint8))):
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / "data" / folder / "a.png")
    report = tmp_path / "report.json"
    asked = ["evaluate", "edges", "--truth", str(tmp_path / "data"), "--backbone", "mini", *given(), "--no-rivals"]
    result = CliRunner().invoke(app, [*asked, "--thresholds", "3", "--workers", "1", "--json", str(report)])
    assert result.exit_code == 0, result.output
    said = json.loads(report.read_text())["provenance"]["predictors"]
    assert {name: said["IEP + ABDiv (bounded)"][name] for name in GIVEN} == GIVEN
    assert {name: said["student"][name] for name in ("size", "zoom")} == {"size": 48, "zoom": 1}


def words_of(*verb: str) -> str:
    """The help as one line, on a terminal wide enough that nothing is cut."""
    result = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("verb", ["edges", "segment", "teach", "inspect"])
def test_help_does_not_speak_in_abbreviations(verb):
    assert not {"IEP", "ABDiv", "BGP"} & set(words_of(verb).replace(":", " ").split())


def test_help_of_scores_says_what_they_are():
    said = words_of("evaluate", "edges")
    assert all(f"{name}:" in said for name in ("ODS", "OIS", "AP", "clDice"))
    assert "ABDiv" not in said


def test_timesteps_are_scored_on_any_data_set(tmp_path):
    root, report = coco_2014(tmp_path / "coco"), tmp_path / "report.json"
    (tmp_path / "ids.txt").write_text("9\n139\n")
    asked = ["evaluate", "timesteps", "--truth", str(root), "--split", "val2014", "--ids", str(tmp_path / "ids.txt")]
    quick = ["--size", "32", "--stride", "500", "--thresholds", "3", "--json", str(report)]
    result = CliRunner().invoke(app, [*asked, "--sample", "1", "--sample-seed", "3", *quick])
    assert result.exit_code == 0, result.output
    said = json.loads(report.read_text())["provenance"]["data"][str(root)]
    assert (said["layout"], said["split"], said["images"], said["sample_seed"]) == ("COCO", "val2014", 1, 3)
    result = CliRunner().invoke(app, [*asked[:4], "--split", "test", *quick])
    assert "COCO has the splits" in str(result.exception)


def test_a_student_is_validated_on_any_data_set():
    with pytest.raises(SettingsError, match="give --validate"):
        _validation(None, DatasetOptions(sample=3))
    assert _validation(None, DatasetOptions(limit=16)) is None


def test_the_split_of_validation_is_looked_at_before_any_training(tmp_path):
    root = bsds(tmp_path)
    assert _validation(root, DatasetOptions(split="test", sample=1)) is not None
    with pytest.raises(SettingsError, match="BSDS has the splits"):
        _validation(root, DatasetOptions(split="val2017"))
