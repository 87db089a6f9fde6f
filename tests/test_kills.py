"""Each command is killed at random moments, many times: nothing finished is lost or done twice, and it ends as one left in peace.

TRACEDGE_KILLS=50 kills each command fifty times instead of six; with `-s` a table of what was done is printed at the end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pytest
import safetensors

import killed_commands
from command_server import CommandServer
from tracedge import claims
from tracedge.atomic import is_temporary
from tracedge.export.png import read_png16
from tracedge.jobs import Job, output_name
from tracedge.tensors import read_tensors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("TRACEDGE_KILLS", "6"))
LAST = 10**9  # of a report that stands
OWN = {"manifest.jsonl", ".tracedge.lock", "report.json.journal", "report.json.journal.lock"}  # differ from run to run

ROUNDING = 2 / 65535  # of edges in [0, 1], in 16 bits: two steps

BATCH = sorted(killed_commands.batch_commands(Path()))
TRAININGS = sorted(killed_commands.trainings(Path()))
EVALUATIONS = sorted(killed_commands.evaluations(Path()))


class Peace(NamedTuple):
    """A run that nobody disturbed: its output, how much it finished, the seconds until the first of it, and those for each."""

    output: Path
    units: int
    before_first: float
    each: float


class Bench:
    """Runs commands in folders of their own, and kills them."""

    def __init__(self, server: CommandServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.given = folder / "given"
        self.given.mkdir()
        self.counts: dict[str, Counter[str]] = {}
        killed_commands.prepare(self.given, lambda argv: self.end_well(argv, self.given))

    def end_well(self, argv: list[object], cwd: Path) -> None:
        self.server.start(argv, cwd)
        assert self.server.wait() == 0, (cwd / "said.txt").read_text()[-2000:]

    def in_peace(self, verb: str, argv: list[object]) -> Peace:
        cwd = self.new_folder(verb)
        started, _ = time.monotonic(), self.server.start(argv, cwd)
        units, times = 0, []
        while not self.server.has_ended():
            if units < (now := finished(cwd / "out")) < LAST:
                units = now
                times.append(time.monotonic())
            time.sleep(0.001)
        assert self.server.wait() == 0, (cwd / "said.txt").read_text()[-2000:]
        return Peace(cwd / "out", units, times[0] - started, (times[-1] - times[0]) / units)

    def killed(
        self, argv: list[object], cwd: Path, number: int, early: bool, peace: Peace, moments: random.Random
    ) -> tuple[int, str]:
        """Start a command that has at least two units to do, and send it a signal; gives how it ended, and when that was.

        early: at a random moment before the first unit; else a random moment after a random one that is not the last.
        """
        before = finished(cwd / "out")
        process = self.server.start(argv, cwd)
        if early:
            time.sleep(moments.uniform(0, peace.before_first))
        else:
            wanted = moments.randrange(before + 1, peace.units)
            while finished(cwd / "out") < wanted and not self.server.has_ended():
                time.sleep(0.001)
            time.sleep(moments.uniform(0, peace.each))
        ended, after = self.server.kill(process, number), finished(cwd / "out")
        return ended, "after" if after >= peace.units else "midst" if after > before else "before"

    def new_folder(self, verb: str) -> Path:
        cwd = self.folder / verb.replace(" ", "-") / str(len(list(self.folder.glob(f"{verb.replace(' ', '-')}/*"))))
        cwd.mkdir(parents=True)
        return cwd


COLUMNS = {"KILL": "SIGKILL", "TERM": "SIGTERM", "INT": "SIGINT", "midst": "of these in the midst of work"} | {
    "before": "before this start had finished anything",
    "after": "after the last picture",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Bench]:
    temporary = Path(tempfile.gettempdir())
    there = set(temporary.glob("tracedge-ray-*"))
    server = CommandServer()
    made = Bench(server, tmp_path_factory.mktemp("kills"))
    yield made
    server.close()
    for left in set(temporary.glob("tracedge-ray-*")) - there:  # by a killed command, as the documents say
        shutil.rmtree(left, ignore_errors=True)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n| command | {' | '.join(COLUMNS.values())} |\n| --- {'| --- ' * len(COLUMNS)}|")
        for verb, counts in made.counts.items():
            print(f"| {verb} | {' | '.join(str(counts[name]) for name in COLUMNS)} |")


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
    """Kill a command in one folder up to three times, then let it end; so in fresh folders until all signals were sent."""
    peace, moments = bench.in_peace(verb, argv), random.Random(verb)
    assert peace.units >= 3, "there must be a midst"
    counts = bench.counts[verb] = Counter()
    each = KILLS // 6
    left = [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGKILL, True)] * each
    left += [(signal.SIGKILL, False)] * (KILLS - len(left))
    moments.shuffle(left)
    for _ in range(10 * KILLS):
        if not left:
            break
        cwd = bench.new_folder(verb)
        folder = kind(cwd / "out", peace.output)
        for _ in range(3):
            if not left or finished(cwd / "out") > peace.units - 2:
                break
            number, early = left[-1]
            ended, moment = bench.killed(argv, cwd, number, early, peace, moments)
            folder.look(cwd)
            if ended == 0:  # the signal came too late
                break
            if early or moment == "midst":  # else it is sent once more
                left.pop()
            assert ended in ENDS[number], (number, ended, (cwd / "said.txt").read_text()[-2000:])
            counts.update([number.name.removeprefix("SIG"), moment])
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
        assert not [entry for entry in entries if entry["status"] != "ok"]
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
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(claims.PREFIX)]
    return {str(path.relative_to(folder)) for path in files if not is_temporary(path.name)}


def finished(output: Path) -> int:
    """How much of the work is: lines of a manifest, steps of a training, counts of an evaluation (which its report ends)."""
    try:
        if (output / "report.json").exists():
            return LAST
        for journal, above in (("manifest.jsonl", 0), ("report.json.journal", 1)):
            if (output / journal).exists():
                return max(0, (output / journal).read_bytes().count(b"\n") - above)
        with safetensors.safe_open(output / "checkpoint.safetensors", "np") as checkpoint:
            return int(checkpoint.metadata()["step"])
    except FileNotFoundError:
        return 0


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
