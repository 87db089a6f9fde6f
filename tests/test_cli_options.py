"""Options go where they belong: each by its name, none in another's place; and their help can be read by a newcomer."""

import json
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tracedge.cli import app
from tracedge.cli.dataset_options import DatasetOptions
from tracedge.cli.instance_methods import FromFile, FromModel
from tracedge.cli.predictor_options import PredictorOptions
from tracedge.datasets.scenes import draw_scene


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
