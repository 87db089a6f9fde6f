"""Bad days of a folder run: the disk is full, the folder is gone, a photo goes away, the clock is set back, the process stops
between the last photo and the files of all photos."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fake_runs import SUFFIX, Means, five_photos, lines, photo, run, visible, write
from tracedge.cli import app, instances_folder, segment_folder
from tracedge.errors import CheckpointError, RunError
from tracedge.images import load_image
from tracedge.runs import FolderRun, find_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return five_photos(tmp_path / "photos")


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def write_much(result: float, paths: dict[str, Path]) -> None:
    paths[SUFFIX].write_bytes(bytes([int(result)]) * 20_000)


def test_a_full_disk_ends_the_run_at_once_and_the_next_one_goes_on(photos, small_disk):
    output, predict = small_disk / "out", Means()
    with pytest.raises(OSError, match="No space left"):
        run(photos, output, predict, write=write_much)
    finished = lines(output)
    assert 0 < len(finished) < 5 and len(predict.batches) == len(finished) + 1, "it went on in vain"
    assert all(line["status"] == "ok" for line in finished)
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    again = Means()
    summary = run(photos, output, again, write=write_much)
    assert (summary.done, summary.skipped, summary.exit_code) == (5 - len(finished), len(finished), 0)
    assert all((output / f"{line['output']}{SUFFIX}").stat().st_size == 20_000 for line in lines(output))


@pytest.mark.parametrize("calls", range(8))
def test_a_disk_that_is_full_at_any_moment_leaves_nothing_half(photos, tmp_path, monkeypatch, calls):
    """`fsync` is where a file system that allocates late says it: of an output, its folder or the manifest."""
    left, real = [calls + 2], os.fsync  # settings.json takes two

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as said:
        run(photos, tmp_path / "out")
    monkeypatch.undo()
    assert said.value.filename == str(tmp_path / "out")
    assert not [name for name in visible(tmp_path / "out") if ".tmp" in name]
    summary = run(photos, tmp_path / "out")
    assert summary.done + summary.skipped == 5 and summary.exit_code == 0
    assert (tmp_path / "out" / f"b{SUFFIX}").read_text() == "10.0"


def test_the_command_says_that_the_disk_is_full_in_one_sentence(tmp_path, monkeypatch, capsys):
    photo(tmp_path / "photos" / "a.png", 9)

    def full(path: Path, array: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("tracedge.export.png.write_png16", full)
    command = ["tracedge", "edges", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--size", "64"]
    monkeypatch.setattr("sys.argv", command)
    from tracedge.cli import main

    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "No space left on device" in said and "Traceback" not in said


def test_ctrl_c_that_a_library_took_for_a_damaged_file_is_ctrl_c_to_the_command(tmp_path, monkeypatch, capsys):
    photo(tmp_path / "photos" / "a.png", 9)

    def load(*_: object, **__: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise CheckpointError("model.safetensors is not a whole safetensors file.")

    monkeypatch.setattr("tracedge.student.predictor.EdgePredictor.from_pretrained", load)
    monkeypatch.setattr("sys.argv", ["tracedge", "edges", str(tmp_path / "photos"), "-o", str(tmp_path / "out")])
    from tracedge.cli import main

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "safetensors" not in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_to_is_said_before_any_work(photos, tmp_path, monkeypatch):
    real, predict = os.open, Means()

    def forbidden(path: object, flags: int, *more: int) -> int:
        if str(path).startswith(str(tmp_path / "out")) and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(PermissionError):
        run(photos, tmp_path / "out", predict)
    assert predict.batches == []


# --- what happens beside the run --------------------------------------------------------------------------------------


def test_a_folder_that_is_removed_ends_the_run(photos, tmp_path):
    def predict(images: list[np.ndarray]) -> list[float]:
        if images[0].mean() == 20:
            shutil.rmtree(tmp_path / "out")
        return [float(image.mean()) for image in images]

    with pytest.raises(RunError, match="was removed while the run was going on"):
        run(photos, tmp_path / "out", predict)
    assert run(photos, tmp_path / "out").done == 5


def test_a_photo_that_goes_away_fails_alone_and_is_tried_again(photos, tmp_path):
    def predict(images: list[np.ndarray]) -> list[float]:
        (photos / "sub" / "a.png").unlink(missing_ok=True)
        return [float(image.mean()) for image in images]

    jobs = find_images([photos])
    with FolderRun(tmp_path / "out", {"px": 512}, (SUFFIX,)) as folder:
        summary = folder.process(jobs, load_image, predict, write)
    assert (summary.done, len(summary.failed), summary.exit_code) == (4, 1, 1)
    photo(photos / "sub" / "a.png", 20)
    assert run(photos, tmp_path / "out").done == 1


def test_a_photo_that_is_replaced_between_hash_and_reading_is_done_again(photos, tmp_path):
    def load_late(path: Path) -> np.ndarray:
        if path.name == "b.png":
            photo(path, 200)
        return load_image(path)

    run(photos, tmp_path / "out", load=load_late)
    again = Means()
    run(photos, tmp_path / "out", again)
    assert again.batches == [[200]], "the line tells of bytes that are not the photo's"


def test_a_clock_that_goes_backwards_changes_nothing(photos, tmp_path, monkeypatch):
    now = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    assert run(photos, tmp_path / "out").seconds >= 0
    os.utime(tmp_path / "out" / f"a{SUFFIX}", (1, 1))
    os.utime(photos / "b.png", (2**31, 2**31))
    assert run(photos, tmp_path / "out").skipped == 5
    assert all(line["seconds"] >= 0 for line in lines(tmp_path / "out"))


# --- files of all photos ----------------------------------------------------------------------------------------------


class Stop(BaseException):
    """A kill, as far as a process can play it to itself."""


@pytest.fixture
def segmented(tmp_path: Path) -> list[str]:
    """Two of four photos have their instances, and instances.json tells of both."""
    photo(tmp_path / "edges" / "unused.png")
    for place in range(4):
        photo(tmp_path / "photos" / f"{place}.png", 60 * place)
    command = ["segment", "-o", str(tmp_path / "out"), "--size", "64", "--format", "results"]
    first = [str(tmp_path / "photos" / f"{place}.png") for place in (0, 1)]
    done = CliRunner().invoke(app, [*command, *first])
    assert done.exit_code == 0, done.output
    return [*command, str(tmp_path / "photos")]


def gathered(output: Path) -> dict[str, bytes]:
    return {
        name: (output / name).read_bytes() for name in ("instances.json", "results.json") if (output / name).exists()
    }


@pytest.mark.parametrize("moment", ["before the next photo", "between photos", "between the photos and their file"])
def test_a_file_of_all_photos_is_there_only_when_it_is_right(segmented, tmp_path, monkeypatch, moment):
    whole = CliRunner().invoke(app, [*segmented[:2], str(tmp_path / "peace"), *segmented[3:]])
    assert whole.exit_code == 0, whole.output
    old, right, count = gathered(tmp_path / "out"), gathered(tmp_path / "peace"), [0]
    assert len(old) == len(right) == 2 and old != right

    def stop(real, at: int):
        def step(*arguments, **named):
            count[0] += 1
            if count[0] > at:
                raise Stop
            return real(*arguments, **named)

        return step

    where, name = (instances_folder, "_gather") if "file" in moment else (segment_folder, "write_photo")
    monkeypatch.setattr(where, name, stop(getattr(where, name), int(moment == "between photos")))
    with pytest.raises(Stop):
        CliRunner().invoke(app, segmented, catch_exceptions=False)
    monkeypatch.undo()
    assert gathered(tmp_path / "out") == (old if moment == "before the next photo" else {})
    again = CliRunner().invoke(app, segmented)
    assert again.exit_code == 0, again.output
    assert gathered(tmp_path / "out") == right
