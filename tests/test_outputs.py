"""Reports are written over reports, and over nothing else."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tracedge.cli.evaluate import app
from tracedge.errors import SettingsError
from tracedge.evaluation.outputs import Outputs

REPORT = json.dumps({"rows": [], "provenance": {}})


def test_a_report_takes_the_place_of_one_and_of_an_empty_file(tmp_path):
    file, folder = tmp_path / "a.json", tmp_path / "report"
    file.touch()
    for text in ("first", REPORT):
        file.write_text(REPORT if file.stat().st_size else "")
        Outputs(file, folder).write(REPORT, text, {}, {})
    assert file.read_text() == (folder / "report.json").read_text() == REPORT
    assert REPORT in (folder / "report.md").read_text()


@pytest.mark.parametrize("content", ['{"images": [], "annotations": []}', "[]", "not JSON", "\x89PNG"])
def test_another_file_is_not_written_over(tmp_path, content):
    path = tmp_path / "truth.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"truth\.json is there and is no report"):
        Outputs(path, None)
    assert path.read_text() == content


def test_a_folder_with_other_things_gets_no_report(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(SettingsError, match=r"holds photo\.jpg"):
        Outputs(None, tmp_path)


def test_a_folder_with_another_report_json_gets_none(tmp_path):
    (tmp_path / "report.json").write_text('{"mine": 1}')
    with pytest.raises(SettingsError, match=r"report\.json is there and is no report"):
        Outputs(None, tmp_path)


@pytest.mark.parametrize("file", [None, "figures.json"])
def test_what_an_interrupted_evaluation_left_is_no_stranger(tmp_path, file):
    outputs = Outputs(tmp_path / file if file else None, tmp_path)
    with pytest.raises(KeyboardInterrupt), outputs.journal({"seed": 0}) as journal:
        journal.put(1, "set", "a.png")
        (tmp_path / "best-1.png").touch()
        raise KeyboardInterrupt
    (tmp_path / f"{file or 'report.json'}.journal.lock").touch()
    with Outputs(outputs.file, outputs.folder).journal({"seed": 0}) as journal:
        assert journal.get("set", "a.png") == 1


def test_a_folder_for_a_file_and_a_file_for_a_folder_are_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for wrong in ((tmp_path, None), (file / "x.json", None), (None, file), (None, file / "x")):
        with pytest.raises(SettingsError, match="folder"):
            Outputs(*wrong)


@pytest.fixture
def truth(tmp_path):
    """One photo of two halves, and its labels."""
    halves = np.repeat([[0, 1]], 32, axis=1).repeat(64, axis=0).astype(np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(halves * (200 if folder == "images" else 1)).save(tmp_path / folder / "a.png")
    return tmp_path


@pytest.mark.parametrize("verb", ["edges", "instances", "panoptic", "timesteps"])
def test_the_commands_look_at_their_outputs_before_they_look_at_anything_else(truth, verb):
    labels = truth / "masks" / "a.png"
    before = labels.read_bytes()
    command = [verb, "--truth", truth / "nowhere", *(["--pred", "x"] if verb == "panoptic" else [])]
    cases = [("no report", ["--json", labels]), ("is a folder", ["--json", truth])]
    cases += [("holds a.png", ["--report", truth / "images"])] if verb != "timesteps" else []
    for sentence, output in cases:
        error = CliRunner().invoke(app, [*map(str, command), *map(str, output)]).exception
        assert isinstance(error, SettingsError) and sentence in str(error)
    assert labels.read_bytes() == before


def test_figures_stand_on_top_if_they_are_of_one_data_set(truth):
    report = truth / "both.json"
    scored = ["edges", "--pred", truth / "masks", "--no-rivals", "--thresholds", 1, "--workers", 1, "--json", report]
    for sets, on_top in ((["--truth", truth], True), (["--truth", truth, "--truth", f"{truth}/images/.."], False)):
        assert CliRunner().invoke(app, [*map(str, scored), *map(str, sets)]).exit_code == 0
        assert ("ods" in json.loads(report.read_text())) == on_top


def test_a_report_is_written_when_all_data_sets_are_scored(truth, tmp_path):
    """A failure on the second leaves no file that looks whole."""
    report, predicted = truth / "both.json", truth / "predicted"
    predicted.mkdir()
    Image.fromarray(np.ones((64, 64), np.uint8)).save(predicted / "a.png")
    other = truth / "other"
    for folder in ("images", "masks"):
        (other / folder).mkdir(parents=True)
        Image.fromarray(np.ones((32, 32), np.uint8)).save(other / folder / "a.png")
    sets = ["--truth", truth, "--truth", other, "--pred", predicted, "--json", report]
    failed = CliRunner().invoke(app, ["instances", *map(str, sets)])
    assert failed.exit_code != 0 and not report.exists()
    assert (truth / "both.json.journal").exists()
