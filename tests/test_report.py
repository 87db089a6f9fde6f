"""The folder of --report: equal figures in equal bytes, and pictures of the photos that went best and worst."""

import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from tracedge.cli import app
from tracedge.errors import DataError
from tracedge.evaluation.naming import short_names
from tracedge.evaluation.report import Illustration, best_and_worst, format_seconds, write_report
from tracedge.metrics.edges import instance_boundaries
from tracedge.visualize import side_by_side

SHIFTS = {"a": 0, "b": 1, "c": 3, "d": 9}
"""By so many pixels the predictions of each photo are off."""


@pytest.fixture
def data(tmp_path):
    """Four photos of two boxes; masks and edges of them that are off by `SHIFTS`."""
    for folder in ("images", "masks", "pred", "edges"):
        (tmp_path / folder).mkdir()
    for name, shift in SHIFTS.items():
        labels = np.zeros((48, 64), np.uint8)
        labels[8:32, 6:30], labels[8:32, 30:50] = 1, 2
        moved = np.roll(labels, shift, axis=0)
        Image.fromarray(labels * 100).convert("RGB").save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{name}.png")
        Image.fromarray(moved).save(tmp_path / "pred" / f"{name}.png")
        edges = instance_boundaries(moved.astype(np.int32)).astype(np.uint8) * 255
        Image.fromarray(edges).save(tmp_path / "edges" / f"{name}.edges.png")
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("verb, pred", [("instances", "pred"), ("edges", "edges")])
def test_two_runs_give_equal_figures_and_the_extremes_are_those_of_the_truth(data, verb, pred):
    for folder in ("one", "two"):
        more = ["--no-rivals", "--thresholds", 9] if verb == "edges" else []
        run(verb, "--truth", data, "--pred", data / pred, "--report", data / folder, *more)
    one, two = ((data / folder / "report.json").read_bytes() for folder in ("one", "two"))
    assert one == two
    shown = {path.stem.rsplit("-", 1)[-1]: path.stem for path in (data / "one").glob("*-[12]-*.png")}
    assert {name: stem.split(f"-{data.name}")[0] for name, stem in shown.items()} == {
        "a": "best-1",
        "b": "best-2",
        "c": "worst-2",
        "d": "worst-1",
    }
    picture = np.asarray(Image.open(data / "one" / f"{shown['a']}.png"))
    assert picture.shape == (48, 3 * 64 + 2 * 6, 3)
    page = (data / "one" / "report.md").read_text()
    assert all(f"(<{stem}.png>)" in page for stem in shown.values())
    assert json.loads((data / "one" / "seconds.json").read_text())["this run"] > 0
    assert (data / "one" / f"curves-{data.name}.png").exists() == (verb == "edges")


@pytest.mark.parametrize("verb, pred", [("instances", "pred"), ("edges", "edges")])
def test_data_sets_of_one_last_name_have_pictures_of_their_own(data, verb, pred):
    truths = [data / folder / "val" for folder in ("one", "two")]
    for truth in truths:
        for folder in ("images", "masks"):
            shutil.copytree(data / folder, truth / folder)
    more = ["--no-rivals", "--thresholds", 9, "--workers", 1] if verb == "edges" else []
    run(verb, "--truth", truths[0], "--truth", truths[1], "--pred", data / pred, "--report", data / "r", *more)
    links = re.findall(r"\]\(<(.*?\.png)>\)", (data / "r" / "report.md").read_text())
    assert len(links) == len(set(links)) == len(list((data / "r").glob("*.png"))) == (10 if verb == "edges" else 8)
    assert {"best-1-one-val-a.png", "best-1-two-val-a.png"} <= set(links)


def test_no_picture_is_written_over(tmp_path):
    white, black = np.full((2, 2, 3), 255, np.uint8), np.zeros((2, 2, 3), np.uint8)
    write_report(tmp_path, "{}", "", {}, {}, [Illustration("a", white), Illustration("A", black)])
    first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "A-2.png"))
    assert first.all() and not second.any()


