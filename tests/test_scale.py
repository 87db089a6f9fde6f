"""The work on a real cluster of several processes: the same files as one process, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fake_runs import lines, photo
from fake_work import SUFFIX, MeansWork
from test_sources import png, shard, table
from tracedge.cli import app
from tracedge.errors import MissingExtraError, RunError, SettingsError
from tracedge.runs import FolderRun, RunSummary
from tracedge.scale import Cluster, RayEngine
from tracedge.scale.cluster import joined, pool, short_folder
from tracedge.scale.shares import shared_out
from tracedge.sources import LocalFiles, find_parts
from tracedge.sources.shards import Shard
from tracedge.work import Engine, Local


def run(work: MeansWork, inputs: list[Path], output: Path, engine: Engine, **options: object) -> RunSummary:
    batch_size = options.pop("batch_size", 1)
    parts = find_parts([str(path) for path in inputs], output=output, files_at_once=options.pop("files_at_once", 4))
    with engine as by, FolderRun(output, by.open(work), (SUFFIX,), **options) as folder:
        return folder.process_parts(parts, by, batch_size=batch_size)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def outputs(folder: Path) -> dict[str, bytes]:
    """All that a run leaves, but for the order of the manifest and how long each image took."""
    found = contents(folder)
    said = [{key: value for key, value in line.items() if key != "seconds"} for line in lines(folder)]
    found["manifest.jsonl"] = json.dumps(sorted(said, key=lambda line: line["file"])).encode()
    return found


def grey(folder: Path, count: int) -> Path:
    for value in range(count):
        photo(folder / f"{value:03}.png", value)
    return folder


@pytest.fixture(scope="module")
def cluster():
    """Two processors, for all tests of this file."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", here)  # of the workers
        with joined(Cluster(workers=2)):
            yield ray


def two_workers() -> RayEngine:
    return RayEngine(Cluster(workers=2))


@pytest.mark.slow
def test_two_workers_do_what_one_process_does(cluster, tmp_path):
    photos, work = grey(tmp_path / "photos", 30), MeansWork(tmp_path / "log", seconds=0.05)
    (photos / "bad.png").write_text("no image")
    inputs = [photos, shard(tmp_path / "s" / "a.tar", {f"{n}.png": png(n) for n in range(5)} | {"x.png": b"no"})]
    inputs += [table(tmp_path / "s" / "b.parquet", {"image": [png(n) for n in range(6)]}, row_group_size=2)]
    (torn := shard(tmp_path / "s" / "c.tar", {f"{n}.png": png(n) for n in range(5)})).write_bytes(
        torn.read_bytes()[:2600]
    )
    alone = run(work, [*inputs, torn], tmp_path / "local", Local())
    (tmp_path / "log").unlink()
    by_two = run(work, [*inputs, torn], tmp_path / "ray", two_workers())
    assert (by_two.done, by_two.skipped) == (alone.done, alone.skipped) == (30 + 5 + 6 + 2, 0)
    assert sorted(by_two.failed) == sorted(alone.failed)
    assert len(alone.failed) == 3
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "local")
    workers = {line.split()[0] for line in (tmp_path / "log").read_text().splitlines()}
    assert len(workers) == 2 and str(os.getpid()) not in workers


@pytest.mark.slow
def test_the_images_of_a_worker_that_dies_are_done_again_and_told_once(cluster, tmp_path):
    photos, log = grey(tmp_path / "photos", 24), tmp_path / "log"
    summary = run(MeansWork(log, fatal=(2, 13), seconds=0.05), [photos], tmp_path / "out", two_workers())
    assert (summary.done, summary.failed) == (24, ())
    assert {path.name for path in tmp_path.glob("killed-*")} == {"killed-2", "killed-13"}
    assert sorted(line["file"] for line in lines(tmp_path / "out")) == [f"{n:03}.png" for n in range(24)]
    done = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert sorted(set(done)) == list(range(24))
    again = {value for value in done if done.count(value) > 1}
    assert again <= {0, 1, 12}, "only what the dead had in hand is done again"
    assert not list((tmp_path / "out").glob(".tracedge-*"))


