"""The command line: what a user types, what stands in the folder afterwards, and the exit codes."""

import json
import os
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dataset_roots import bsds
from tracedge.cli import app
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import RunError, SettingsError
from tracedge.export.npz import read_npz
from tracedge.export.png import read_png16

QUICK = ["--size", "48", "--stride", "400"]


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)

    return invoke


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    Image.fromarray(draw_scene(1, 64).image[:40]).save(folder / "a.png")
    Image.fromarray(draw_scene(2, 64).image).save(folder / "inner" / "b.jpg")
    return folder


def manifest(output):
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def test_edges_of_a_folder_stand_under_their_fixed_names_with_one_line_a_picture(run, photos, tmp_path):
    result = run("edges", photos, "-o", tmp_path / "out", *QUICK, "--kind", "nms", "--overlay", "--npz")
    assert result.exit_code == 0, result.output
    soft = read_png16(tmp_path / "out" / "a.edges.png")
    assert soft.shape == (40, 64)
    with Image.open(tmp_path / "out" / "a.edges.png") as written:
        assert written.mode == "I;16"
    for name in ("a.edges.nms.png", "a.overlay.png", "a.edges.npz", "inner/b.edges.png"):
        assert (tmp_path / "out" / name).is_file(), name
    kept = read_npz(tmp_path / "out" / "a.edges.npz")
    np.testing.assert_allclose(kept.edges, soft, atol=1 / 65535)
    line = {entry["file"].split("/")[-1]: entry for entry in manifest(tmp_path / "out")}["a.png"]
    assert line["status"] == "ok"
    assert line["timestep"] == kept.timestep in (400, 800)
    assert {"content_hash", "settings_hash", "error", "margin", "seconds"} <= line.keys()


def test_a_rerun_skips_what_is_done_and_other_settings_are_refused(run, photos, tmp_path):
    run("edges", photos, "-o", tmp_path / "out", *QUICK)
    again = run("edges", photos, "-o", tmp_path / "out", *QUICK)
    assert "0 done, 2 skipped" in again.output
    other = run("edges", photos, "-o", tmp_path / "out", *QUICK, "--seed", "1")
    assert isinstance(other.exception, RunError)
    assert "seed" in str(other.exception)


