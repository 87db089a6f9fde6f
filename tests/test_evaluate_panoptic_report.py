"""The report of `tracedge evaluate panoptic`: equal bytes however it came about, and pictures of the extremes."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dataset_roots import save_photo
from panoptic_maps import CAT, CATEGORIES, DOG, SKY, panoptic
from tracedge.cli import app
from tracedge.errors import DataError, RunError
from tracedge.evaluation.journal import Journal
from tracedge.export.panoptic import write_panoptic
from tracedge.export.png import read_rgb
from tracedge.visualize import panoptic_overlay

HW = (24, 32)
WIDTHS = {"a": 16, "b": 14, "c": 10, "d": 9}
"""So many columns of each photo are predicted to be a cat; in truth it is 16."""


def scene(columns):
    ids = np.full(HW, 2)
    ids[:, :columns], ids[:, 28:] = 1, 3
    return panoptic(ids, {1: CAT, 2: SKY, 3: DOG})


def written(path, widths):
    images = ((number, f"{name}.png", scene(width)) for number, (name, width) in enumerate(widths.items(), 1))
    write_panoptic(path, images, CATEGORIES)
    return path


@pytest.fixture
def data(tmp_path):
    """A labelled folder of four photos, and predictions that miss part of the cat."""
    for name in WIDTHS:
        save_photo(tmp_path / "truth" / "images" / f"{name}.png", HW)
    written(tmp_path / "truth" / "panoptic.json", dict.fromkeys(WIDTHS, 16))
    written(tmp_path / "pred.json", WIDTHS)
    return tmp_path


def run(data, *arguments, pred=None):
    paths = ("--truth", data / "truth", "--pred", pred or data / "pred.json")
    result = CliRunner().invoke(app, ["evaluate", "panoptic", *map(str, (*paths, *arguments))])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_two_runs_and_several_processes_give_equal_bytes(data):
    for name, more in (("one", ()), ("two", ()), ("three", ("--workers", 2))):
        run(data, "--report", data / name, *more)
    reports = {(data / name / "report.json").read_bytes() for name in ("one", "two", "three")}
    assert len(reports) == 1
    pictures = [sorted(path.name for path in (data / name).glob("*.png")) for name in ("one", "three")]
    assert len(pictures[0]) == 4 and pictures[0] == pictures[1]
    for name in pictures[0]:
        assert (data / "one" / name).read_bytes() == (data / "three" / name).read_bytes()


def test_the_extremes_are_those_of_the_predictions_and_stand_beside_the_truth(data):
    run(data, "--report", data / "out")
    shown = {path.stem.rsplit("-", 1)[-1]: path for path in (data / "out").glob("*.png")}
    assert {name: path.stem.removesuffix(f"-truth-{name}") for name, path in shown.items()} == {
        "a": "best-1",
        "b": "best-2",
        "c": "worst-2",
        "d": "worst-1",
    }
    picture = np.asarray(Image.open(shown["a"]))
    assert picture.shape == (24, 3 * 32 + 2 * 6, 3)
    photo, truth, predicted = (picture[:, start : start + 32] for start in (0, 38, 76))
    assert (photo == 90).all()
    np.testing.assert_array_equal(truth, predicted)
    worst = np.asarray(Image.open(shown["d"]))
    assert (worst[:, 38:70] != worst[:, 76:]).any()


def test_the_page_has_every_class_and_the_times_stand_apart(data):
    run(data, "--report", data / "out", "--json", data / "other.json")
    page = (data / "out" / "report.md").read_text()
    report = json.loads((data / "out" / "report.json").read_text())
    assert json.loads((data / "other.json").read_text()) == report
    cat = report["per_class"]["cat"]
    assert f"| cat | thing | {100 * cat['pq']:.1f} | {100 * cat['sq']:.1f} | {100 * cat['rq']:.1f} |" in page
    assert "| dog | thing | 100.0 | 100.0 | 100.0 |" in page
    assert "| sky | stuff |" in page and "| sea |" not in page  # neither there nor found
    assert "(<best-1-truth-a.png>)" in page
    assert json.loads((data / "out" / "seconds.json").read_text())["this run"] > 0


def test_a_truth_without_photos_has_no_pictures(data):
    out = data / "out"
    command = ["evaluate", "panoptic", "--truth", data / "truth" / "panoptic.json", "--report", out]
    result = CliRunner().invoke(app, [*map(str, command), "--pred", f"theirs={data / 'pred.json'}"])
    assert result.exit_code == 0, result.output
    assert not list(out.glob("*.png"))
    assert "| class | kind | PQ, theirs | SQ, theirs | RQ, theirs |" in (out / "report.md").read_text()


def killed(data, patch, after, *arguments):
    put, left = Journal.put, [after]

    def once_less(self, counts, *key, **of):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        put(self, counts, *key, **of)

    with patch.context() as patched:
        patched.setattr(Journal, "put", once_less)
        result = CliRunner().invoke(
            app, ["evaluate", "panoptic", "--truth", str(data / "truth"), "--pred", str(data / "pred.json"), *arguments]
        )
    assert result.exit_code != 0


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_killed_evaluation_goes_on_and_its_report_is_the_same(data, monkeypatch, after):
    run(data, "--json", data / "whole.json")
    again = data / "again.json"
    killed(data, monkeypatch, after, "--json", str(again))
    assert not again.exists()
    journal = data / "again.json.journal"
    assert len(journal.read_bytes().splitlines()) == 1 + after
    run(data, "--json", again)
    assert again.read_bytes() == (data / "whole.json").read_bytes()
    assert not journal.exists()


def test_what_was_counted_on_another_truth_is_refused(data, monkeypatch):
    killed(data, monkeypatch, 1, "--json", str(data / "again.json"))
    first = data / "truth" / "panoptic" / f"{next(iter(WIDTHS))}.png"
    ids = read_rgb(first).copy()
    ids[0] = 0
    Image.fromarray(ids).save(first)
    with pytest.raises(RunError, match="not what it was"):
        run(data, "--json", data / "again.json")


def test_an_interrupted_evaluation_does_not_go_on_with_anything_else(data, monkeypatch):
    report = ("--json", str(data / "report.json"))
    killed(data, monkeypatch, 1, *report)
    for more in (("--class-agnostic",), ("--limit", 2)):
        with pytest.raises(RunError, match="other settings"):
            run(data, *report, *more)
    written(data / "pred.json", dict.fromkeys(WIDTHS, 12))  # other maps under the same name
    with pytest.raises(RunError, match="other settings"):
        run(data, *report)
    written(data / "pred.json", WIDTHS)
    run(data, *report)


def test_a_map_is_drawn_in_the_colours_of_its_categories():
    image = np.full((4, 9, 3), (40, 80, 120), np.uint8)
    ids = np.repeat([[0, 0, 0, 5, 5, 5, 9, 9, 9]], 4, axis=0)
    drawn = panoptic_overlay(image, panoptic(ids, {5: CAT, 9: CAT}))
    other = panoptic_overlay(image, panoptic(np.where(ids == 5, 7, ids), {7: CAT, 9: SKY}))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert len(set(drawn[0, 0].tolist())) == 1  # void is grey
    assert (drawn[:, 5:7] == 255).all()  # the border of the two
    np.testing.assert_array_equal(drawn[:, 4], other[:, 4])  # cats look alike whatever their id
    assert (drawn[0, 4] != drawn[0, 8]).any() and (drawn[0, 8] != other[0, 8]).any()
    with pytest.raises(DataError, match=r"expected an image of uint8 \(4, 9, 3\)"):
        panoptic_overlay(image[:3], panoptic(ids, {5: CAT, 9: CAT}))