@pytest.mark.slow
def test_images_that_kill_each_worker_fail_and_all_others_are_done(cluster, tmp_path):
    photos, log = grey(tmp_path / "photos", 12), tmp_path / "log"
    members = shard(tmp_path / "a.tar", {f"{n}.png": png(n + 50) for n in range(6)})
    work = MeansWork(log, deadly=(3, 4, 52))
    summary = run(work, [photos, members], tmp_path / "out", two_workers(), files_at_once=6)
    assert (summary.done, summary.exit_code) == (15, 1)
    assert sorted(Path(name).name for name, _ in summary.failed) == ["003.png", "004.png", "2.png"]
    assert all(error.startswith("WorkerDied: ") for _, error in summary.failed)
    assert sorted(line["output"] for line in lines(tmp_path / "out") if line["status"] == "failed") == [
        "003",
        "004",
        "a/2",
    ]
    mended = run(MeansWork(log), [photos, members], tmp_path / "out", two_workers())  # with more memory, say
    assert (mended.done, mended.skipped, mended.exit_code) == (3, 15, 0)


@pytest.mark.slow
def test_workers_that_die_as_they_load_the_model_end_the_run(cluster, tmp_path):
    with pytest.raises(RunError, match="3 workers died as they loaded the model"):
        run(
            MeansWork(tmp_path / "log", stillborn=True), [grey(tmp_path / "photos", 2)], tmp_path / "out", two_workers()
        )


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_what_was_done_before_is_told(cluster, tmp_path):
    photos = grey(tmp_path / "photos", 6)
    with pytest.raises(OSError, match="No space left"):
        run(MeansWork(tmp_path / "log", no_room=(4,)), [photos], tmp_path / "out", two_workers(), files_at_once=6)
    assert [line["output"] for line in lines(tmp_path / "out")] == ["000", "001", "002", "003"]
    assert not list((tmp_path / "out").glob(".tracedge-*[!k]"))


@pytest.mark.slow
def test_a_run_goes_on_with_the_other_engine(cluster, tmp_path):
    photos, log = grey(tmp_path / "photos", 12), tmp_path / "log"
    first = [photos / f"{n:03}.png" for n in range(5)]
    members = shard(tmp_path / "a.tar", {f"{n}.png": png(n + 50) for n in range(3)})
    run(MeansWork(log), [*first, members], tmp_path / "out", Local())
    (tmp_path / "out" / f"a/1{SUFFIX}").unlink()
    log.unlink()
    summary = run(MeansWork(log), [photos, members], tmp_path / "out", two_workers())
    assert (summary.done, summary.skipped) == (7 + 1, 5 + 2)
    assert sorted(int(line.split()[1]) for line in log.read_text().splitlines()) == [*range(5, 12), 51]
    assert run(MeansWork(log), [photos, members], tmp_path / "out", Local()).skipped == 15
    assert run(MeansWork(log), [photos, members], tmp_path / "out", two_workers()).skipped == 15


@pytest.mark.slow
def test_what_failed_for_good_is_not_tried_again_by_workers(cluster, tmp_path):
    photos, log = grey(tmp_path / "photos", 2), tmp_path / "log"
    (photos / "bad.png").write_text("no image")
    run(MeansWork(log), [photos], tmp_path / "out", Local())
    summary = run(MeansWork(log), [photos], tmp_path / "out", two_workers())
    assert (len(summary.failed_before), summary.failed, summary.exit_code) == (1, (), 1)
    assert len(run(MeansWork(log), [photos], tmp_path / "out", two_workers(), retry_failed=True).failed) == 1


@pytest.mark.slow
def test_a_batch_without_memory_is_halved_in_the_worker(cluster, tmp_path):
    photos, log = grey(tmp_path / "photos", 8), tmp_path / "log"
    work = MeansWork(log, full=tuple(range(8)))
    assert run(work, [photos], tmp_path / "out", two_workers(), batch_size=4).done == 8
    assert len(log.read_text().splitlines()) == 8


@pytest.mark.slow
def test_what_a_worker_refuses_is_said_as_in_one_process(cluster, tmp_path):
    photos, log = grey(tmp_path / "photos", 2), tmp_path / "log"
    with pytest.raises(SettingsError, match=r"^there is no such model"):
        run(MeansWork(log, broken=True), [photos], tmp_path / "out", two_workers())
    many = grey(tmp_path / "many", 60)  # so many that the second worker is there before the first has done them
    with pytest.raises(RunError, match="workers differ"):
        run(MeansWork(log, says="pid", seconds=0.5), [many], tmp_path / "differ", two_workers(), files_at_once=1)
    run(MeansWork(log), [shard(tmp_path / "1" / "a.tar", {"x.png": png(1)})], tmp_path / "out", Local())
    with pytest.raises(RunError, match=r"holds the results of a/x\.png, which those of .*a\.tar/x\.bmp would replace"):
        run(MeansWork(log), [shard(tmp_path / "2" / "a.tar", {"x.bmp": png(1)})], tmp_path / "out", two_workers())
    with pytest.raises(RunError, match="results of other settings"):
        run(MeansWork(log, says="other"), [photos], tmp_path / "out", two_workers())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a worker has: with more threads, sums are taken in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["edges", "segment", "teach"])
