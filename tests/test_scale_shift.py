"""Who does which image when workers die: without Ray, with workers that die when they are told to."""

import copy
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedge.errors import RunError
from tracedge.jobs import Job
from tracedge.maps import settings_hash
from tracedge.outcomes import OutputFolder
from tracedge.scale import worker
from tracedge.scale.engine import _Shift
from tracedge.scale.shares import Share
from tracedge.scale.worker import MOST, Orders
from tracedge.sources import LocalFiles
from tracedge.work import Steps

SUFFIX = ".txt"


class Death(BaseException):
    """Of a worker, in this process."""


@dataclass
class Asked:
    """A question to a worker, which it works on when it is answered."""

    method: object
    arguments: tuple

    def __hash__(self):
        return id(self)


@dataclass
class Method:
    call: object

    def remote(self, *arguments):
        return Asked(self.call, copy.deepcopy(arguments))


class FakeWorker:
    """An actor that is an object."""

    def __init__(self, steps):
        self._steps = steps
        self.provenance, self.begin, self.go_on = Method(self._provenance), Method(self._begin), Method(self._go_on)

    def _provenance(self):
        return {}

    def _begin(self, share, orders):
        self._messages = worker._messages(share, self._steps, orders)
        return self._go_on()

    def _go_on(self):
        return next(self._messages)


@dataclass
class FakeCrew:
    """Starts them, and answers in the order that `order` draws."""

    steps: Steps
    order: object
    living: list = field(default_factory=list)
    messages: int = 0

    def start(self):
        self.living.append(FakeWorker(self.steps))
        return self.living[-1]

    def first_answer(self, asked):
        return self.order(asked)

    def answer(self, asked):
        self.messages += 1
        try:
            return asked.method(*asked.arguments)
        except Death:
            return None

    def opened(self, provenance):
        return provenance

    def dismiss(self, worker):
        self.living.remove(worker)


@dataclass
class Bench:
    """A run of `count` images in shares of `each`."""

    folder: Path
    count: int
    each: int
    batch_size: int = 1
    deadly: frozenset = frozenset()
    dies: object = lambda: False  # by chance
    order: object = lambda asked: asked[0]
    predicted: list = field(default_factory=list)

    def run(self, workers=2, known=None):
        jobs = [Job(self.folder / f"{n}.png", PurePosixPath(str(n))) for n in range(self.count)]
        for job in jobs:
            job.source.write_text(job.file)
        parts = [LocalFiles(tuple(jobs[n : n + self.each])) for n in range(0, self.count, self.each)]
        out = OutputFolder(self.folder / "out", (SUFFIX,), settings_hash({}))
        self.crew = FakeCrew(Steps(lambda task: int(task.source.stem), self._predict, self._write), self.order)
        shares = [Share(part, known or {}) for part in parts]
        orders = Orders(out, self.folder / "claim", self.batch_size)
        return list(_Shift(self.crew, shares, orders).outcomes(self.crew.start(), workers))

    def _predict(self, values):
        if self.deadly & set(values) or self.dies():
            raise Death
        self.predicted += values
        return values

    def _write(self, value, paths):
        paths[SUFFIX].write_text(str(value))


@pytest.fixture(autouse=True)
def no_moments(monkeypatch):
    """Messages are by number alone, and files are not flushed."""
    monkeypatch.setattr(worker, "MOMENT", 1e9)
    monkeypatch.setattr("tracedge.atomic._flush", lambda path: None)
    monkeypatch.setattr("tracedge.atomic._flush_folder", lambda path: None)