def test_names_for_files_are_short_and_differ():
    assert short_names(["x/val", "y/val", "y/train"]) == {"x/val": "x-val", "y/val": "y-val", "y/train": "train"}
    assert short_names(["x/VAL", "x/val"]) == {"x/VAL": "x-VAL", "x/val": "x-val-2"}
    assert short_names([".", "/"]) == {".": "data", "/": "data-2"}


def test_few_images_are_shown_once():
    assert best_and_worst({"a": 1.0}) == []
    names = [each.image for each in best_and_worst(dict(zip("abcde", (0.1, 0.5, 0.5, 0.5, 0.9), strict=True)))]
    assert names == ["e", "b", "a", "d"]


def test_with_all_scores_equal_there_is_no_best_and_no_worst():
    assert best_and_worst(dict.fromkeys("abcde", 0.5)) == []
    scores = dict.fromkeys("abcdef", 1.0) | {"c": 0.2}
    assert [(each.place, each.image) for each in best_and_worst(scores)] == [
        ("best-1", "a"),
        ("best-2", "b"),
        ("best-3", "d"),
        ("worst-1", "c"),
    ]


@given(st.dictionaries(st.text(max_size=3), st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=9))
def test_each_best_image_scores_above_the_lowest_and_each_worst_below_the_highest(scores):
    found = best_and_worst(scores)
    images = [each.image for each in found]
    assert len(images) == len(set(images)) and all(scores[each.image] == each.score for each in found)
    best, worst = ([each.score for each in found if each.place.startswith(kind)] for kind in ("best", "worst"))
    assert [each.place for each in found] == sorted(each.place for each in found)
    assert best == sorted(best, reverse=True) and worst == sorted(worst)
    assert all(score > min(scores.values()) for score in best) and all(score < max(scores.values()) for score in worst)


@given(st.floats(0.00001, 0.1))
def test_a_short_time_is_no_zero(seconds):
    said, unit = format_seconds(seconds).split()
    assert unit == "ms" and float(said) / 1000 == pytest.approx(seconds, rel=0.06)


@pytest.mark.parametrize("verb, pred, score", [("instances", "pred", "mean best IoU"), ("edges", "edges", "F")])
def test_the_page_goes_from_the_best_to_the_worst_and_says_image_method_and_score(data, verb, pred, score):
    more = ["--no-rivals", "--thresholds", 9, "--workers", 1] if verb == "edges" else []
    run(verb, "--truth", data, "--pred", data / pred, "--report", data / "r", *more)
    page = (data / "r" / "report.md").read_text()
    said = re.findall(rf"\*\*(\S+)\*\*: `(.)\.png`, prediction on {data.name}, {score} (\S+)", page)
    assert [each[:2] for each in said] == [("best-1", "a"), ("best-2", "b"), ("worst-1", "d"), ("worst-2", "c")]
    a, b, d, c = (float(each[2]) for each in said)
    assert a == 1 and a >= b > c > d
    places = re.findall(r"!\[(best|worst)-(\d)-", page)
    assert places == [("best", "1"), ("best", "2"), ("worst", "1"), ("worst", "2")]


def test_a_prediction_that_was_read_has_no_time(data):
    run("edges", "--truth", data, "--pred", data / "edges", "--report", data / "r", "--thresholds", 9, "--workers", 1)
    seconds = json.loads((data / "r" / "seconds.json").read_text())
    assert seconds.keys() == {f"sobel, {data}, an image", f"canny, {data}, an image", "this run"}
    assert all(value > 0 for value in seconds.values())
    times = (data / "r" / "report.md").read_text().split("## Times")[1].split("##")[0]
    assert times.count("- ") == 3 and not re.search(r" 0(\.0)? m?s", times)


def test_pictures_of_different_heights_are_refused():
    with pytest.raises(DataError, match="one height"):
        side_by_side([np.zeros((4, 5, 3), np.uint8), np.zeros((5, 5, 3), np.uint8)])


def test_a_picture_whose_name_has_spaces_is_shown(tmp_path):
    """CommonMark ends a link at a space, unless it stands in angle brackets."""
    write_report(tmp_path, "{}", "", {}, {}, [Illustration("best 1", np.zeros((2, 2, 3), np.uint8))])
    assert "![best 1](<best 1.png>)" in (tmp_path / "report.md").read_text()