def test_each_verb_writes_the_same_bytes_by_ray(cluster, tmp_path, verb, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)  # workers find relative names from here
    invoke("scenes", "--seed", 7, "--count", 4, "--size", 64, "-o", "scenes")
    size = ("--size", 64) if verb != "teach" else ("--size", 64, "--px", 64, "--timestep", 100)
    invoke(verb, "scenes/images", "-o", "local", *size)
    invoke(verb, "scenes/images", "-o", "ray", *size, "--engine", "ray", "--workers", 2)
    local, by_ray = outputs(tmp_path / "local"), outputs(tmp_path / "ray")
    assert sum(name.endswith(".png") for name in local) >= 4
    assert by_ray == local


DRIVER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from fake_work import SUFFIX, MeansWork
    from tracedge.runs import FolderRun
    from tracedge.scale import Cluster, RayEngine
    from tracedge.sources import find_parts

    photos, output, log, seconds, opening = sys.argv[1:]
    with RayEngine(Cluster(workers=2)) as engine:
        settings = engine.open(MeansWork(Path(log), seconds=float(seconds), opening=float(opening)))
        with FolderRun(output, settings, (SUFFIX,)) as run:
            run.process_parts(find_parts([photos], files_at_once=4), engine)
""")


def started_driver(
    photos: Path, output: Path, log: Path, seconds: float, opening: float = 0.0, **environment: str
) -> subprocess.Popen:
    """The command, with so many seconds for each image, and for loading the model."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(photos), str(output), str(log), str(seconds), str(opening)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def ended_driver(photos: Path, output: Path, log: Path, number: int, seconds: float = 0.1) -> int:
    """Start the command, send it a signal when it has finished some images; how it ended."""
    process = started_driver(photos, output, log, seconds)
    manifest = output / "manifest.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (manifest.exists() and manifest.read_bytes().count(b"\n") > 3):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    return process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_driver_that_is_ended_leaves_a_folder_that_another_engine_finishes(tmp_path, number, code):
    pytest.importorskip("ray")
    photos = grey(tmp_path / "photos", 60)
    output, log = tmp_path / "out", tmp_path / "log"
    assert ended_driver(photos, output, log, number) == code
    deadline = time.monotonic() + 60
    workers = {int(line.split()[0]) for line in log.read_text().splitlines()}
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.2)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers), "workers outlive their driver"
    before = {line["output"] for line in lines(output)}
    assert 3 < len(before) < 60
    log.unlink()
    summary = run(MeansWork(log), [photos], output, Local())
    assert (summary.done, summary.skipped) == (60 - len(before), len(before))
    assert sorted(line["output"] for line in lines(output)) == [f"{n:03}" for n in range(60)]
    assert all((output / f"{n:03}{SUFFIX}").read_text() == f"{n} whole" for n in range(60))
    assert not list(output.glob(".tracedge-*"))


