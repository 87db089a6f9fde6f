"""`tracedge detect`: from pseudo masks to a detector and its masks, killed and resumed; wrong use is a sentence first."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tiny_detection import KINDS, TINY, labelled, panoptic_labelled
from tracedge.cli import app
from tracedge.detector.files import WEIGHTS
from tracedge.detector.labels import find_labels
from tracedge.errors import TracedgeError
from tracedge.export.coco_reader import read_coco
from tracedge.export.panoptic_reader import read_panoptic
from tracedge.tensors import read_tensors


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def written(path, **changed):
    """A TOML file of the smallest config, with some keys changed."""
    table = asdict(TINY) | changed
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    config = written(output / "config.given.toml", steps=60, learning_rate=3e-3, scale_low=1.0, scale_high=1.0, ema=0.9)
    options = ["--config", config, "--device", "cpu"]
    found = run("detect", "train", folder, "--images", folder / "images", "-o", output, *options)
    assert found.exit_code == 0, found.output
    assert "4 photos, instances of any class, 60 steps of 2" in found.output
    return output / "detector"


def test_instances_are_written_as_segment_writes_them(folder, trained, tmp_path):
    words = ["detect", "predict", folder / "images", "-o", tmp_path, "--detector", trained, "--overlapping"]
    found = run(*words, "--min-score", "0", "--format", "overlay")
    assert found.exit_code == 0, found.output
    coco = read_coco(tmp_path / "instances.json")
    assert len(coco) == 4 and all(len(coco.instances(number)) for number in coco.images)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"0.instances.png", "0.instances.npz", "0.instances.overlay.png", "manifest.jsonl"} <= names
    assert "4 skipped" in run(*words, "--min-score", "0", "--overlay").output
    again = run(*words, "--min-score", "0.5", "--format", "overlay")
    assert again.exit_code and "of other settings" in str(again.exception)


def test_a_round_of_self_training_from_the_command_line(folder, trained, tmp_path):
    words = ["--images", folder / "images", "--detector", trained, "--device", "cpu"]
    found = run("detect", "relabel", folder, *words, "-o", tmp_path / "second", "--min-score", "0.99", "--overlay")
    assert found.exit_code == 0, found.output
    assert len(list((tmp_path / "second").glob("*.instances.overlay.png"))) == 4
    new = find_labels(tmp_path / "second", [folder / "images"])
    old = find_labels(folder, [folder / "images"])
    assert len(new) == 4 and all(len(new[i].masks) >= len(old[i].masks) for i in range(4))
    again = ["detect", "train", tmp_path / "second", "--images", folder / "images", "--start", trained]
    config = written(tmp_path / "config.toml", steps=1)
    found = run(*again, "-o", tmp_path / "run", "--config", config, "--device", "cpu")
    assert found.exit_code == 0, found.output


def test_panoptic_maps_from_the_command_line(tmp_path):
    folder = panoptic_labelled(tmp_path / "labelled")
    config = written(tmp_path / "config.toml", steps=2)
    words = ["--images", folder / "images", "--device", "cpu"]
    found = run("detect", "train", folder, *words, "-o", tmp_path / "run", "--config", config)
    assert found.exit_code == 0 and "panoptic, 2 classes" in found.output, found.output
    detector = ["--detector", tmp_path / "run" / "detector", "--device", "cpu"]
    loose = ["--min-score", "0", "--visible", "0"]
    found = run("detect", "predict", folder / "images", "-o", tmp_path / "maps", *detector, "--panoptic", *loose)
    assert found.exit_code == 0, found.output
    maps = read_panoptic(tmp_path / "maps")
    assert len(maps) == 4 and {one.id for one in maps.categories} == {3, 7}
    for number in maps.images:
        found = maps.read(number, (64, 64)).segments
        assert found and all(segment.score is not None for segment in found)
    found = run(
        "detect", "relabel", folder, *words, "--detector", tmp_path / "run" / "detector", "-o", tmp_path / "second"
    )
    assert found.exit_code == 0, found.output
    second, first = (find_labels(path, [folder / "images"]) for path in (tmp_path / "second", folder))
    assert second.categories == first.categories
    others = panoptic_labelled(tmp_path / "others", categories=(replace(KINDS[0], id=7), replace(KINDS[1], id=3)))
    words[1] = others / "images"
    found = run(
        "detect", "relabel", others, *words, "--detector", tmp_path / "run" / "detector", "-o", tmp_path / "third"
    )
    assert "with its own" in str(found.exception) and not (tmp_path / "third").exists()
    # A detector of two steps is sure of nothing: the labels are the pseudo masks.
    np.testing.assert_array_equal(second[0].masks.sum(axis=0), first[0].masks.sum(axis=0))


def sentence(*words):
    found = run(*words)
    assert found.exit_code != 0
    return f"{found.output} {found.exception}"


def test_wrong_use_is_a_sentence(folder, trained, tmp_path):
    photos, out = ["--images", folder / "images"], ["-o", tmp_path / "out"]
    predict = ["detect", "predict", folder / "images", *out]
    assert "no detector" in sentence(*predict, "--detector", labelled_as_vit(tmp_path))
    assert "knows no stuff" in sentence(*predict, "--detector", trained, "--panoptic")
    assert "leave --overlapping" in sentence(*predict, "--detector", trained, "--panoptic", "--overlapping")
    assert "unknown format" in sentence(*predict, "--detector", trained, "--format", "bmp")
    assert "lie in [0, 1]" in sentence(*predict, "--detector", trained, "--min-score", "2")
    train = ["detect", "train", folder, *photos, *out]
    assert "no device 'cuda:99'" in sentence(*train, "--device", "cuda:99")
    assert "its backbone" in sentence(*train, "--backbone", "small", "--start", trained)
    assert "unknown setting 'stepz'" in sentence(*train, "--config", wrong_key(tmp_path))
    assert "one of small, resnet-18" in sentence(*train, "--backbone", "resnet-999")
    assert "no detector" in sentence(*train, "--start", labelled_as_vit(tmp_path))
    assert "lies in [0, 1]" in sentence(
        "detect", "relabel", folder, *photos, *out, "--detector", trained, "--alike", "2"
    )
    assert not (tmp_path / "out").exists()


def test_weights_that_are_cut_off_are_a_sentence(trained, folder, tmp_path):
    shutil.copytree(trained, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    found = run("detect", "predict", folder / "images", "-o", tmp_path / "out", "--detector", tmp_path / "cut")
    assert isinstance(found.exception, TracedgeError) and "cannot be loaded" in str(found.exception)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["small", "swin"])
def test_two_processes_train_one_detector(kind, folder, tmp_path):
    """A Swin's last norm reaches no loss, which accelerate's processes must be told."""
    from test_detector_training import saved_backbone

    backbone = "small" if kind == "small" else str(saved_backbone(kind, tmp_path / "swin"))
    config = written(tmp_path / "config.toml", steps=3, batch=1, backbone=backbone)
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "tracedge"]
    command += ["detect", "train", folder, "--images", folder / "images", "-o", tmp_path / "run", "--config", config]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command), "--device", "cpu"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the detector is in") == 1
    assert (tmp_path / "run" / "detector" / "model.safetensors").exists()


def labelled_as_vit(tmp_path):
    from tiny_vision import save_tiny

    return save_tiny("vit", tmp_path / "vit")


def wrong_key(tmp_path):
    (tmp_path / "wrong.toml").write_text("stepz = 3\n")
    return tmp_path / "wrong.toml"


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_with_the_same_losses(folder, tmp_path):
    """By kill -9 in the middle, between checkpoints as well; the log and the weights are those of a run that was left alone."""
    config = written(tmp_path / "config.toml", steps=60)
    script = (
        "import sys; from tracedge.detector import training; training.LOG_EVERY = 1\n"
        "from tracedge.cli import main; from functools import partial\n"
        "training.train_detector = partial(training.train_detector, checkpoint_seconds=0.5)\n"
        "sys.argv[0] = 'tracedge'; main()"
    )
    words = ["detect", "train", folder, "--images", folder / "images", "--config", config, "--device", "cpu", "-o"]

    def start(output):
        command = [sys.executable, "-c", script, *map(str, [*words, output])]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    log = tmp_path / "killed" / "train.jsonl"
    process = start(tmp_path / "killed")
    for _ in range(600):
        if process.poll() is not None or (log.exists() and len(log.read_text().splitlines()) >= 15):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    for output in ("killed", "whole"):
        process = start(tmp_path / output)
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    logs = [(tmp_path / output / "train.jsonl").read_text() for output in ("killed", "whole")]
    assert logs[0] == logs[1] and logs[0].count("loss") == 60
    (one, said), (other, too) = (
        read_tensors(tmp_path / output / "detector" / WEIGHTS) for output in ("killed", "whole")
    )
    assert said == too and one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
