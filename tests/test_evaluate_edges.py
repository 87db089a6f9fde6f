"""The side-by-side evaluation and its command."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dataset_roots import bsds, coco_in_folders, save, segments
from tracedge.cli.evaluate import app
from tracedge.datasets.coco import open_coco
from tracedge.datasets.labelled import open_labelled
from tracedge.datasets.selection import Selection
from tracedge.errors import BackboneError, DataError, RunError, SettingsError, TracedgeError
from tracedge.evaluation.edges import EdgeRow, evaluate_edges, image_scores, report_json, report_markdown
from tracedge.evaluation.journal import journal_beside
from tracedge.metrics.edges import EdgeProtocol, instance_boundaries
from tracedge.rivals import FolderOfEdges, canny_edges, sobel_edges


def labels_of(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).permutation(np.arange(9)).reshape(3, 3)
    return np.kron(coarse, np.ones((20, 24), int)).astype(np.uint16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three photos of nine flat tiles; edges/ holds their true borders, 16 bits."""
    for folder in ("images", "masks", "edges"):
        (tmp_path / folder).mkdir()
    for seed in range(3):
        labels = labels_of(seed)
        colours = np.random.default_rng(seed).integers(0, 255, (9, 3), dtype=np.uint8)
        borders = instance_boundaries(labels).astype(np.uint16) * 65535
        Image.fromarray(colours[labels]).save(tmp_path / "images" / f"tiles{seed}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"tiles{seed}.png")
        Image.fromarray(borders).save(tmp_path / "edges" / f"tiles{seed}.edges.png")
    return tmp_path


def timeless(rows: list[EdgeRow]) -> list[EdgeRow]:
    return [replace(row, milliseconds=None) for row in rows]


def test_predictors_stand_side_by_side_in_the_order_given(root: Path) -> None:
    predictors = {"mine": FolderOfEdges(root / "edges"), "sobel": sobel_edges, "canny": canny_edges}
    rows = evaluate_edges(open_labelled(root).edges(), predictors, EdgeProtocol(9), workers=1)
    assert [row.name for row in rows] == ["mine", "sobel", "canny"]
    assert all(row.images == 3 for row in rows)
    assert rows[0].ods == rows[0].cldice == 1 > rows[1].ods
    assert rows[0].milliseconds is None and rows[1].milliseconds > 0


def test_rows_do_not_depend_on_the_number_of_workers_and_two_runs_give_equal_bytes(root: Path) -> None:
    predictors = {"mine": FolderOfEdges(root / "edges"), "sobel": sobel_edges}
    alone = evaluate_edges(open_labelled(root).edges(), predictors, EdgeProtocol(9), workers=1)
    shared = evaluate_edges(open_labelled(root).edges(), predictors, EdgeProtocol(9), workers=2)
    assert report_json(timeless(alone), {"run": 1}) == report_json(timeless(shared), {"run": 1})
    assert report_markdown(timeless(alone)) == report_markdown(timeless(shared))


def test_rows_say_what_they_were_counted_under(root: Path) -> None:
    protocol = EdgeProtocol(5, cldice_tolerance=0, ignore_margin=0)
    (row,) = evaluate_edges(open_labelled(root).edges(), {"mine": FolderOfEdges(root / "edges")}, protocol, 1)
    assert (row.thresholds, row.cldice_tolerance, row.ignore_margin, row.nms) == (5, 0, 0, False)


@pytest.mark.parametrize("workers", [1, 2])
def test_images_of_one_name_in_several_folders_are_all_counted(tmp_path: Path, workers: int) -> None:
    coco_in_folders(tmp_path)
    dataset = open_coco(coco_in_folders(tmp_path), "val2017").edges()
    right = instance_boundaries(segments(), void=0).astype(np.uint8) * 255
    for folder in "abcd":
        save(tmp_path / "edges" / folder / "1.edges.png", right if folder == "b" else np.zeros_like(right))
    predictors = {"mine": FolderOfEdges(tmp_path / "edges")}
    of = predictors["mine"].fingerprint()
    save(tmp_path / "edges" / "a" / "1.edges.png", np.eye(6, 8, dtype=np.uint8))
    assert predictors["mine"].fingerprint() != of
    save(tmp_path / "edges" / "a" / "1.edges.png", np.zeros_like(right))
    assert dataset.names == ("a/1.jpg", "b/1.jpg", "c/1.jpg", "d/1.jpg")
    (alone,) = evaluate_edges(dataset, predictors, EdgeProtocol(3), workers)
    with journal_beside(tmp_path / "r.json", {}) as journal:
        (kept,) = evaluate_edges(dataset, predictors, EdgeProtocol(3), workers, journal=journal)
        assert set(image_scores(journal, kept)) == {"a/1.jpg", "b/1.jpg", "c/1.jpg", "d/1.jpg"}
    assert alone == kept and kept.images == 4
    assert kept.recall[0] == pytest.approx(1 / 4)


def test_two_images_of_one_name_are_refused_before_anything_is_scored(root: Path) -> None:
    dataset = [*open_labelled(root).edges(), *open_labelled(root, selection=Selection(limit=1)).edges()]
    with pytest.raises(DataError, match=r"'tiles0\.png' is the first"):
        evaluate_edges(dataset, {"mine": lambda image: pytest.fail("scored")}, workers=1)


def test_progress_counts_every_map(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    predictors = {"mine": FolderOfEdges(root / "edges"), "sobel": sobel_edges}
    evaluate_edges(
        open_labelled(root).edges(), predictors, EdgeProtocol(3), 1, lambda done, total: seen.append((done, total))
    )
    assert seen == [(k, 6) for k in range(1, 7)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_on_one_image_names_the_image(root: Path, workers: int) -> None:
    seen: list[int] = []

    def fails_on_the_second(image: np.ndarray) -> np.ndarray:
        seen.append(1)
        if len(seen) == 2:
            raise BackboneError("no such layer")
        return np.zeros(image.shape[:2], np.float32)

    with pytest.raises(RunError, match=r"'tiles1.png', edges of broken: no such layer"):
        evaluate_edges(open_labelled(root).edges(), {"broken": fails_on_the_second}, EdgeProtocol(3), workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_of_the_program_keeps_its_traceback_and_names_the_image(root: Path, workers: int) -> None:
    def faulty(image: np.ndarray) -> np.ndarray:
        return [][1]

    with pytest.raises(IndexError) as raised:
        evaluate_edges(open_labelled(root).edges(), {"faulty": faulty}, EdgeProtocol(3), workers)
    assert raised.value.__notes__ == ["Image 'tiles0.png', edges of faulty."]
    assert any(entry.name == "faulty" for entry in raised.traceback)


def out_of_range(image: np.ndarray) -> np.ndarray:
    return np.full(image.shape[:2], 2, np.float32)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_map_that_cannot_be_scored_names_the_image(root: Path, workers: int) -> None:
    with pytest.raises(RunError, match=r"'tiles0.png', scoring odd: .*\[0, 1\]"):
        evaluate_edges(open_labelled(root).edges(), {"odd": out_of_range}, EdgeProtocol(3), workers)


def test_a_map_of_another_size_names_the_image(root: Path) -> None:
    with pytest.raises(RunError, match=r"'tiles0.png', edges of odd: .*\(3, 3\)"):
        evaluate_edges(
            open_labelled(root).edges(), {"odd": lambda image: np.zeros((3, 3), np.float32)}, EdgeProtocol(3), 1
        )


def test_a_truth_that_cannot_be_read_names_the_image(root: Path) -> None:
    (root / "masks" / "tiles2.png").write_bytes(b"")
    with pytest.raises(RunError, match=r"'tiles2.png', reading its truth"):
        evaluate_edges(open_labelled(root).edges(), {"sobel": sobel_edges}, EdgeProtocol(3), 1)


def test_settings_that_make_no_sense_are_refused(root: Path) -> None:
    dataset = open_labelled(root).edges()
    with pytest.raises(SettingsError, match="nothing to evaluate"):
        evaluate_edges(dataset, {})
    with pytest.raises(SettingsError, match="workers"):
        evaluate_edges(dataset, {"sobel": sobel_edges}, workers=0)
    with pytest.raises(SettingsError, match="sobol"):
        evaluate_edges(dataset, {"sobel": sobel_edges}, thin={"sobol"})


def test_non_maxima_are_suppressed_where_maps_are_not_thin(root: Path) -> None:
    predictors = {"sobel": sobel_edges, "canny": canny_edges}
    sobel, canny = evaluate_edges(open_labelled(root).edges(), predictors, EdgeProtocol(9, nms=True), 1, thin={"canny"})
    plain = evaluate_edges(open_labelled(root).edges(), predictors, EdgeProtocol(9), 1)
    assert sobel.nms and not canny.nms
    assert sobel.ods != plain[0].ods and canny.ods == plain[1].ods


def test_markdown_has_a_line_for_each_row(root: Path) -> None:
    rows = evaluate_edges(
        open_labelled(root).edges(), {"mine": FolderOfEdges(root / "edges")}, EdgeProtocol(3), workers=1
    )
    row = rows[0]
    assert report_markdown(rows).splitlines()[2] == (
        f"|  (3) | mine | {row.ods:.3f} | {row.ois:.3f} | {row.ap:.3f} | {row.cldice:.3f} | - |"
    )


def test_json_of_an_unknown_headline_is_refused(root: Path) -> None:
    with pytest.raises(SettingsError, match="No row is called 'x'"):
        report_json([], {}, headline="x")


def command(*arguments: object):
    return CliRunner().invoke(app, ["edges", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The sentence that `main` says."""
    done = command(*arguments)
    assert isinstance(done.exception, TracedgeError), done.output
    return str(done.exception)


def test_the_command_scores_a_folder_and_writes_its_scores_on_top(root: Path) -> None:
    report = root / "report.json"
    done = command(
        "--truth", root, "--pred", root / "edges", "--json", report, "--thresholds", 9, "--workers", 1, "--limit", 2
    )
    assert done.exit_code == 0, done.output
    written = json.loads(report.read_text())
    rows = {row["name"]: row for row in written["rows"]}
    assert list(rows) == ["prediction", "sobel", "canny"]
    for score in ("ods", "ois", "ap", "cldice"):
        assert written[score] == rows["prediction"][score]
    assert written["ods"] == 1
    assert rows["prediction"]["images"] == 2 and rows["prediction"]["thresholds"] == 9
    assert all(row["truth"] == str(root) for row in rows.values())
    assert "prediction" in done.output and "ODS" in done.output


def test_the_command_without_predictions_scores_the_rivals(root: Path) -> None:
    report = root / "report.json"
    done = command("--truth", root, "--json", report, "--thresholds", 3, "--workers", 1)
    assert done.exit_code == 0, done.output
    written = json.loads(report.read_text())
    assert [row["name"] for row in written["rows"]] == ["sobel", "canny"]
    assert "ods" not in written


def test_the_command_can_leave_the_rivals_out(root: Path) -> None:
    report = root / "report.json"
    done = command(
        "--truth", root, "--pred", root / "edges", "--no-rivals", "--json", report, "--thresholds", 3, "--workers", 1
    )
    assert done.exit_code == 0, done.output
    assert [row["name"] for row in json.loads(report.read_text())["rows"]] == ["prediction"]


def test_a_missing_prediction_is_known_before_anything_is_scored(root: Path, monkeypatch) -> None:
    (root / "edges" / "tiles1.edges.png").unlink()
    monkeypatch.setattr("tracedge.evaluation.edges.score_image", lambda *_: pytest.fail("scored"))
    command_line = ("--truth", root, "--pred", root / "edges", "--no-rivals", "--thresholds", 3, "--workers", 1)
    assert "tiles1" in refused(*command_line)


def test_wrong_use_ends_with_two(root: Path) -> None:
    assert "nowhere" in refused("--truth", root / "nowhere")
    assert "nowhere" in refused("--truth", root, "--pred", root / "nowhere")
    assert "nothing to score" in refused("--truth", root, "--no-rivals")
    assert command("--truth", root, "--thresholds", 0).exit_code == 2
    assert command().exit_code == 2
    whole = [sys.executable, "-m", "tracedge", "evaluate", "edges", "--truth", root / "nowhere"]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "nowhere" in done.stderr


def test_bsds_is_scored_to_the_letter_and_nothing_else_is_unless_asked_for(tmp_path: Path, root: Path) -> None:
    report = tmp_path / "report.json"
    for given, to_the_letter in (((), [True, False]), (("--bsds",), [True, True]), (("--no-bsds",), [False, False])):
        data = ("--truth", bsds(tmp_path / "bsds"), "--truth", root)
        done = command(*data, "--json", report, "--thresholds", 3, "--workers", 1, *given)
        assert done.exit_code == 0, done.output
        rows = [row for row in json.loads(report.read_text())["rows"] if row["name"] == "sobel"]
        assert [not row["thin_truth"] and row["ignore_margin"] == 0 for row in rows] == to_the_letter


def test_a_report_without_matplotlib_is_refused_before_anything_is_scored(root: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("tracedge.evaluation.edges.score_image", lambda *_: pytest.fail("scored"))
    assert "matplotlib" in refused("--truth", root, "--report", root / "report", "--workers", 1)
    assert not (root / "report").exists()


def test_the_command_and_the_evaluation_load_no_torch() -> None:
    """Start-up is a second or it is ten: scoring files needs no model."""
    code = (
        "import sys, tracedge.cli.evaluate, tracedge.evaluation.edges, tracedge.datasets.folder; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