@pytest.mark.slow
def test_a_run_that_follows_a_killed_driver_at_once_is_not_written_over_by_its_workers(tmp_path):
    pytest.importorskip("ray")
    photos, output, log = grey(tmp_path / "photos", 60), tmp_path / "out", tmp_path / "log"
    assert ended_driver(photos, output, log, signal.SIGKILL, seconds=0.02) == -signal.SIGKILL
    work = MeansWork(tmp_path / "second", writes="anew", says="other")
    assert run(work, [photos], output, Local(), force=True).done == 60
    deadline = time.monotonic() + 60
    workers = {int(line.split()[0]) for line in log.read_text().splitlines()}
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.2)
    assert {(output / f"{n:03}{SUFFIX}").read_text() for n in range(60)} == {f"{n} anew" for n in range(60)}
    assert not list(output.glob(".tracedge-workers-*"))


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files whose name leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begun", "after"), [("tracedge-ray-*", 0.0), ("tracedge-ray-*/session_*/sockets/*", 0.5), ("opening", 0.2)]
)
def test_a_driver_that_is_ended_as_it_starts_leaves_nothing_behind(tmp_path, short, begun, after):
    pytest.importorskip("ray")
    photos = grey(tmp_path / "photos", 2)
    process = started_driver(photos, tmp_path / "out", short / "log", 0, opening=30.0, TMPDIR=str(short))
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not list(short.glob(begun)):
        time.sleep(0.01)
    time.sleep(after)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert not list(short.glob("tracedge-ray-*"))


def test_the_files_of_a_cluster_have_short_names_though_the_usual_place_has_a_long_one(tmp_path, short, monkeypatch):
    for usual, place in ((short, short), (tmp_path, Path("/tmp"))):
        monkeypatch.setattr(tempfile, "tempdir", str(usual))
        with short_folder() as folder:
            assert Path(folder).is_dir() and Path(folder).parent == place
        assert not Path(folder).exists()


def test_shares_hold_the_entries_of_their_own_images(tmp_path):
    files = LocalFiles(tuple(task for part in find_parts([grey(tmp_path, 2)]) for task in part.tasks()))
    shards = [Shard("a.tar", Path("a")), Shard("b.tar", Path("sub/b"))]
    known = {name: {"output": name} for name in ("000", "a/x", "a/deep/y", "ab", "sub/b/z", "sub/c", "a")}
    shares = [set(share.known) for share in shared_out([files, *shards], known)]
    assert shares == [{"000"}, {"a", "a/x", "a/deep/y"}, {"sub/b/z"}]


@pytest.mark.parametrize(
    ("cluster_of", "resources", "expected"),
    [
        (Cluster(), {"CPU": 8}, (8, {"num_cpus": 1, "num_gpus": 0})),
        (Cluster(threads=4), {"CPU": 10}, (2, {"num_cpus": 4, "num_gpus": 0})),
        (Cluster(), {"CPU": 64, "GPU": 4}, (4, {"num_cpus": 1, "num_gpus": 1})),
        (Cluster(gpus_per_worker=0.25), {"CPU": 64, "GPU": 2}, (8, {"num_cpus": 1, "num_gpus": 0.25})),
        (Cluster(gpus_per_worker=0), {"CPU": 4, "GPU": 2}, (4, {"num_cpus": 1, "num_gpus": 0})),
        (Cluster(), {"CPU": 3, "GPU": 4}, (3, {"num_cpus": 1, "num_gpus": 1})),
        (Cluster(workers=3), {"CPU": 8}, (3, {"num_cpus": 1, "num_gpus": 0})),
    ],
)
def test_there_is_a_worker_for_each_gpu_or_else_core(cluster_of, resources, expected):
    assert pool(cluster_of, resources) == expected


def test_more_workers_than_the_cluster_has_room_for_are_refused():
    with pytest.raises(SettingsError, match="too few for 3 workers"):
        pool(Cluster(workers=3), {"CPU": 2})
    with pytest.raises(SettingsError, match="has 2 cores and 4 GPUs, too few for 3 workers"):
        pool(Cluster(workers=3), {"CPU": 2, "GPU": 4})
    with pytest.raises(SettingsError, match="too few for 1 workers with 1 GPUs"):
        pool(Cluster(gpus_per_worker=1), {"CPU": 2})


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"gpus_per_worker": -1}, {"threads": 0}])
def test_clusters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Cluster(**wrong)


def test_without_ray_the_pip_line_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    photo(tmp_path / "a.png")
    with pytest.raises(MissingExtraError, match=r"pip install 'tracedge\[ray\]'"), RayEngine():
        pass


ADDRESSES = textwrap.dedent("""
    from tracedge.errors import SettingsError
    from tracedge.scale import Cluster, RayEngine

    for address in ("nonsense", "127.0.0.1:1", "ray://[::1]:1"):
        try:
            RayEngine(Cluster(address=address)).__enter__()
        except SettingsError as error:
            print(error)
""")


def test_a_cluster_that_is_not_there_is_said_soon():
    pytest.importorskip("ray")
    said = subprocess.run([sys.executable, "-c", ADDRESSES], capture_output=True, text=True, check=True, timeout=60)
    for line, address in zip(said.stdout.splitlines(), ("nonsense", "127.0.0.1:1", "ray://[::1]:1"), strict=True):
        assert line.startswith(f"there is no cluster to join at {address}: ")
    assert not said.stderr


def test_options_of_a_cluster_need_one(tmp_path):
    result = CliRunner().invoke(app, ["edges", "x.png", "-o", str(tmp_path / "out"), "--workers", "2"])
    assert isinstance(result.exception, SettingsError)
    assert "--workers is for a cluster: add --engine ray" in str(result.exception)
    assert not (tmp_path / "out").exists()
