"""`tracedge panoptic` and `evaluate panoptic --semantic`: files in, COCO panoptic out, and what is wrong is said first."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tracedge.cli import app
from tracedge.cli.semantic_options import CUT
from tracedge.errors import DataError, SettingsError
from tracedge.export.panoptic_reader import read_panoptic
from tracedge.metrics.instance_boundaries import instance_boundaries
from tracedge.panoptic import PanopticSettings

NAMES = ["background", "person", "sky"]


def run(*arguments, fails=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == fails, done.output
    return done


def refused(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments))).exception


@pytest.fixture
def data(tmp_path):
    """Two photos in folders, their classes and edges: two persons side by side before the sky."""
    ids = np.repeat(np.repeat([[1, 2, 3]], 30, axis=1), 30, axis=0)
    for name in ("a/1", "a/2"):
        for folder, values in (
            ("photos", np.stack([80 * ids] * 3, axis=2)),
            ("classes", np.array([0, 1, 1, 2])[ids]),
            ("edges", 255 * instance_boundaries(ids)),
        ):
            path = tmp_path / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(path)
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    return tmp_path


def command(data, *more):
    given = [data / "classes", "--images", data / "photos", "-o", data / "out", "--classes", data / "names.json"]
    return ["panoptic", *given, "--edges", data / "edges", *more]


def test_what_is_written_is_read_back_as_coco_panoptic_and_a_rerun_skips(data):
    assert "2 done" in run(*command(data)).output
    found = read_panoptic(data / "out" / "panoptic.json")
    assert {image.file_name for image in found.images.values()} == {"a/1.png", "a/2.png"}
    one = found.read(1, (30, 90))
    assert [(segment.category_id, segment.isthing, segment.area) for segment in one.segments] == [
        (1, True, 900),
        (1, True, 900),
        (187, False, 900),
    ]
    before = (data / "out" / "panoptic.json").read_bytes()
    assert "2 skipped" in run(*command(data)).output
    assert (data / "out" / "panoptic.json").read_bytes() == before


def test_overlays_are_of_the_segments_and_leave_the_maps_as_they_are(data):
    run(*command(data, "--overlay"))
    drawn = np.asarray(Image.open(data / "out" / "a" / "1.panoptic.overlay.png"))
    assert drawn.shape == (30, 90, 3)
    assert (drawn[15, [10, 45]] != drawn[15, [45, 80]]).any(axis=1).all()
    found = read_panoptic(data / "out" / "panoptic.json").read(1, (30, 90))
    assert len(found.segments) == 3


def test_a_mapping_says_what_classes_are(data):
    (data / "map.json").write_text(json.dumps({"sky": None, "person": "cat"}))
    run(*command(data, "--mapping", data / "map.json"))
    segments = read_panoptic(data / "out" / "panoptic.json").read(1, (30, 90)).segments
    assert [segment.category_id for segment in segments] == [17, 17]


def test_photos_with_cocos_own_names_keep_their_numbers(data):
    for folder in ("photos", "classes", "edges"):
        for number in (1, 2):
            (data / folder / "a" / f"{number}.png").rename(data / folder / "a" / f"{139 * number:012d}.png")
    run(*command(data))
    assert sorted(read_panoptic(data / "out" / "panoptic.json").images) == [139, 278]


def test_a_photo_without_classes_fails_alone(data):
    (data / "classes" / "a" / "2.png").unlink()
    assert "a/2" in run(*command(data), fails=1).output
    assert len(read_panoptic(data / "out" / "panoptic.json").images) == 1


def test_bad_use_is_said_before_any_work(data):
    (data / "names.json").write_text(json.dumps(["background", "unicorn", "sky"]))
    assert "unicorn" in str(refused(*command(data)))
    error = refused(
        "panoptic", data / "classes", "--images", data / "photos", "-o", data / "out", "--mapping", "x.json"
    )
    assert isinstance(error, SettingsError) and "--classes" in str(error)
    assert isinstance(refused("panoptic", data / "nowhere", "--images", data / "photos", "-o", data / "out"), DataError)
    (data / "names.json").write_text(json.dumps(NAMES))
    assert "leave --backbone" in str(refused(*command(data, "--backbone", "mini")))
    assert not (data / "out").exists()


def test_the_same_classes_are_scored_with_and_without_edges(tmp_path):
    run("scenes", "--seed", 1_000_000, "--count", 3, "--size", 128, "--panoptic", "-o", tmp_path / "scenes")
    report = tmp_path / "report.json"
    given = ["--truth", tmp_path / "scenes", "--semantic", "truth", "--true-edges", "--size", 48, "--zoom", 1]
    run("evaluate", "panoptic", *given, "--json", report)
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]}
    assert list(rows) == ["components of a class", "cut by Canny's edges", "cut by our edges", "cut by true edges"]
    assert rows["cut by true edges"]["pq_things"] > rows["components of a class"]["pq_things"]
    assert json.loads(report.read_text())["pq"] == rows["cut by our edges"]["pq"]
    assert "leave --workers out" in str(refused("evaluate", "panoptic", *given, "--workers", 2))
    assert "nothing to score" in str(refused("evaluate", "panoptic", "--truth", tmp_path / "scenes"))


def test_the_command_cuts_as_the_library_does():
    assert PanopticSettings().cut == CUT
