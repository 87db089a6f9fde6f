"""Distillation: it learns, it resumes exactly, it refuses what does not belong together."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tiny_distillation import TINY, mini, square_labels
from tracedge.cli import app
from tracedge.errors import CheckpointError, DataError, SettingsError, TrainingError
from tracedge.export.png import read_png16
from tracedge.images import load_image
from tracedge.settings import from_table
from tracedge.student import training
from tracedge.student.crops import Crops
from tracedge.student.files import FACTS, WEIGHTS
from tracedge.student.predictor import EdgePredictor
from tracedge.student.pseudo_labels import PseudoLabels
from tracedge.student.training import DistillConfig, distill
from tracedge.tensors import read_tensors


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return square_labels(tmp_path_factory.mktemp("pseudo"))


@pytest.fixture(scope="module")
def student(labels, tmp_path_factory):
    config = replace(TINY, steps=40, batch=4, learning_rate=1e-2)
    return distill(labels, mini(), config, tmp_path_factory.mktemp("run"))


def kept(folder):
    return read_tensors(folder / "checkpoint.safetensors")[0]


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(labels, tmp_path):
    distill(labels, mini(), TINY, tmp_path / "whole")
    for stop in (2, 5, None):
        distill(labels, mini(), TINY, tmp_path / "parts", until_step=stop)
    whole, parts = kept(tmp_path / "whole"), kept(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_log_of_a_resumed_run_tells_no_step_twice(labels, tmp_path):
    distill(labels, mini(), TINY, tmp_path, until_step=4)
    with (tmp_path / "train.jsonl").open("a") as log:
        log.write('{"step": 5, "dice": 1}\n{"step": 6, "di')  # after the checkpoint, and torn by the kill
    distill(labels, mini(), TINY, tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert steps == [4, 6]


def test_a_run_killed_between_its_checkpoint_and_its_student_writes_the_student_when_it_is_resumed(labels, tmp_path):
    folder = distill(labels, mini(), TINY, tmp_path, until_step=2)
    shutil.copytree(folder, tmp_path / "older")
    distill(labels, mini(), TINY, tmp_path)
    kept = EdgePredictor.from_pretrained(folder, device="cpu").provenance
    shutil.rmtree(folder)
    (tmp_path / "older").rename(folder)
    distill(labels, mini(), TINY, tmp_path)
    assert EdgePredictor.from_pretrained(folder, device="cpu").provenance == kept


def test_accumulated_forwards_are_one_step(labels, tmp_path):
    config = replace(TINY, batch=1, accumulate=3, steps=2)
    seen = []
    distill(labels, mini(), config, tmp_path, on_step=lambda step: seen.append(step.step))
    assert seen == [1, 2]
    assert float(kept(tmp_path)["optimiser0/0/step"]) == 2


def test_the_losses_fall(labels, tmp_path):
    config = replace(TINY, steps=80, batch=4, learning_rate=1e-2, adapter_rate=5e-3, cooldown=0.2)
    seen = []
    distill(labels, mini(), config, tmp_path, on_step=lambda step: seen.append(dict(step.losses)))
    for name in ("dice", "reconstruction"):
        first, last = (np.mean([losses[name] for losses in part]) for part in (seen[:4], seen[-4:]))
        assert last < 0.8 * first, name


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"reconstruction": 0.0}, {"dice"}),
        ({"dice": 0.0, "cross_entropy": 1.0}, {"cross_entropy", "reconstruction"}),
        ({"rank": 0}, {"dice"}),
    ],
)
def test_each_loss_can_be_left_out(labels, tmp_path, change, names):
    seen = []
    distill(labels, mini(), replace(TINY, steps=1, **change), tmp_path, on_step=lambda step: seen.append(step.losses))
    assert set(seen[0]) == names


def test_activations_computed_twice_give_the_same_training(labels, tmp_path):
    for name, twice in (("once", False), ("twice", True)):
        distill(labels, mini(), replace(TINY, steps=2, checkpointing=twice), tmp_path / name)
    once, twice = kept(tmp_path / "once"), kept(tmp_path / "twice")
    assert all(torch.allclose(once[name], twice[name], atol=1e-6) for name in once)


def test_blurred_crops_keep_their_size_and_their_colours_and_lose_detail(labels):
    sharp, soft = (
        Crops(labels, "ridges", 32, 8, blurred).draw(np.random.default_rng(3), 4)[0] for blurred in (0.0, 1.0)
    )
    assert sharp.shape == soft.shape == (4, 3, 32, 32)
    roughness = [image.diff(dim=-1).abs().max() for image in (sharp, soft)]
    assert roughness[1] < 0.8 * roughness[0]


def test_crops_larger_than_the_pictures_are_uncertain_beyond_them(labels):
    images, truth = Crops(labels, "ridges", 64, 8).draw(np.random.default_rng(0), 2)
    assert images.shape == (2, 3, 64, 64)
    assert (truth[:, 40:] == -1).all()
    assert (truth[:, :40, :48] != -1).any()


def test_another_config_does_not_go_on_with_a_run(labels, tmp_path):
    distill(labels, mini(), TINY, tmp_path, until_step=1)
    with pytest.raises(CheckpointError, match="another config"):
        distill(labels, mini(), replace(TINY, seed=2), tmp_path)


def test_a_student_that_another_started_from_begins_where_that_one_ended(labels, student, tmp_path):
    still = replace(TINY, steps=1, learning_rate=1e-12, adapter_rate=1e-12, weight_decay=0.0)
    after = distill(labels, mini(), still, tmp_path, start=student)
    picture = labels[0][0].image
    edges = [EdgePredictor.from_pretrained(folder)(picture).edges for folder in (student, after)]
    fresh = EdgePredictor.from_pretrained(distill(labels, mini(), still, tmp_path / "fresh"))(picture).edges
    assert np.abs(edges[0] - edges[1]).max() < 1e-4 < np.abs(edges[0] - fresh).max()
    assert "start" in json.loads((after / FACTS).read_text())["trained"]


def test_a_start_of_other_sizes_is_refused_before_anything_is_written(labels, student, tmp_path):
    with pytest.raises(CheckpointError, match="rank 2, the config 3"):
        distill(labels, mini(), replace(TINY, rank=3), tmp_path / "run", start=student)
    assert not (tmp_path / "run").exists()


def test_a_decoder_alone_may_get_adapters_later(labels, tmp_path):
    alone = distill(labels, mini(), replace(TINY, rank=0), tmp_path / "decoder")
    after = distill(labels, mini(), TINY, tmp_path / "both", start=alone)
    assert json.loads((after / FACTS).read_text())["rank"] == 2


def test_another_start_does_not_go_on_with_a_run(labels, student, tmp_path):
    distill(labels, mini(), TINY, tmp_path, until_step=1)
    with pytest.raises(CheckpointError, match="another config"):
        distill(labels, mini(), TINY, tmp_path, start=student)


def test_labels_of_another_backbone_are_refused(labels, tmp_path):
    other = mini()
    other.settings = {**other.settings, "weights": "another"}
    with pytest.raises(DataError, match="tracedge teach"):
        distill(labels, other, TINY, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"), [({"taught_px": 64}, "--px 48"), ({"size": 32, "taught_px": 64}, "size 32")]
)
def test_labels_of_another_resolution_are_refused(labels, tmp_path, change, said):
    shutil.copytree(labels[0].folder, tmp_path / "other")
    (tmp_path / "other" / "settings.json").write_text(json.dumps(labels[0].provenance | change))
    with pytest.raises(DataError, match=said):
        distill([*labels, PseudoLabels(tmp_path / "other")], mini(), TINY, tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(labels, tmp_path, monkeypatch):
    distill(labels, mini(), TINY, tmp_path, until_step=2)
    before = kept(tmp_path)
    monkeypatch.setattr(training, "dice_loss", lambda logits, _: logits.sum() * float("nan"))
    with pytest.raises(TrainingError, match="step 2"):
        distill(labels, mini(), TINY, tmp_path)
    after = kept(tmp_path)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "table",
    [
        {"rule": "best"},
        {"rule": ["ridges"]},
        {"steps": 0},
        {"steps": 2.5},
        {"batch": True},
        {"width": "8"},
        {"width": 10},
        {"dice": 0.0},
        {"dice": float("nan")},
        {"learning_rate": float("inf")},
        {"weight_decay": -1},
        {"seed": -1},
        {"warmup": -3},
        {"values": -1},
        {"checkpointing": "false"},
        {"precision": "int4"},
        {"ema": 1.0},
        {"tempo": 1},
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_the_name_of_its_key(table):
    with pytest.raises(SettingsError, match=next(iter(table))):
        from_table(DistillConfig, table)


def test_a_gradient_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(labels, tmp_path, monkeypatch):
    distill(labels, mini(), TINY, tmp_path, until_step=2)
    before = kept(tmp_path)
    # Finite, but its slope at 0 is not.
    monkeypatch.setattr(training, "dice_loss", lambda logits, _: (logits * 0).abs().sqrt().sum())
    with pytest.raises(TrainingError, match="gradient at step 2"):
        distill(labels, mini(), TINY, tmp_path)
    assert all(torch.equal(before[name], weight) for name, weight in kept(tmp_path).items())


def test_labels_that_grew_are_other_data(labels, tmp_path):
    pseudo = tmp_path / "pseudo"
    shutil.copytree(labels[0].folder, pseudo)
    distill([PseudoLabels(pseudo)], mini(), TINY, tmp_path / "run", until_step=1)
    for suffix in (".image.png", ".edges.png"):
        shutil.copy(pseudo / f"0{suffix}", pseudo / f"9{suffix}")
    with pytest.raises(CheckpointError, match="other data"):
        distill([PseudoLabels(pseudo)], mini(), TINY, tmp_path / "run")


def test_thin_labels_are_refused_under_the_rule_for_smooth_ones(labels, tmp_path):
    shutil.copytree(labels[0].folder, tmp_path / "thin")
    (tmp_path / "thin" / "settings.json").write_text(json.dumps(labels[0].provenance | {"snap": True}))
    with pytest.raises(SettingsError, match="--no-snap"):
        distill([PseudoLabels(tmp_path / "thin")], mini(), replace(TINY, rule="mean_deviation"), tmp_path / "run")


@pytest.mark.parametrize("text", ["[]", "null", "3", "{", '{"predictor": "teacher"}'])
def test_a_folder_whose_settings_are_no_teachers_is_refused(labels, tmp_path, text):
    shutil.copytree(labels[0].folder, tmp_path / "other")
    (tmp_path / "other" / "settings.json").write_text(text)
    with pytest.raises(DataError, match="tracedge teach"):
        PseudoLabels(tmp_path / "other")


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_one_student_on_twice_the_crops(labels, tmp_path):
    settings = tmp_path / "tiny.toml"
    settings.write_text("px = 16\nrank = 2\nwidth = 8\nsteps = 3\nbatch = 1\nreconstruction = 0\n")

    def run(name, *launcher):
        command = [sys.executable, "-W", "ignore", *launcher, "-m", "tracedge", "distill", labels[0].folder]
        command += ["-o", tmp_path / name, "--config", settings, "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("the student is in") == 1
        return read_tensors(tmp_path / name / "student" / WEIGHTS)[0]

    together = run("two", "-m", "torch.distributed.run", "--nproc_per_node", "2")
    alone = run("one")
    assert together.keys() == alone.keys()
    assert any(
        not torch.equal(together[name], alone[name]) for name in alone
    )  # the second process drew crops of its own
    lines = [json.loads(line) for line in (tmp_path / "two" / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3]


def test_from_photos_to_a_student_to_edges_on_the_command_line(tmp_path):
    from tracedge.datasets.scenes import draw_scene

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    (tmp_path / "photos").mkdir()
    for seed in (1, 2):
        Image.fromarray(draw_scene(seed, 64).image).save(tmp_path / "photos" / f"{seed}.png")
    pseudo = tmp_path / "pseudo"
    teach = ("teach", tmp_path / "photos", "-o", pseudo, "--size", 24, "--timestep", 0)
    assert run(*teach).exit_code == 0
    assert load_image(pseudo / "1.image.png").shape == (48, 48, 3)
    assert "2 skipped" in run(*teach).output
    (tmp_path / "tiny.toml").write_text("px = 16\nrank = 2\nwidth = 8\nsteps = 2\nbatch = 1\n")
    truth = tmp_path / "truth"
    assert run("scenes", "--count", 2, "--size", 48, "-o", truth, "--workers", 1).exit_code == 0
    done = run("distill", pseudo, "-o", tmp_path / "run", "--config", tmp_path / "tiny.toml", "--validate", truth)
    assert done.exit_code == 0, done.output
    logged = [json.loads(line) for line in (tmp_path / "run" / "train.jsonl").read_text().splitlines()]
    assert 0 <= logged[-1]["ODS"] <= 1
    student = tmp_path / "run" / "student"
    done = run("edges", tmp_path / "photos", "-o", tmp_path / "edges", "--student", student)
    assert done.exit_code == 0, done.output
    assert read_png16(tmp_path / "edges" / "1.edges.png").shape == (64, 64)
    done = run("evaluate", "edges", "--truth", truth, "--student", student, "--thresholds", 3, "--workers", 1)
    assert done.exit_code == 0, done.output
    assert "student" in done.output
    refused = run("edges", tmp_path / "photos", "-o", tmp_path / "e", "--student", student, "--timestep", 3)
    assert isinstance(refused.exception, SettingsError)
    assert "--timestep" in str(refused.exception)
