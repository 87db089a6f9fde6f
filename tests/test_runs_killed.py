"""A run killed at any moment, and started again, ends as one that was left in peace."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from fake_runs import lines, photo
from tracedge.interrupts import raise_again, signals_raise

SLOW_RUN = textwrap.dedent("""
    import signal, sys, time
    from pathlib import Path
    from tracedge.images import load_image
    from tracedge.runs import FolderRun, find_images

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    photos, output, log = map(Path, sys.argv[1:])

    def predict(images):
        with log.open("a") as stream:
            for image in images:
                stream.write(f"{int(image[0, 0, 0])}\\n")
        time.sleep(0.01)
        return [str(int(image[0, 0, 0])) for image in images]

    def write(result, paths):
        with paths[".one.txt"].open("w") as stream:
            stream.write(result)
            stream.flush()
            time.sleep(0.004)
            stream.write(" whole")
        paths[".two.txt"].write_text(result + " whole")

    with FolderRun(output, {"px": 1}, (".one.txt", ".two.txt")) as run:
        print("started", flush=True)
        summary = run.process(find_images([photos]), load_image, predict, write, batch_size=3)
    sys.exit(summary.exit_code)
""")


def start_slow_run(tmp_path: Path) -> subprocess.Popen:
    arguments = [str(tmp_path / name) for name in ("photos", "out", "log")]
    process = subprocess.Popen([sys.executable, "-c", SLOW_RUN, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


def assert_no_half_file(output: Path) -> None:
    for path in output.glob("[0-9]*.txt"):
        assert path.read_text() == f"{int(path.name[:3])} whole", path


def assert_finished(tmp_path: Path, count: int) -> None:
    output = tmp_path / "out"
    assert len(list(output.glob("*.txt"))) == 2 * count
    assert_no_half_file(output)
    assert sorted(line["file"] for line in lines(output)) == [f"{value:03}.png" for value in range(count)]
    assert {line["status"] for line in lines(output)} == {"ok"}
    assert not list(output.glob(".tracedge-*"))


def finished_values(tmp_path: Path) -> set[int]:
    text = (tmp_path / "out" / "manifest.jsonl").read_text()
    return {int(json.loads(line)["output"]) for line in text.splitlines(keepends=True) if line.endswith("\n")}


def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    count, moments, kills = 60, random.Random(0), 0
    for value in range(count):
        photo(tmp_path / "photos" / f"{value:03}.png", value)
    log = tmp_path / "log"
    log.touch()
    for _ in range(40):
        before, seen = finished_values(tmp_path) if (tmp_path / "out").exists() else set(), len(log.read_text())
        process = start_slow_run(tmp_path)
        try:
            process.wait(timeout=moments.uniform(0.01, 0.3) if kills < 6 else 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        process.stdout.close()
        predicted = [int(line) for line in log.read_text()[seen:].split()]
        assert before.isdisjoint(predicted), "what was finished was done again"
        assert len(predicted) == len(set(predicted))
        assert before <= finished_values(tmp_path), "what was finished was lost"
        assert_no_half_file(tmp_path / "out")
        if process.returncode == 0:
            break
    assert kills >= 3
    assert process.returncode == 0
    assert_finished(tmp_path, count)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_run_that_is_asked_to_stop_leaves_no_temporary_file(tmp_path, number, code):
    for value in range(60):
        photo(tmp_path / "photos" / f"{value:03}.png", value)
    process = start_slow_run(tmp_path)
    while not (tmp_path / "log").exists():  # the first batch is under way
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    process.stdout.close()
    assert not list((tmp_path / "out").glob(".tracedge-*"))
    assert_no_half_file(tmp_path / "out")
    process = start_slow_run(tmp_path)
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert_finished(tmp_path, 60)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_an_interrupt_that_a_library_swallows_is_raised_again(number, raised):
    with pytest.raises(raised), signals_raise():
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        raise_again()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_in_a_block_knows_of_its_signals_and_the_next_block_of_none():
    with pytest.raises(SystemExit), signals_raise(signal.SIGINT):
        with signals_raise(), contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        raise_again()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with signals_raise():
        raise_again()