@given(data=st.data())
def test_each_image_is_told_once_and_only_deadly_ones_fail(data, tmp_path_factory):
    count = data.draw(st.integers(1, 30))
    deadly = frozenset(data.draw(st.sets(st.integers(0, count - 1), max_size=3)))
    chances = data.draw(st.sets(st.integers(0, 60), max_size=4))  # the predictions in which a worker dies for no reason
    calls = iter(range(10**6))
    bench = Bench(
        tmp_path_factory.mktemp("bench"),
        count,
        each=data.draw(st.integers(1, 12)),
        batch_size=data.draw(st.integers(1, 4)),
        deadly=deadly,
        dies=lambda: (
            next(calls) in chances and not any(abs(call - other) < 9 for call in chances for other in chances - {call})
        ),
        order=lambda asked: asked[data.draw(st.integers(0, len(asked) - 1))],
    )
    told = bench.run(workers=data.draw(st.integers(1, 4)))
    assert Counter(str(outcome.task.relative) for outcome in told) == {str(n): 1 for n in range(count)}
    assert {int(str(outcome.task.relative)) for outcome in told if outcome.status == "failed"} == deadly
    assert {path.stem for path in bench.folder.glob("out/*")} == {str(n) for n in range(count)} - {
        str(n) for n in deadly
    }


def test_what_is_told_is_not_done_again(tmp_path):
    count = 3 * MOST
    bench = Bench(tmp_path, count, each=count, deadly=frozenset({2 * MOST + 5}))
    assert len(bench.run(workers=1)) == count
    again = {value for value, times in Counter(bench.predicted).items() if times > 1}
    assert again == set(range(2 * MOST, 2 * MOST + 5))


def test_after_a_death_only_so_many_images_are_taken_up_alone_as_may_have_been_in_hand(tmp_path):
    count = 6 * MOST
    bench = Bench(tmp_path, count, each=count, deadly=frozenset({0}))
    bench.run(workers=1)
    # A death; twice a new worker, its announcement and its death; a new one, those taken up alone, and the rest.
    assert bench.crew.messages <= 1 + 2 * 3 + 1 + 2 * (MOST + 1) + count // MOST


def test_images_that_are_done_come_many_in_a_message(tmp_path):
    bench = Bench(tmp_path, 500, each=500)
    entries = [outcome.line for outcome in bench.run(workers=1)]
    known = {entry["output"]: entry for entry in map(json.loads, entries)}
    assert {outcome.status for outcome in bench.run(workers=1, known=known)} == {"skipped"}
    assert bench.crew.messages <= 500 // MOST + 2


def test_a_share_that_kills_whoever_reads_it_is_named_when_the_others_are_done(tmp_path, monkeypatch):
    def torn(self):
        yield from self.jobs[:2]
        if self.jobs[0].file == "4.png":
            raise Death

    monkeypatch.setattr(LocalFiles, "tasks", torn)
    bench = Bench(tmp_path, 12, each=4)
    told = []
    with pytest.raises(RunError, match="workers died 3 times while they read"):
        told += bench.run(workers=1)
    assert sorted(bench.predicted)[-2:] == [8, 9], "the share after it is done"
    assert set(bench.predicted) == {0, 1, 4, 5, 8, 9}


def test_a_worker_whose_results_would_differ_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeWorker, "_provenance", lambda self: {"dtype": "bfloat16"})
    bench = Bench(tmp_path, 4, each=1, order=lambda asked: asked[-1])
    with pytest.raises(RunError, match="workers differ"):
        bench.run()


def test_the_run_ends_when_all_is_done_and_not_when_the_last_worker_has_loaded(tmp_path):
    def busy_ones_first(asked):
        return next(each for each in asked if each.method.__name__ != "_provenance")

    assert len(Bench(tmp_path, 4, each=1, order=busy_ones_first).run(workers=4)) == 4


def test_one_death_with_an_image_in_hand_may_be_chance(tmp_path):
    calls = iter(range(100))
    bench = Bench(tmp_path, 8, each=8, dies=lambda: next(calls) in (5, 7))  # once among others, once alone
    assert {outcome.status for outcome in bench.run(workers=1)} == {"ok"}
    assert len(bench.predicted) == 8 + 5
