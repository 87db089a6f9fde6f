"""An evaluation that is killed goes on where it was, and its report is that of one that was not."""

import json
import tracemalloc
from functools import partial

import numpy as np
import pytest
from PIL import Image

from tracedge.datasets.fingerprint import fingerprint
from tracedge.datasets.labelled import open_labelled
from tracedge.errors import RunError
from tracedge.evaluation.edges import evaluate_edges
from tracedge.evaluation.instances import LabelledInstances, evaluate_instances, instances_json
from tracedge.evaluation.journal import Journal, journal_beside
from tracedge.instances import Instances
from tracedge.metrics.edges import EdgeProtocol, instance_boundaries

NAMES = ("a.png", "b.png", "c.png", "d.png")


def samples():
    for number, name in enumerate(NAMES):
        labels = np.zeros((40, 50), np.int32)
        labels[5:20, 5 : 20 + number] = 1
        labels[5:20, 20 + number : 40] = 2
        yield LabelledInstances(name, np.zeros((40, 50, 3), np.uint8), Instances.from_labels(labels), None, None)


def rolled(sample, by=2):
    return {
        "rolled": Instances(np.roll(sample.objects.masks, by, axis=2)),
        "as it is": Instances(sample.objects.masks, [0.5, 0.25]),
    }


def methods():
    return rolled


def killed_at(name, asked):
    def methods(sample):
        asked.append(sample.name)
        if sample.name == name:
            raise KeyboardInterrupt
        return rolled(sample)

    return lambda: methods


def test_instances_go_on_after_a_kill_and_the_report_is_the_same(tmp_path):
    whole = instances_json(evaluate_instances(samples(), methods, "set"), {})
    report, asked = tmp_path / "report.json", []
    with pytest.raises(KeyboardInterrupt), journal_beside(report, {"a": 1}) as journal:
        evaluate_instances(samples(), killed_at("c.png", asked), "set", journal=journal)
    with journal_beside(report, {"a": 1}) as journal:
        rows = evaluate_instances(samples(), killed_at(None, asked), "set", journal=journal)
    assert asked == ["a.png", "b.png", "c.png", "c.png", "d.png"]
    assert instances_json(rows, {}) == whole
    assert list(tmp_path.iterdir()) == []


def test_several_processes_give_the_same_report():
    alone, shared = (evaluate_instances(samples(), methods, "set", workers=workers) for workers in (1, 2))
    assert instances_json(shared, {}) == instances_json(alone, {})


class Labelled:
    """What `evaluate_edges` asks of a sample."""

    def __init__(self, sample):
        self.name, self.void, self.boundaries = sample.name, None, None
        self.image, self.labels = sample.image, sample.objects.to_labels().astype(np.int32)
        self.ignore = np.zeros(self.labels.shape, bool)
        self.fingerprint = fingerprint(self.image, self.labels)


def test_edges_go_on_after_a_kill_and_the_scores_are_the_same(tmp_path):
    dataset = [Labelled(sample) for sample in samples()]
    truth = {sample.labels.tobytes(): sample.labels for sample in dataset}
    asked = []

    def shifted(image, fail_at=None):
        asked.append(len(asked))
        if len(asked) == fail_at:
            raise KeyboardInterrupt
        labels = list(truth.values())[(len(asked) - 1) % 4]
        return np.roll(instance_boundaries(labels), 1, axis=0).astype(np.float32) * 0.7

    run = partial(evaluate_edges, dataset, protocol=EdgeProtocol(9), workers=1, truth="set")
    (whole,) = run({"shifted": shifted})
    asked.clear()
    with pytest.raises(KeyboardInterrupt), journal_beside(tmp_path / "r.json", {}) as journal:
        run({"shifted": partial(shifted, fail_at=3)}, journal=journal)
    asked.pop()
    with journal_beside(tmp_path / "r.json", {}) as journal:
        (row,) = run({"shifted": shifted}, journal=journal)
    assert len(asked) == 4
    assert {**vars(row), "milliseconds": 0} == {**vars(whole), "milliseconds": 0}
    assert 0 < row.ods <= 1


