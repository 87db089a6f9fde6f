"""A folder run: whole outputs, a line for each image, and bad images that stop nobody."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from fake_runs import SUFFIX, Means, five_photos, lines, photo, run, visible, write
from tracedge.errors import RunError, SettingsError
from tracedge.images import load_image
from tracedge.locking import exclusive
from tracedge.runs import FolderRun, Job, find_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return five_photos(tmp_path / "photos")


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_writes_every_output_and_one_line_for_each(photos, tmp_path):
    summary = run(photos, tmp_path / "out", batch_size=2)
    assert (summary.done, summary.skipped, summary.failed, summary.exit_code) == (5, 0, (), 0)
    assert summary.seconds > 0
    assert (tmp_path / "out" / "sub" / "deep" / f"c{SUFFIX}").read_text() == "30.0"
    assert [line["file"] for line in lines(tmp_path / "out")] == [
        "a.png",
        "b.png",
        "sub/a.png",
        "sub/deep/c.png",
        "z.png",
    ]
    assert visible(tmp_path / "out") == sorted(
        [".tracedge.lock", "manifest.jsonl", "settings.json"]
        + [f"{stem}{SUFFIX}" for stem in ("a", "b", "sub/a", "sub/deep/c", "z")]
    )


def test_a_line_says_what_became_of_the_image(photos, tmp_path):
    run(photos, tmp_path / "out")
    text = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[1]
    line = json.loads(text)
    assert list(line) == sorted(line)
    assert line.pop("seconds") >= 0
    assert len(line.pop("content_hash")) == 64
    assert len(line.pop("settings_hash")) == 16
    assert line == {
        "file": "b.png",
        "output": "b",
        "status": "ok",
        "error": None,
        "mean": 10.0,
        "suffixes": [SUFFIX],
    }


def test_the_settings_are_kept_beside_the_results(photos, tmp_path):
    run(photos, tmp_path / "out", settings={"px": 512, "model": "mini"})
    assert json.loads((tmp_path / "out" / "settings.json").read_text()) == {"px": 512, "model": "mini"}


def test_batches_are_formed_in_order(photos, tmp_path):
    predict = Means()
    run(photos, tmp_path / "out", predict, batch_size=2)
    assert predict.batches == [[0, 10], [20, 30], [40]]


def test_progress_is_told_once_for_each_image(photos, tmp_path):
    (photos / "b.png").write_text("broken")
    run(photos, tmp_path / "out", settings={})
    (photos / "a.png").write_text("broken too")
    told = []
    run(
        photos,
        tmp_path / "out",
        settings={},
        on_progress=lambda job, status, error: told.append((job.file, status, error and error.split(":")[0])),
    )
    assert told == [
        ("a.png", "failed", "ImageError"),
        ("b.png", "failed", "ImageError"),
        ("sub/a.png", "skipped", None),
        ("sub/deep/c.png", "skipped", None),
        ("z.png", "skipped", None),
    ]


def test_fields_of_numpy_are_written_as_numbers_and_cannot_replace_our_own(photos, tmp_path):
    def write_more(result: float, paths: dict[str, Path]) -> dict[str, object]:
        write(result, paths)
        return {"timestep": np.float32(200), "count": np.int64(3), "status": "failed", "file": "other"}

    run(photos, tmp_path / "out", write=write_more)
    first = lines(tmp_path / "out")[0]
    assert (first["timestep"], first["count"], first["status"], first["file"]) == (200.0, 3, "ok", "a.png")


def test_several_outputs_appear_together(photos, tmp_path):
    def write_two(result: float, paths: dict[str, Path]) -> None:
        assert set(paths) == {".txt", ".json"}
        assert {path.parent for path in paths.values()} == {tmp_path / "out"}
        paths[".txt"].write_text("x")
        if result < 5:
            raise ValueError("second output")
        paths[".json"].write_text("{}")

    with FolderRun(tmp_path / "out", {}, (".txt", ".json")) as folder:
        summary = folder.process(find_images([photos / "a.png", photos / "b.png"]), load_image, Means(), write_two)
    assert summary.done == 1
    assert [name for name in visible(tmp_path / "out") if name[0] in "ab"] == ["b.json", "b.txt"]


def test_an_output_may_stand_in_a_folder_of_its_own_and_is_kept_account_of(photos, tmp_path):
    def write_label(result: float, paths: dict[str, Path]) -> None:
        paths["labels/.txt"].write_text(str(result))

    def again(settings: dict[str, object]) -> tuple[int, int]:
        with FolderRun(tmp_path / "out", settings, ("labels/.txt",), force=True) as folder:
            summary = folder.process(find_images([photos]), load_image, Means(), write_label)
            assert len(folder.finished(("labels/.txt",))) == 5
        return summary.done, summary.skipped

    assert again({}) == (5, 0)
    assert (tmp_path / "out" / "labels" / "sub" / "deep" / "c.txt").read_text() == "30.0"
    (tmp_path / "out" / "labels" / "a.txt").unlink()
    assert again({}) == (1, 4)
    run(photos, tmp_path / "out", settings={"px": 1}, force=True)
    assert not list((tmp_path / "out" / "labels").rglob("*.txt"))  # of other settings: replaced


# --- bad images, bad batches ------------------------------------------------------------------------------------------


def test_a_broken_image_is_recorded_and_the_run_goes_on(photos, tmp_path):
    (photos / "b.png").write_text("broken")
    summary = run(photos, tmp_path / "out", batch_size=3)
    assert summary.done == 4
    assert summary.exit_code == 1
    [(file, error)] = summary.failed
    assert file == str(photos / "b.png")
    assert error.startswith("ImageError: ")
    [line] = [line for line in lines(tmp_path / "out") if line["status"] == "failed"]
    assert (line["file"], line["error"]) == ("b.png", error)
    assert not (tmp_path / "out" / f"b{SUFFIX}").exists()


def test_an_image_that_went_away_is_recorded(photos, tmp_path):
    jobs = find_images([photos])
    (photos / "b.png").unlink()
    with FolderRun(tmp_path / "out", {}, (SUFFIX,)) as folder:
        summary = folder.process(jobs, load_image, Means(), write)
    assert summary.done == 4
    assert "does not exist" in summary.failed[0][1]
    assert [line["content_hash"] for line in lines(tmp_path / "out") if line["status"] == "failed"] == [None]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_recorded_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with FolderRun(tmp_path / "out", {}, (SUFFIX,)) as folder:
        summary = folder.process(find_images([tmp_path / "a.png"]), load_image, Means(), write)
    assert "is not a regular file" in summary.failed[0][1]


def test_one_bad_image_does_not_take_its_batch_down(photos, tmp_path):
    def predict(images: list[np.ndarray]) -> list[float]:
        if any(image.mean() == 20 for image in images):
            raise ZeroDivisionError("twenty\nis too much")
        return [float(image.mean()) for image in images]

    summary = run(photos, tmp_path / "out", predict, batch_size=5)
    assert summary.done == 4
    assert summary.failed == ((str(photos / "sub" / "a.png"), "ZeroDivisionError: twenty is too much"),)


def test_a_failed_write_is_recorded_and_leaves_nothing(photos, tmp_path):
    def write_badly(result: float, paths: dict[str, Path]) -> dict[str, object]:
        write(result, paths)
        if result == 10:
            raise OSError("no room")
        return {"nan": np.nan} if result == 20 else {}

    summary = run(photos, tmp_path / "out", write=write_badly)
    assert [error.split(":")[0] for _, error in summary.failed] == ["OSError", "ValueError"]
    assert summary.done == 3
    assert not (tmp_path / "out" / f"b{SUFFIX}").exists()
    assert not (tmp_path / "out" / "sub" / f"a{SUFFIX}").exists()
    assert not list((tmp_path / "out").rglob("*.tmp*"))


def test_an_output_that_was_not_written_is_a_failure(photos, tmp_path):
    summary = run(photos, tmp_path / "out", write=lambda result, paths: None)
    assert len(summary.failed) == 5
    assert all(error.startswith("FileNotFoundError") for _, error in summary.failed)


def test_a_wrong_number_of_results_is_a_failure(photos, tmp_path):
    summary = run(photos, tmp_path / "out", lambda images: [], batch_size=2)
    assert len(summary.failed) == 5
    assert "gave 0 results for 1 images" in summary.failed[0][1]


def test_the_smaller_batch_size_is_kept_for_the_rest_of_the_run(photos, tmp_path):
    class NoRoom(Means):
        def __call__(self, images: list[np.ndarray]) -> list[float]:
            results = super().__call__(images)
            if len(images) > 1:
                raise MemoryError
            return results

    predict = NoRoom()
    assert run(photos, tmp_path / "out", predict, batch_size=2).done == 5
    assert [len(batch) for batch in predict.batches] == [2, 1, 1, 1, 1, 1]


def test_the_signal_handler_is_put_back(photos, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def predict(images: list[np.ndarray]) -> list[float]:
        seen.append(signal.getsignal(signal.SIGTERM))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", predict)
    assert seen[0] is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupted_run_keeps_what_was_finished(photos, tmp_path):
    def predict(images: list[np.ndarray]) -> list[float]:
        if images[0].mean() == 30:
            raise KeyboardInterrupt
        return [float(image.mean()) for image in images]

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", predict)
    again = Means()
    summary = run(photos, tmp_path / "out", again)
    assert (summary.skipped, again.batches) == (3, [[30], [40]])


# --- what a run refuses -----------------------------------------------------------------------------------------------


def test_collisions_are_refused_before_any_work(tmp_path):
    jobs = [Job(photo(tmp_path / "a.png"), PurePosixPath("a")), Job(photo(tmp_path / "b.png"), PurePosixPath("A"))]
    predict = Means()
    with FolderRun(tmp_path / "out", {}, (SUFFIX,)) as folder, pytest.raises(RunError, match="would both be written"):
        folder.process(jobs, load_image, predict, write)
    assert predict.batches == []


def test_an_output_never_replaces_an_input(tmp_path):
    source = photo(tmp_path / "a.png")
    with FolderRun(tmp_path, {}, (".png",)) as folder, pytest.raises(RunError, match="would replace an input image"):
        folder.process(find_images([source]), load_image, Means(), write)


def test_a_link_in_the_output_folder_leads_nowhere(photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="a link leads there"):
        run(photos, tmp_path / "out")
    assert visible(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("outputs", [(), ".png", ("png",), ("/a.png",), (".",), ("./../a",)])
def test_outputs_that_are_no_suffixes_are_refused(tmp_path, outputs):
    with pytest.raises(SettingsError, match="outputs must be suffixes"):
        FolderRun(tmp_path, {}, outputs)


def test_a_batch_size_below_one_and_a_closed_run_are_refused(photos, tmp_path):
    with FolderRun(tmp_path / "out", {}, (SUFFIX,)) as folder, pytest.raises(SettingsError, match="batch_size"):
        folder.process(find_images([photos]), load_image, Means(), write, batch_size=0)
    with pytest.raises(RunError, match="is not open"):
        folder.process(find_images([photos]), load_image, Means(), write)


def test_two_runs_do_not_share_a_folder(tmp_path):
    first, second = FolderRun(tmp_path, {}, (SUFFIX,)), FolderRun(tmp_path, {}, (SUFFIX,))
    with first, pytest.raises(RunError, match=f"another run is writing to {tmp_path}"), second:
        pytest.fail("two runs hold one folder")
    with second:
        pass


def test_a_refused_run_gives_the_folder_back(photos, tmp_path):
    run(photos, tmp_path / "out")
    for _ in range(2):
        with pytest.raises(RunError, match="other settings"):
            run(photos, tmp_path / "out", settings={})


def test_without_flock_the_file_is_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("tracedge.locking.fcntl", None)
    with exclusive(tmp_path / "lock"):
        with pytest.raises(RunError, match=r"or remove .*lock if none is going on"), exclusive(tmp_path / "lock"):
            pass
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()


def test_only_our_own_leftovers_are_removed(tmp_path):
    for name in (".tracedge-0123456789abcdef.tmp.png", "sub/.tracedge-0123456789abcdef.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    kept = ["a.tmp", ".other.tmp", "inner/manifest.jsonl", "inner/.tracedge-0123456789abcdef.tmp"]
    for name in kept:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with FolderRun(tmp_path, {}, (SUFFIX,)):
        pass
    assert visible(tmp_path) == sorted([*kept, ".tracedge.lock", "manifest.jsonl", "settings.json"])


def test_importing_runs_needs_no_torch():
    code = "import sys, tracedge.runs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
