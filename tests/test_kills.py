"""Each command is killed at random moments, many times: nothing finished is lost or done twice, and it ends as one left in peace.

TRACEDGE_KILLS=50 kills each command fifty times instead of six; with `-s` a table of what was done is printed at the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pytest

import killed_commands
from command_server import CommandServer
from tracedge.atomic import is_temporary
from tracedge.export.png import read_png16
from tracedge.jobs import Job, output_name
from tracedge.tensors import read_tensors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("TRACEDGE_KILLS", "6"))
RECORDS = ("manifest.jsonl", "report.json.journal", "checkpoint.safetensors")  # what grows as work is finished
OWN = {"manifest.jsonl", ".tracedge.lock", "report.json.journal", "report.json.journal.lock"}  # differ from run to run

ROUNDING = 2 / 65535  # of edges in [0, 1], in 16 bits: two steps

BATCH = sorted(killed_commands.batch_commands(Path()))
TRAININGS = sorted(killed_commands.trainings(Path()))
EVALUATIONS = sorted(killed_commands.evaluations(Path()))


class Peace(NamedTuple):
    """A run that nobody disturbed: its output, the seconds until the first thing was finished, and those after."""

    output: Path
    before_first: float
    working: float


class Bench:
    """Runs commands in folders of their own, and kills them."""

    def __init__(self, server: CommandServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.given = folder / "given"
        self.given.mkdir()
        self.counts: dict[str, dict[str, int]] = {}
        killed_commands.prepare(self.given, lambda argv: self.end_well(argv, self.given))

    def end_well(self, argv: list[object], cwd: Path) -> None:
        self.server.start(argv, cwd)
        assert self.server.wait() == 0, (cwd / "said.txt").read_text()[-2000:]

    def in_peace(self, verb: str, argv: list[object]) -> Peace:
        cwd = self.new_folder(verb)
        started, _ = time.monotonic(), self.server.start(argv, cwd)
        first = self._wait_for_progress(cwd / "out", {}, 30.0) - started
        assert self.server.wait() == 0, (cwd / "said.txt").read_text()[-2000:]
        return Peace(cwd / "out", first, time.monotonic() - started - first)

    def killed(self, argv: list[object], cwd: Path, number: int, peace: Peace, moments: random.Random) -> int:
        """Start a command and send it a signal at a random moment of `peace`; gives how it ended."""
        seen = sizes(cwd / "out")
        process = self.server.start(argv, cwd)
        if number != signal.SIGKILL or moments.random() < 0.8:  # in the midst of work; else at any moment
            self._wait_for_progress(cwd / "out", seen, peace.before_first + peace.working)
            time.sleep(moments.uniform(0, peace.working))
        else:
            time.sleep(moments.uniform(0, peace.before_first))
        return self.server.kill(process, number)

    def new_folder(self, verb: str) -> Path:
        cwd = self.folder / verb.replace(" ", "-") / str(len(list(self.folder.glob(f"{verb.replace(' ', '-')}/*"))))
        cwd.mkdir(parents=True)
        return cwd

    def _wait_for_progress(self, output: Path, seen: dict[str, object], most: float) -> float:
        end = time.monotonic() + most
        while sizes(output) == seen and time.monotonic() < end:
            time.sleep(0.001)
        return time.monotonic()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Bench]:
    server = CommandServer()
    made = Bench(server, tmp_path_factory.mktemp("kills"))
    yield made
    server.close()
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n| command | SIGKILL | SIGTERM | SIGINT | ended before it |\n| --- | --- | --- | --- | --- |")
        for verb, counts in made.counts.items():
            print(f"| {verb} | {' | '.join(str(counts[name]) for name in ('KILL', 'TERM', 'INT', 'early'))} |")


@pytest.mark.parametrize("verb", BATCH)
def test_a_batch_command(bench, verb):
    disturb(bench, verb, killed_commands.batch_commands(bench.given)[verb], BatchFolder)


@pytest.mark.parametrize("verb", TRAININGS)
def test_a_training(bench, verb):
    disturb(bench, verb, killed_commands.trainings(bench.given)[verb], TrainingFolder)


@pytest.mark.parametrize("verb", EVALUATIONS)
def test_an_evaluation(bench, verb):
    disturb(bench, verb, killed_commands.evaluations(bench.given)[verb], EvaluationFolder)


def test_edges_in_batches_agree_up_to_rounding_since_a_resumed_run_has_other_batches(bench):
    photos = bench.given / "scenes" / "images"
    argv = ["edges", photos, "-o", "out", "--size", 64, "--batch-size", 3]
    disturb(bench, "edges, 3 in a batch", argv, RoundedFolder)


def disturb(bench: Bench, verb: str, argv: list[object], kind: Callable[[Path, Path], Folder]) -> None:
    """Kill a command in one folder three times, then let it end; and so on in fresh folders, until there were enough kills."""
    peace, moments = bench.in_peace(verb, argv), random.Random(verb)
    counts = bench.counts[verb] = {"KILL": 0, "TERM": 0, "INT": 0, "early": 0}
    left = [signal.SIGTERM, signal.SIGINT] + [signal.SIGKILL] * (KILLS - 2)
    moments.shuffle(left)
    for _ in range(10 * KILLS):
        if not left:
            break
        cwd = bench.new_folder(verb)
        folder = kind(cwd / "out", peace.output)
        for life in range(3):
            rest = peace._replace(working=peace.working * (1 - life / 3))  # it goes on, and has less to do
            ended = bench.killed(argv, cwd, left[-1], rest, moments) if left else 0
            folder.look(cwd)
            if ended == 0:
                counts["early"] += bool(left)
                peace = peace._replace(working=0.7 * peace.working)  # the machine was busier when that was measured
                break
            number = left.pop()
            assert ended in ENDS[number], (number, ended, (cwd / "said.txt").read_text()[-2000:])
            counts[number.name.removeprefix("SIG")] += 1
        bench.end_well(argv, cwd)
        folder.look(cwd)
        folder.compare()
    assert not left, f"{len(left)} signals came too late each time: {counts}"


ENDS = {
    signal.SIGKILL: {-signal.SIGKILL},
    signal.SIGTERM: {143, -signal.SIGTERM},  # both are 143 to a shell
    signal.SIGINT: {130},
}


class Folder:
    """An output folder between kills, beside that of a run left in peace."""

    def __init__(self, output: Path, peace: Path) -> None:
        self.output, self.peace = output, peace

    def look(self, cwd: Path) -> None:
        """After each end: nothing half, nothing lost, nothing done twice."""
        raise NotImplementedError

    def compare(self) -> None:
        """After the last end: all is as in the other folder."""
        assert visible(self.output) == visible(self.peace)
        for name in visible(self.output) - OWN:
            assert self.same(name), name

    def same(self, name: str) -> bool:
        return same(self.output / name, self.peace / name)


class BatchFolder(Folder):
    """One or more files for each picture, a manifest, and files of all pictures."""

    def __init__(self, output: Path, peace: Path) -> None:
        super().__init__(output, peace)
        self.lines: list[bytes] = []
        self.stamps: dict[str, tuple[int, int]] = {}

    def look(self, cwd: Path) -> None:
        for name in visible(self.output) - OWN:
            assert self.same(name), f"{name} is not whole"
        lines = whole_lines(self.output / "manifest.jsonl")
        assert lines[: len(self.lines)] == self.lines, "what was finished was lost"
        entries = [json.loads(line) for line in lines]
        assert {entry["status"] for entry in entries} <= {"ok"}
        assert len({entry["output"] for entry in entries}) == len(entries), "what was finished was done again"
        assert {name: stamp(self.output / name) for name in self.stamps} == self.stamps, (
            "a finished file was written again"
        )
        self.lines = lines
        self.stamps = {name: stamp(self.output / name) for entry in entries for name in outputs_of(entry)}

    def compare(self) -> None:
        super().compare()
        ours, theirs = (
            sorted(str(json.loads(line) | {"seconds": 0}) for line in whole_lines(folder / "manifest.jsonl"))
            for folder in (self.output, self.peace)
        )
        assert ours == theirs


class RoundedFolder(BatchFolder):
    """As a batch folder, but for the last digit of edges."""

    def same(self, name: str) -> bool:
        if not name.endswith(".png"):
            return super().same(name)
        ours, theirs = (read_png16(folder / name) for folder in (self.output, self.peace))
        return float(np.abs(ours - theirs).max()) <= ROUNDING


class TrainingFolder(Folder):
    """A checkpoint whose step only grows, a log, and a result that loads."""

    step = 0

    def look(self, cwd: Path) -> None:
        for path in self.output.rglob("*.safetensors"):
            if not is_temporary(path.name) and not any(
                part.startswith(".") for part in path.relative_to(self.output).parts
            ):
                read_tensors(path)  # raises if it is not whole
        checkpoint = self.output / "checkpoint.safetensors"
        if checkpoint.exists():
            _, metadata = read_tensors(checkpoint)
            assert int(metadata["step"]) >= self.step, "finished steps were lost"
            self.step = int(metadata["step"])


class EvaluationFolder(Folder):
    """A journal that only grows until the report stands."""

    lines: list[bytes] = []  # noqa: RUF012 (replaced, never changed)

    def look(self, cwd: Path) -> None:
        report, journal = self.output / "report.json", self.output / "report.json.journal"
        if report.exists():
            assert report.read_bytes() == (self.peace / "report.json").read_bytes()
        if journal.exists():
            lines = whole_lines(journal)
            assert lines[: len(self.lines)] == self.lines, "what was counted was lost"
            keys = [tuple(json.loads(line)["key"]) for line in lines[1:]]
            assert len(set(keys)) == len(keys), "what was counted was counted again"
            self.lines = lines


def visible(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not is_temporary(path.name)
    }


def sizes(output: Path) -> dict[str, object]:
    return {
        name: stamp(output / name) for name in RECORDS if (output / name).exists() and (output / name).stat().st_size
    }


def stamp(path: Path) -> tuple[int, int]:
    """Which file stands there, and since when."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def whole_lines(path: Path) -> list[bytes]:
    return (
        [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if path.exists() else []
    )


def outputs_of(entry: dict) -> list[str]:
    job = Job(Path(entry["file"]), PurePosixPath(entry["output"]))
    return [output_name(job, suffix) for suffix in entry["suffixes"]]


def same(one: Path, other: Path) -> bool:
    """Equal bytes; or equal tensors and notes, whose order in a file is not fixed."""
    if one.suffix != ".safetensors":
        return one.read_bytes() == other.read_bytes()
    (ours, notes), (theirs, other_notes) = read_tensors(one), read_tensors(other)
    equal = ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    return equal and notes == other_notes