@pytest.mark.parametrize("changed", ["masks", "images"])
def test_edges_of_another_truth_or_photo_are_refused(tmp_path, changed):
    for number in range(2):
        labels = np.zeros((40, 60), np.uint8)
        labels[5:20, 5 : 25 + number] = 1
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(labels).save(tmp_path / folder / f"{number}.png")

    def run(fail):
        def predict(image):
            if fail and asked:
                raise KeyboardInterrupt
            asked.append(image)
            return np.zeros(image.shape[:2], np.float32)

        asked = []
        with journal_beside(tmp_path / "r.json", {}) as journal:
            evaluate_edges(
                open_labelled(tmp_path).edges(), {"none": predict}, EdgeProtocol(3), 1, journal=journal, truth="set"
            )
        return asked

    with pytest.raises(KeyboardInterrupt):
        run(fail=True)
    path = tmp_path / changed / "0.png"
    kept, moved = path.read_bytes(), np.roll(np.array(Image.open(path)), 20, axis=1)
    Image.fromarray(moved).save(path)
    with pytest.raises(RunError, match=r"0\.png of set is not what it was"):
        run(fail=False)
    path.write_bytes(kept)
    assert len(run(fail=False)) == 1


def test_counts_come_back_and_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "x.journal"
    journal = Journal(path, {"seed": 0})
    journal.put([1, 0.1], "set", "method", "image")
    journal.close()
    with path.open("ab") as stream:
        stream.write(b'{"key": ["set", "meth')
    again = Journal(path, {"seed": 0})
    assert list(again.items("set")) == [(("method", "image"), [1, 0.1])]
    assert again.get("set", "method", "other") is None
    again.close()
    assert len(path.read_bytes().splitlines()) == 2


def test_another_evaluation_and_another_file_are_refused(tmp_path):
    report = tmp_path / "report.json"
    with pytest.raises(KeyboardInterrupt), journal_beside(report, {"seed": 0}):
        raise KeyboardInterrupt
    with pytest.raises(RunError, match=r"other settings \(seed: 0, now 1\)"), journal_beside(report, {"seed": 1}):
        pass
    path = tmp_path / "report.json.journal"
    path.write_text(json.dumps([1]) + "\n")
    with pytest.raises(RunError, match="no journal"), journal_beside(report, {"seed": 0}):
        pass
    assert path.exists()


def test_counts_of_something_else_are_refused_and_those_of_the_same_are_not(tmp_path):
    path = tmp_path / "x.journal"
    journal = Journal(path, {})
    journal.put([1], "set", "image", of="a1")
    assert journal.get("set", "image", of="a1") == [1]
    journal.close()
    again = Journal(path, {})
    assert again.get("set", "image", of="a1") == [1]
    with pytest.raises(RunError, match="image of set is not what it was"):
        again.get("set", "image", of="b2")
    again.close()


@pytest.mark.parametrize(
    "line", [{"settings": {}}, {"key": "set", "counts": 1}, {"key": [[1]], "counts": 1}, {"key": []}]
)
def test_a_line_that_is_no_entry_makes_it_no_journal(tmp_path, line):
    path = tmp_path / "x.journal"
    Journal(path, {}).close()
    with path.open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    with pytest.raises(RunError, match="no journal"):
        Journal(path, {})


def test_counts_stay_on_the_disk(tmp_path):
    """Two hundred images of 200 kB each are 40 MB in the file, and not in memory."""
    path, counts = tmp_path / "x.journal", ["x" * 200_000]
    tracemalloc.start()
    journal = Journal(path, {})
    for number in range(200):
        journal.put(counts, "set", str(number))
    journal.close()
    again = Journal(path, {})
    assert sum(len(found[0]) for _, found in again.items("set")) == 40_000_000
    again.close()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


def test_an_error_leaves_the_journal_and_no_lock_where_there_is_no_flock(tmp_path, monkeypatch):
    monkeypatch.setattr("tracedge.locking.fcntl", None)
    with pytest.raises(ValueError), journal_beside(tmp_path / "r.json", {}) as journal:
        journal.put(1, "set", "image")
        raise ValueError
    assert [path.name for path in tmp_path.iterdir()] == ["r.json.journal"]
    with journal_beside(tmp_path / "r.json", {}) as journal:
        assert journal.get("set", "image") == 1
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_share_a_journal(tmp_path):
    report = tmp_path / "r.json"
    with journal_beside(report, {}), pytest.raises(RunError, match="another run"), journal_beside(report, {}):
        pass


def test_data_are_known_again_by_what_was_counted_on(tmp_path):
    def seen(name, entries):
        journal = Journal(tmp_path / name, {})
        for image, of in entries:
            for method in ("ours", "canny"):
                journal.put(1, "set", method, image, of=of)
        journal.put(1, "another", "ours", "a.png", of="ff")
        found = journal.seen({"set": {"images": 2}})
        journal.close()
        return found

    once = seen("1", [("a.png", "01"), ("b.png", "02")])
    assert once["set"]["images"] == 2
    assert seen("2", [("b.png", "02"), ("a.png", "01")]) == once
    assert seen("3", [("a.png", "01"), ("b.png", "03")]) != once
