"""`--edges FOLDER` of segment, refine and panoptic: edges that are there already, and no model is asked."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tracedge.cli import app
from tracedge.cli.edge_source import EdgeOptions
from tracedge.cli.predictor_options import PredictorOptions
from tracedge.errors import DataError, RunError, SettingsError
from tracedge.export.coco import write_coco
from tracedge.export.labels import read_labels
from tracedge.export.png import write_png16
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.segmentation import segment

HW = (60, 80)
NAMES = ("a", "sub/b")


def boxes(columns=(10, 30, 50)):
    """Boxes side by side, with walls at these columns."""
    edges = np.zeros(HW, np.float32)
    edges[10:40, list(columns)] = edges[[10, 39], columns[0] : columns[-1] + 1] = 0.8
    return edges


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """photos/ and drawn/, the edges of `tracedge edges`; whoever loads a predictor fails."""
    monkeypatch.setattr("tracedge.cli.predictor_options.predictor", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.chdir(tmp_path)
    for name, columns in zip(NAMES, [(10, 30, 50), (10, 20, 30, 50)], strict=True):
        for folder in ("photos", "drawn"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", HW[::-1], (90, 90, 90)).save(tmp_path / f"photos/{name}.png")
        write_png16(tmp_path / f"drawn/{name}.edges.png", boxes(columns))
    whole = Instances(np.ones((1, *HW), bool))
    write_coco(tmp_path / "masks.json", [(number, f"{name}.png", whole) for number, name in enumerate(NAMES, 1)])
    return tmp_path


def run(*arguments, fails=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == fails, result.output
    return result


def refused(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments]).exception


VERBS = [("segment", "photos"), ("refine", "masks.json", "--images", "photos")]


def test_segment_gives_what_the_edges_of_the_files_give():
    run("segment", "photos", "-o", "out", "--edges", "drawn", "--batch-size", 2)
    for name, columns in zip(NAMES, [(10, 30, 50), (10, 20, 30, 50)], strict=True):
        there = np.round(boxes(columns) * 65535) / np.float32(65535)
        found = read_labels(f"out/{name}.instances.png")
        np.testing.assert_array_equal(found.masks, segment(EdgeMap(there.astype(np.float32))).masks)
        assert len(found) == len(columns) - 1


def test_refine_cuts_masks_by_the_edges_of_the_files():
    run("refine", "masks.json", "--images", "photos", "-o", "out", "--edges", "drawn", "--overlapping")
    ours = segment(EdgeMap(boxes()), Instances(np.ones((1, *HW), bool)))
    assert len(read_labels("out/a.instances.png")) == len(ours) > 1


@pytest.mark.parametrize("verb", VERBS)
def test_the_run_names_the_folder_and_is_not_mixed_with_other_edges(folders, verb):
    run(*verb, "-o", "out", "--edges", "drawn")
    said = json.loads((folders / "out/settings.json").read_text())["edges"]
    assert (said["edges"], said["name"], len(said["content"])) == ("files", "drawn", 16)
    assert "2 skipped" in run(*verb, "-o", "out", "--edges", "drawn").output
    write_png16(folders / "drawn/a.edges.png", boxes((10, 50)))
    assert isinstance(refused(*verb, "-o", "out", "--edges", "drawn"), RunError)


@pytest.mark.parametrize("verb", VERBS)
def test_a_photo_without_edges_or_with_those_of_another_size_fails_alone(folders, verb):
    (folders / "drawn/a.edges.png").unlink()
    assert "drawn has no edges for 1 images, neither a.edges.png nor a.png" in run(
        *verb, "-o", "out", "--edges", "drawn", fails=1
    ).output.replace("\n", "")
    write_png16(folders / "drawn/a.png", np.zeros((8, 9), np.float32))
    run(*verb, "-o", "other", "--edges", "drawn", fails=1)
    lines = [json.loads(line) for line in (folders / "other/manifest.jsonl").read_text().splitlines()]
    assert {line["file"]: line["status"] for line in lines} == {"a.png": "failed", "sub/b.png": "ok"}
    assert any("8 x 9" in str(line["error"]) and "60 x 80" in str(line["error"]) for line in lines)


@pytest.mark.parametrize("verb", [*VERBS, ("panoptic", "classes", "--images", "photos")])
def test_what_cannot_be_meant_is_refused_before_any_work(folders, verb):
    (folders / "classes").mkdir()
    Image.new("L", HW[::-1]).save(folders / "classes/a.png")
    assert isinstance(refused(*verb, "-o", "out", "--edges", "nowhere"), DataError)
    (folders / "empty").mkdir()
    assert "has edges for none of the 2 images" in str(refused(*verb, "-o", "out", "--edges", "empty"))
    for more in (("--backbone", "mini"), ("--student", "x"), ("--teacher",), ("--size", 64), ("--zoom", 2)):
        assert f"leave {more[0]} out" in str(refused(*verb, "-o", "out", "--edges", "drawn", *more))
    assert not (folders / "out").exists()


def test_what_is_the_proposals_own_goes_with_edges_of_files(folders):
    options = PredictorOptions(backbone="mini", size=64)
    asked = {"folder": folders / "drawn", "options": options, "student": None, "teacher": False}
    with pytest.raises(SettingsError, match="leave --backbone, --size out"):
        EdgeOptions(**asked).check(NAMES)
    EdgeOptions(**asked, shared=True).check(NAMES)
    run("segment", "photos", "-o", "out", "--edges", "drawn", "--proposals", "diffseg", "--size", 32)
