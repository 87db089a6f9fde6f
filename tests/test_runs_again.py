"""The second run over a folder does what is left to do, and refuses to mix."""

import os
from pathlib import Path

import pytest

from fake_runs import SUFFIX, Means, five_photos, lines, photo, run, write
from tracedge.errors import RunError
from tracedge.images import load_image
from tracedge.runs import FolderRun, find_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return five_photos(tmp_path / "photos")


def test_what_is_done_is_not_done_again(photos, tmp_path):
    run(photos, tmp_path / "out")
    predict = Means()
    summary = run(photos, tmp_path / "out", predict)
    assert (summary.done, summary.skipped, predict.batches) == (0, 5, [])
    assert len(lines(tmp_path / "out")) == 5


def test_a_changed_image_is_done_again(photos, tmp_path):
    run(photos, tmp_path / "out")
    photo(photos / "b.png", 77)
    predict = Means()
    assert run(photos, tmp_path / "out", predict).skipped == 4
    assert predict.batches == [[77]]
    assert (tmp_path / "out" / f"b{SUFFIX}").read_text() == "77.0"


def test_an_image_that_was_only_touched_is_not_done_again(photos, tmp_path):
    run(photos, tmp_path / "out")
    os.utime(photos / "b.png", (1, 1))
    assert run(photos, tmp_path / "out").skipped == 5


def test_an_image_whose_output_is_gone_is_done_again(photos, tmp_path):
    run(photos, tmp_path / "out")
    (tmp_path / "out" / f"b{SUFFIX}").unlink()
    predict = Means()
    run(photos, tmp_path / "out", predict)
    assert predict.batches == [[10]]


def test_what_failed_is_tried_again_when_it_has_changed(photos, tmp_path):
    (photos / "b.png").write_text("broken")
    run(photos, tmp_path / "out")
    photo(photos / "b.png", 10)
    predict = Means()
    assert run(photos, tmp_path / "out", predict).exit_code == 0
    assert predict.batches == [[10]]


def test_what_failed_is_tried_again_though_an_older_output_stands(photos, tmp_path):
    run(photos, tmp_path / "out")
    (photos / "b.png").write_text("broken")
    for asked in (False, True):
        summary = run(photos, tmp_path / "out", retry_failed=asked)
        assert (summary.skipped, len(summary.failed)) == (4, 1)
    assert (tmp_path / "out" / f"b{SUFFIX}").exists()


def test_a_new_output_suffix_makes_images_be_done_again(photos, tmp_path):
    run(photos, tmp_path / "out")

    def write_both(result: float, paths: dict[str, Path]) -> None:
        for path in paths.values():
            path.write_text("x")

    with FolderRun(tmp_path / "out", {"px": 512}, (SUFFIX, ".npz")) as folder:
        assert folder.process(find_images([photos]), load_image, Means(), write_both).done == 5


def test_other_settings_are_refused_with_the_difference_and_the_way_out(photos, tmp_path):
    run(photos, tmp_path / "out")
    with pytest.raises(RunError, match=r"5 results of other settings \(px: 512 there, 1024 now\): .*--force"):
        run(photos, tmp_path / "out", settings={"px": 1024})
    assert run(photos, tmp_path / "out").skipped == 5


def test_force_replaces_the_results_of_other_settings(photos, tmp_path):
    run(photos, tmp_path / "out")
    assert run(photos, tmp_path / "out", settings={"px": 1024}, force=True).done == 5
    assert run(photos, tmp_path / "out", settings={"px": 1024}).skipped == 5
    with pytest.raises(RunError, match="other settings"):
        run(photos, tmp_path / "out")


def test_a_forced_run_over_a_part_leaves_a_mixed_folder_that_is_refused(photos, tmp_path):
    run(photos, tmp_path / "out")
    with FolderRun(tmp_path / "out", {"px": 1024}, (SUFFIX,), force=True) as folder:
        folder.process(find_images([photos / "a.png"]), load_image, Means(), write)
    for px, others in ((512, 1), (1024, 4)):
        with pytest.raises(RunError, match=f"{others} results of other settings"):
            run(photos, tmp_path / "out", settings={"px": px})


def test_failures_of_other_settings_do_not_stand_in_the_way(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("broken")
    assert run(tmp_path / "photos", tmp_path / "out").exit_code == 1
    assert run(tmp_path / "photos", tmp_path / "out", settings={"px": 1024}).exit_code == 1


def test_results_of_another_image_are_not_replaced_unasked(photos, tmp_path):
    run(photos, tmp_path / "out")
    photo(tmp_path / "more" / "b.bmp", 99)
    with pytest.raises(RunError, match=r"holds the results of b\.png, which those of .*b\.bmp would replace"):
        run(tmp_path / "more", tmp_path / "out")
    assert run(tmp_path / "more", tmp_path / "out", force=True).done == 1
    assert run(photos, tmp_path / "out", force=True).done == 1, "b.png lost its output, so it is not done"


def test_force_removes_what_only_the_older_settings_wrote(photos, tmp_path):
    def write_both(result: float, paths: dict[str, Path]) -> None:
        for path in paths.values():
            path.write_text("old")

    with FolderRun(tmp_path / "out", {"px": 512}, (SUFFIX, ".npz")) as folder:
        folder.process(find_images([photos]), load_image, Means(), write_both)
    (photos / "z.png").write_text("broken")
    assert run(photos, tmp_path / "out", settings={"px": 1024}, force=True).done == 4
    assert not list((tmp_path / "out").rglob("*.npz"))
    assert not (tmp_path / "out" / f"z{SUFFIX}").exists()


def test_an_output_folder_that_cannot_be_made_is_one_sentence(photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file cannot be made"):
        run(photos, tmp_path / "file")
