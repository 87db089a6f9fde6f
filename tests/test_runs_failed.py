"""What failed in an earlier run is tried again where that may help, and not where it would fail again."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from fake_runs import SUFFIX, Means, five_photos, lines, photo, run, write
from tracedge.cli import app
from tracedge.errors import RunError
from tracedge.images import load_image
from tracedge.runs import FolderRun, find_images


class FailsAtTen(Means):
    """Fails at the photo whose values are 10, as often as it is asked."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def __call__(self, images: list[np.ndarray]) -> list[float]:
        found = super().__call__(images)
        if 10.0 in found:
            raise self.error
        return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return five_photos(tmp_path / "photos")


@pytest.fixture
def failed_once(photos: Path, tmp_path: Path) -> Path:
    """The output folder of a run in which b.png failed for good."""
    run(photos, tmp_path / "out", FailsAtTen(ValueError("ten is too much")))
    return tmp_path / "out"


def test_what_failed_is_not_tried_again_and_still_counts_as_failed(photos, failed_once):
    before, again, told = lines(failed_once), Means(), []
    summary = run(photos, failed_once, again, on_progress=lambda job, *what: told.append((job.file, *what)))
    assert again.batches == []
    assert (summary.done, summary.skipped, summary.failed) == (0, 4, ())
    assert summary.failed_before == ((str(photos / "b.png"), "ValueError: ten is too much"),)
    assert summary.exit_code == 1
    assert ("b.png", "failed", "ValueError: ten is too much") in told
    assert lines(failed_once) == before


def test_it_is_tried_again_where_that_is_asked_for(photos, failed_once):
    again = Means()
    summary = run(photos, failed_once, again, retry_failed=True)
    assert (again.batches, summary.failed_before, summary.exit_code) == ([[10]], (), 0)
    assert run(photos, failed_once).skipped == 5


def test_it_is_tried_again_when_its_bytes_have_changed(photos, failed_once):
    photo(photos / "b.png", 11)
    again = Means()
    assert run(photos, failed_once, again).exit_code == 0
    assert again.batches == [[11]]


def test_it_is_tried_again_under_other_settings(photos, failed_once):
    again = Means()
    assert run(photos, failed_once, again, settings={"px": 1}, force=True).done == 5
    assert [10] in again.batches


def test_it_is_tried_again_for_other_outputs(photos, failed_once):
    def write_all(result: float, paths: dict[str, Path]) -> None:
        for path in paths.values():
            path.write_text("x")

    with FolderRun(failed_once, {"px": 512}, (SUFFIX, ".npz")) as folder:
        assert folder.process(find_images([photos]), load_image, Means(), write_all).done == 5


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError(), RunError("a link")])
def test_what_was_not_the_photos_fault_is_tried_again(photos, tmp_path, error):
    assert len(run(photos, tmp_path / "out", FailsAtTen(error)).failed) == 1
    again = Means()
    assert run(photos, tmp_path / "out", again).exit_code == 0
    assert again.batches == [[10]]


def test_a_photo_above_the_limit_of_pixels_is_tried_again_under_another_limit(photos, tmp_path):
    def small_only(path: Path) -> np.ndarray:
        return load_image(path, max_pixels=1)

    assert len(run(photos, tmp_path / "out", load=small_only).failed) == 5
    assert run(photos, tmp_path / "out").done == 5


def test_a_photo_without_bytes_is_tried_again(photos, tmp_path):
    jobs = find_images([photos])
    (photos / "b.png").unlink()
    for _ in range(2):
        with FolderRun(tmp_path / "out", {}, (SUFFIX,)) as folder:
            summary = folder.process(jobs, load_image, Means(), write)
        assert (len(summary.failed), summary.failed_before) == (1, ())


def test_a_failure_of_an_older_manifest_is_tried_again(photos, failed_once):
    old = [{key: value for key, value in line.items() if key != "lasting"} for line in lines(failed_once)]
    (failed_once / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    assert run(photos, failed_once).done == 1


@pytest.mark.parametrize(
    "verb",
    ["edges", "teach", "segment", "refine", "semantic", "panoptic", "inspect", "detect predict", "detect relabel"],
)
def test_every_batch_verb_can_be_told(verb):
    command = get_command(app)
    for name in verb.split():
        command = command.commands[name]
    assert "--retry-failed" in {name for option in command.params for name in option.opts}


def test_the_command_says_how_many_failed_before_and_what_tries_them_again(tmp_path):
    photo(tmp_path / "photos" / "good.png", 9)
    (tmp_path / "photos" / "bad.png").write_text("broken")
    command = ["edges", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--size", "64"]
    first, second = CliRunner().invoke(app, command), CliRunner().invoke(app, command)
    third = CliRunner().invoke(app, [*command, "--retry-failed"])
    assert [each.exit_code for each in (first, second, third)] == [1, 1, 1]
    assert "failed: " in first.stderr and "failed: " in third.stderr
    assert "failed: " not in second.stderr
    assert "1 failed in an earlier run and have not changed since; --retry-failed tries them again" in second.stderr
    assert "0 done, 1 skipped, 1 failed in " in second.stdout
    assert len(lines(tmp_path / "out")) == 3