def test_a_broken_photo_is_named_the_others_are_done_and_the_exit_code_is_1(run, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    result = run("edges", photos, "-o", tmp_path / "out", *QUICK)
    assert result.exit_code == 1
    assert "broken.png" in result.output
    assert "2 done, 0 skipped, 1 failed" in result.output


def test_a_picture_over_the_limit_is_refused_by_its_size(run, photos, tmp_path):
    result = run("edges", photos, "-o", tmp_path / "out", *QUICK, "--max-pixels", "3000")
    assert result.exit_code == 1
    assert "--max-pixels" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edges", "nothing/here.png", "-o", "OUT"], "nothing"),
        (["edges", "PHOTOS", "-o", "OUT", "--kind", "sharp"], "kind"),
        (["edges", "PHOTOS", "-o", "OUT", "--rule", "best"], "rule"),
        (["edges", "PHOTOS", "-o", "OUT", "--dtype", "int4"], "dtype"),
        (["edges", "PHOTOS", "-o", "OUT", "--backbone", "sd99"], "sd15"),
        (["evaluate", "edges", "--truth", "PHOTOS"], "images"),
        (["evaluate", "edges", "--truth", "PHOTOS", "--timestep", "3"], "images"),
        (["edges", "PHOTOS", "-o", "OUT", "--device", "quantum"], "quantum"),
        (["edges", "pic[red].png", "-o", "OUT"], "pic[red].png"),
        (["edges", "PHOTOS", "-o", "PHOTOS/a.png"], "cannot be made"),
        (["scenes", "--count", "1", "-o", "PHOTOS/a.png"], "a.png"),
        (["edges", "PHOTOS", "-o", "OUT", "--backbone", "sd35-large", "--local-files-only"], "hf auth login"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(photos, tmp_path, arguments, words):
    arguments = [a.replace("PHOTOS", str(photos)).replace("OUT", str(tmp_path / "out")) for a in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "tracedge", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/*.png"))


def test_inspect_writes_a_figure_for_each_photo_and_a_rerun_skips(run, photos, tmp_path):
    asked = ["inspect", photos, "-o", tmp_path / "figures", *QUICK, "--columns", "3"]
    result = run(*asked)
    assert result.exit_code == 0, result.output
    for name in ("a.inspect.png", "inner/b.inspect.png"):
        with Image.open(tmp_path / "figures" / name) as figure:
            assert min(figure.size) > 300
    assert all({"timestep", "margin", "instances"} <= line.keys() for line in manifest(tmp_path / "figures"))
    assert "2 skipped" in run(*asked).output
    assert isinstance(run(*asked[:-1], "2").exception, RunError)


def test_inspect_of_one_photo_says_the_chosen_step(run, photos, tmp_path):
    result = run("inspect", photos / "a.png", "-o", tmp_path / "figure", *QUICK)
    assert "t* =" in result.output and (tmp_path / "figure" / "a.inspect.png").is_file()


def test_scenes_are_written_like_the_data_sets_that_evaluate_reads(run, tmp_path):
    result = run("scenes", "--seed", "1000000", "--count", "2", "--size", "64", "-o", tmp_path / "scenes")
    assert result.exit_code == 0, result.output
    scene = draw_scene(1_000_001, 64)
    with Image.open(tmp_path / "scenes" / "masks" / "scene_1000001.png") as masks:
        assert masks.mode == "I;16"
        assert np.array_equal(np.asarray(masks), scene.labels)
    report = tmp_path / "report.json"
    result = run(
        "evaluate", "edges", "--truth", tmp_path / "scenes", "--json", report, "--thresholds", "9", "--workers", "1"
    )
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in json.loads(report.read_text())["rows"]] == ["sobel", "canny"]


def test_edges_and_evaluate_fit_together(run, tmp_path):
    run("scenes", "--count", "2", "--size", "64", "-o", tmp_path / "scenes")
    run("edges", tmp_path / "scenes" / "images", "-o", tmp_path / "edges", *QUICK)
    report = tmp_path / "report.json"
    options = ["--thresholds", "9", "--workers", "1", "--no-rivals", "--json", report]
    result = run("evaluate", "edges", "--truth", tmp_path / "scenes", "--pred", tmp_path / "edges", *options)
    assert result.exit_code == 0, result.output
    scores = json.loads(report.read_text())
    assert {"ods", "ois", "ap", "cldice"} <= scores.keys()
    assert 0 < scores["ods"] <= 1
    direct = run("evaluate", "edges", "--truth", tmp_path / "scenes", "--backbone", "mini", *QUICK, *options)
    assert direct.exit_code == 0, direct.output
    assert json.loads(report.read_text())["rows"][0]["ods"] == pytest.approx(scores["ods"], abs=0.02)


def test_evaluate_timesteps_goes_on_after_a_kill(run, tmp_path, monkeypatch):
    from tracedge.teacher import EdgeTeacher

    run("scenes", "--count", "3", "--size", "64", "-o", tmp_path / "scenes")
    report, sweep, asked = tmp_path / "report.json", EdgeTeacher.sweep, []
    options = ["--size", "32", "--stride", "300", "--thresholds", "5", "--json", report]

    def killed_at_the_third(self, image):
        asked.append(image)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return sweep(self, image)

    monkeypatch.setattr(EdgeTeacher, "sweep", killed_at_the_third)
    assert run("evaluate", "timesteps", "--truth", tmp_path / "scenes", *options).exit_code != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json.journal", "scenes"]
    result = run("evaluate", "timesteps", "--truth", tmp_path / "scenes", *options)
    assert result.exit_code == 0, result.output
    assert len(asked) == 4  # the third again, and no other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "scenes"]
    resumed = report.read_text()
    run("evaluate", "timesteps", "--truth", tmp_path / "scenes", *options)
    assert report.read_text() == resumed


def test_evaluate_timesteps_scores_every_step_and_every_rule(run, tmp_path):
    run("scenes", "--count", "2", "--size", "64", "-o", tmp_path / "scenes")
    report = tmp_path / "report.json"
    options = ["--size", "32", "--stride", "300", "--thresholds", "5", "--json", report]
    result = run("evaluate", "timesteps", "--truth", tmp_path / "scenes", *options)
    assert result.exit_code == 0, result.output
    rows = {row["choice"]: row for row in json.loads(report.read_text())["rows"]}
    fixed = [row["ods"] for name, row in rows.items() if name.startswith("t = ")]
    assert len(fixed) == 4
    for rule in ("argmax", "first_peak", "bounded"):
        assert rows[f"rule {rule}"]["regret"] == pytest.approx(max(fixed) - rows[f"rule {rule}"]["ods"])
    assert rows["per-image best"]["ois"] >= max(row["ois"] for row in rows.values()) - 1e-9


@pytest.mark.parametrize(("more", "thin_truth"), [([], False), (["--no-bsds"], True)])
def test_evaluate_timesteps_scores_bsds_as_evaluate_edges_does(run, tmp_path, more, thin_truth):
    report = tmp_path / "report.json"
    quick = ["--size", "32", "--stride", "500", "--thresholds", "5", "--json", report, *more]
    result = run("evaluate", "timesteps", "--truth", bsds(tmp_path / "BSDS500"), *quick)
    assert result.exit_code == 0, result.output
    protocol = json.loads(report.read_text())["provenance"]["protocol"]
    assert (protocol["thin_truth"], protocol["thresholds"]) == (thin_truth, 5)
    steps = json.loads(report.read_text())["rows"]
    edges = ["--backbone", "mini", "--timestep", "0", "--no-rivals", "--zoom", "1", "--workers", "1"]
    report.unlink()
    result = run("evaluate", "edges", "--truth", tmp_path / "BSDS500", *quick, *edges)
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]}
    assert rows["ABDiv at t = 0"]["ods"] == steps[0]["ods"]


def test_pretrain_makes_a_backbone_for_edges(run, photos, tmp_path):
    config = tmp_path / "tiny.toml"
    config.write_text(
        "store_px = 32\nwarmup = 1\n[model]\nwidth = 32\nheads = 2\ndepth = 1\ngrid = 4\n"
        "[[stages]]\npx = 16\nbatch = 2\nsteps = 2\n"
    )
    result = run("pretrain", photos, "--config", config, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    model = tmp_path / "run" / "model"
    result = run("edges", photos / "a.png", "--backbone", model, "-o", tmp_path / "out", *QUICK)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "a.edges.png").is_file()


def test_an_unknown_key_in_a_config_is_named(run, photos, tmp_path):
    (tmp_path / "bad.toml").write_text("learning_rat = 1\n")
    result = run("pretrain", photos, "--config", tmp_path / "bad.toml", "-o", tmp_path / "run")
    assert isinstance(result.exception, SettingsError)
    assert "learning_rat" in str(result.exception)


def test_the_table_of_backbones_names_licence_and_hub_id(run):
    result = run("backbones")
    assert result.exit_code == 0
    assert "sd35-large" in result.output
    assert "mini" in result.output


def test_version_and_help_load_no_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from tracedge.cli import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scenes_in_one_piece_are_the_first_such_ones(run, tmp_path):
    run("scenes", "--seed", "1000000", "--count", "6", "--size", "64", "-o", tmp_path, "--in-one-piece")
    written = sorted(int(path.stem.removeprefix("scene_")) for path in (tmp_path / "masks").iterdir())
    whole = (seed for seed in count(1_000_000) if draw_scene(seed, 64).in_one_piece)
    assert written == [next(whole) for _ in range(6)] and written != list(range(1_000_000, 1_000_006))
