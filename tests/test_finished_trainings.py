"""A training that is finished is not done again, and its command says so; two at once are refused."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import tiny_detection
import tiny_distillation
from tracedge.cli import app
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import RunError
from tracedge.locking import exclusive
from tracedge.runs import LOCK


def toml(path: Path, table: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()))
    return path


def pretrain(folder: Path) -> list[object]:
    (folder / "photos").mkdir(parents=True)
    Image.fromarray(draw_scene(1, 64).image).save(folder / "photos" / "a.png")
    config = folder / "config.toml"
    config.write_text(
        "store_px = 32\nstages = [{px = 16, batch = 2, steps = 2}]\n[model]\nwidth = 32\ndepth = 2\nheads = 2\n"
    )
    return ["pretrain", folder / "photos", "-o", folder / "out", "--config", config]


def distill(folder: Path) -> list[object]:
    (folder / "labels").mkdir(parents=True)
    tiny_distillation.square_labels(folder / "labels")
    config = toml(folder / "config.toml", asdict(tiny_distillation.TINY) | {"steps": 2})
    return ["distill", folder / "labels", "-o", folder / "out", "--config", config]


def detect_train(folder: Path) -> list[object]:
    tiny_detection.labelled(folder)
    config = toml(folder / "config.toml", asdict(tiny_detection.TINY) | {"steps": 2})
    return ["detect", "train", folder, "--images", folder / "images", "-o", folder / "out", "--config", config]


TRAININGS = {
    "pretrain": (pretrain, "model"),
    "distill": (distill, "student"),
    "detect train": (detect_train, "detector"),
}


def run(command: list[object]):
    return CliRunner().invoke(app, [*map(str, command), "--device", "cpu"])


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Which file stands under each name: a file that was written anew is another."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("verb", TRAININGS)
def test_a_finished_training_is_not_done_again(verb, tmp_path):
    make, result = TRAININGS[verb]
    command = make(tmp_path / "work")
    first = run(command)
    assert first.exit_code == 0, first.output
    assert "already done" not in first.output
    before = state(tmp_path / "work" / "out" / result)
    again = run(command)
    assert again.exit_code == 0 and "already done: " in again.output
    assert before and state(tmp_path / "work" / "out" / result) == before


@pytest.mark.parametrize("verb", TRAININGS)
def test_what_a_kill_left_unwritten_is_written_by_the_next_run(verb, tmp_path):
    make, result = TRAININGS[verb]
    command = make(tmp_path / "work")
    run(command)
    last = {"pretrain": "mini.json"}.get(verb, "README.md")
    (tmp_path / "work" / "out" / result / last).unlink()
    assert run(command).exit_code == 0
    assert (tmp_path / "work" / "out" / result / last).is_file()


@pytest.mark.parametrize("verb", TRAININGS)
def test_two_trainings_do_not_share_a_folder(verb, tmp_path):
    command = TRAININGS[verb][0](tmp_path / "work")
    (tmp_path / "work" / "out").mkdir()
    with exclusive(tmp_path / "work" / "out" / LOCK):
        refused = run(command)
    assert isinstance(refused.exception, RunError) and "another run is writing" in str(refused.exception)
