"""`segment` and `refine` over folders, with drawn edges: what is gathered, what comes from files, where labels lie."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from instance_masks import supervision
from tracedge.cli import app
from tracedge.errors import SettingsError
from tracedge.export.coco import write_coco, write_coco_results
from tracedge.export.coco_reader import read_coco
from tracedge.export.labels import read_instances, read_labels, write_labels
from tracedge.instances import Instances
from tracedge.maps import EdgeMap

HW = (60, 80)


class TwoBoxes:
    """An edge predictor without a model: two boxes side by side, whatever the photo of 60 x 80 shows."""

    provenance = {"edges": "drawn"}  # noqa: RUF012
    device = torch.device("cpu")

    def __call__(self, images):
        edges = np.zeros(HW, np.float32)
        edges[10:40, [10, 30, 50]] = edges[[10, 39], 10:51] = 0.8
        return [EdgeMap(edges) for _ in images] if isinstance(images, list) else EdgeMap(edges)


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    """photos/ with three of them, one in a folder, and photo.png beside it; the edges are drawn."""
    monkeypatch.setattr("tracedge.cli.predictor_options.predictor", lambda *_, **__: TwoBoxes())
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("photo.png", "photos/a.png", "photos/b.png", "photos/sub/c.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", HW[::-1], (number, 90, 90)).save(tmp_path / name)
    return tmp_path / "photos"


def run(*arguments, fails=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == fails, result.output
    return result


def refused(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, SettingsError), result.output
    return str(result.exception)


def names(path):
    return [image.file_name for image in read_coco(path).images.values()]


def whole():
    return Instances(np.ones((1, *HW), bool))


# --- what is gathered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--overlapping",)])
def test_photos_of_a_run_with_fewer_formats_are_gathered_too(tmp_path, more):
    run("segment", "photo.png", "-o", "masks", *more)
    run("segment", "photos", "-o", "masks", "--format", "yolo", "--format", "npz", "--format", "results", *more)
    assert names("masks/instances.json") == ["a.png", "b.png", "photo.png", "sub/c.png"]
    assert {entry["image_id"] for entry in json.loads((tmp_path / "masks/results.json").read_text())} == {1, 2, 3, 4}


def test_files_of_all_photos_are_of_the_same_photos_whichever_formats_the_last_run_wrote(tmp_path, photos):
    run("segment", "photos", "-o", "masks", "--format", "results", "--format", "label-studio")
    Image.new("RGB", HW[::-1]).save(photos / "a0.png")  # between the others: their numbers change
    run("segment", "photos", "-o", "masks")
    assert names("masks/instances.json") == ["a.png", "a0.png", "b.png", "sub/c.png"]
    assert {entry["image_id"] for entry in json.loads((tmp_path / "masks/results.json").read_text())} == {1, 2, 3, 4}
    assert len(json.loads((tmp_path / "masks/label_studio.json").read_text())) == 4


def test_min_score_says_what_is_left_out(tmp_path):
    run("segment", "photo.png", "-o", "all", "--min-score", 0)
    scores = json.loads((tmp_path / "all/manifest.jsonl").read_text())["scores"]
    run("segment", "photo.png", "-o", "best", "--min-score", scores[0])
    assert json.loads((tmp_path / "best/manifest.jsonl").read_text())["scores"] == [
        score for score in scores if score >= scores[0]
    ]
    assert "min_score" in refused("segment", "photo.png", "-o", "none", "--min-score", 2)


@pytest.mark.parametrize("verb", ["segment", "refine"])
def test_the_walk_is_chosen_and_said(tmp_path, photos, verb):
    write_labels(tmp_path / "masks" / "photo.png", whole())
    given = [tmp_path / "photo.png", "--proposals"] if verb == "segment" else ["--images", tmp_path / "photo.png"]
    for walk in ("cells", "basins"):
        run(verb, *given, tmp_path / "masks", "-o", tmp_path / walk, "--walk", walk)
        assert f'"walk":"{walk}"' in (tmp_path / walk / "instances.json").read_text()
    assert run(verb, *given, tmp_path / "masks", "-o", tmp_path / "x", "--walk", "stars", fails=2)


def test_a_photo_whose_label_map_is_gone_is_not_gathered(tmp_path):
    run("segment", "photos", "-o", "masks")
    (tmp_path / "masks" / "a.instances.png").unlink()
    run("segment", "photos/b.png", "-o", "masks")
    assert names("masks/instances.json") == ["b.png", "sub/c.png"]


@pytest.mark.parametrize("more", [(), ("--overlapping",)])
def test_large_photos_that_were_let_in_are_gathered(monkeypatch, more):
    for reader in (read_labels, read_instances):
        monkeypatch.setitem(reader.__kwdefaults__, "max_pixels", 100)  # as if 60 x 80 were beyond the default limit
    run("segment", "photos", "-o", "masks", "--max-pixels", 4800, *more)
    assert len(names("masks/instances.json")) == 3


# --- YOLO -------------------------------------------------------------------------------------------------------------


def test_yolo_labels_lie_where_its_loader_looks_for_them(tmp_path, photos):
    run("segment", "photos", "-o", "masks", "--format", "yolo")
    photos.rename(tmp_path / "masks" / "images")  # as data.yaml says
    for photo in (tmp_path / "masks" / "images").rglob("*.png"):
        label = "/labels/".join(str(photo).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"  # Ultralytics' rule
        assert len(Path(label).read_text().splitlines()) == 2
    read = supervision.DetectionDataset.from_yolo("masks/images", "masks/labels", "masks/data.yaml", force_masks=True)
    assert [len(found) for found in read.annotations.values()] == [2, 2]  # it looks into no folder below
    assert not list((tmp_path / "masks").glob("*.txt"))


def test_a_run_with_yolo_labels_is_resumed_and_replaced(tmp_path):
    assert "3 done" in run("segment", "photos", "-o", "masks", "--format", "yolo").output
    assert "3 skipped" in run("segment", "photos", "-o", "masks", "--format", "yolo").output
    (tmp_path / "masks/labels/sub/c.txt").unlink()
    assert "1 done, 2 skipped" in run("segment", "photos", "-o", "masks", "--format", "yolo").output
    run("segment", "photos", "-o", "masks", "--no-bgp", "--force")
    assert not list((tmp_path / "masks/labels").rglob("*.txt"))  # they were of other settings


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # pycocotools
def test_the_page_on_exports_names_every_file_and_its_python_runs(tmp_path, photos):
    page = (Path(__file__).parents[1] / "docs" / "exports.md").read_text()
    (command,) = re.findall(r"^tracedge (.*)$", page, re.MULTILINE)
    run(*command.split(), "--format", "overlay")
    written = {path.name for path in (tmp_path / "masks").iterdir()} | {"labels/a.txt"}
    for name in written - {"sub", "labels", "b.instances.png"}:
        assert re.sub(r"\b[ab]\.", "<stem>.", name) in page
    shutil.copytree(photos, tmp_path / "masks" / "images")
    found = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, found)
    assert found["first"].sum() == found["mask"].sum() == found["masks"][0].sum() > 0
    assert len(found["results"].anns) == len(found["coco"].anns) == 6
    assert len(found["dataset"]) == 2
    assert found["tasks"][0]["data"]["image"] == "/data/local-files/?d=photos/a.png"


# --- masks of files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def results(photos):
    """COCO results of a.png, and the instances file that says which image is which."""
    write_coco("truth.json", [(7, "a.png", whole()), (8, "b.png", whole())])
    write_coco_results("results.json", [(7, whole()), (8, whole())])
    return "results.json"


@pytest.mark.parametrize(
    "command",
    [
        ("segment", "photos/a.png", "-o", "out", "--proposals"),
        ("refine", "--images", "photos/a.png", "-o", "out"),
        ("evaluate", "instances", "--truth", "labelled", "--proposals"),
        ("evaluate", "instances", "--truth", "labelled", "--pred"),
    ],
)
def test_coco_results_are_taken_with_image_ids_and_refused_by_its_name_without(results, labelled, tmp_path, command):
    assert "give --image-ids" in refused(*command, results)
    assert not (tmp_path / "out").exists()
    run(*command, results, "--image-ids", "truth.json")
    assert "--image-ids is for COCO results" in refused(*command, "truth.json", "--image-ids", "truth.json")


def test_image_ids_without_masks_of_a_file_are_refused(results, labelled):
    assert "--image-ids is for" in refused("segment", "photos", "-o", "out", "--image-ids", "truth.json")
    assert "--image-ids is for" in refused("evaluate", "instances", "--truth", "labelled", "--image-ids", "truth.json")


def test_masks_of_a_large_photo_are_read_under_the_limit_given(tmp_path):
    content = {"images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80},
                          {"id": 2, "file_name": "big.png", "height": 6000, "width": 20000}], "annotations": []}  # fmt: skip
    (tmp_path / "big.json").write_text(json.dumps(content))
    for command in (("refine", "big.json", "--images"), ("segment", "--proposals", "big.json")):
        result = CliRunner().invoke(app, [*command, "photos/a.png", "-o", "out"])
        assert "raise it by --max-pixels" in str(result.exception)
        run(*command, "photos/a.png", "-o", command[0], "--max-pixels", 200_000_000)
        assert names(f"{command[0]}/instances.json") == ["a.png"]


# --- a truth and what is missing --------------------------------------------------------------------------------------


@pytest.fixture
def labelled(photos, tmp_path):
    """A labelled folder of a.png and b.png."""
    for name in ("a.png", "b.png"):
        (tmp_path / "labelled" / "images").mkdir(parents=True, exist_ok=True)
        Image.open(photos / name).save(tmp_path / "labelled" / "images" / name)
        write_labels(tmp_path / "labelled" / "masks" / name, whole())
    return "labelled"


def test_a_prediction_without_every_image_is_refused_before_any_work_or_counts_as_empty(labelled, tmp_path):
    write_coco("pred.json", [(1, "a.png", whole())])
    command = ("evaluate", "instances", "--truth", labelled, "--pred", "pred.json", "--json", "report.json")
    assert "pred.json has no masks of 1 of the 2 images of the truth (b.png)" in refused(*command)
    assert "--missing-empty" in refused(*command)
    run(*command, "--missing-empty")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["images"], report["predictions"], report["objects"]) == (2, 1, 2)
    assert report["ar100"] == 0.5
    assert report["provenance"]["missing_empty"] is True


def test_proposals_without_every_image_are_refused_before_any_work_too(labelled):
    write_coco("proposals.json", [(1, "b.png", whole())])
    command = ("evaluate", "instances", "--truth", labelled, "--proposals", "proposals.json", "--no-rivals")
    assert "proposals.json has no masks of 1 of the 2 images" in refused(*command)
    assert "proposals.json + BGP, our edges" in run(*command, "--missing-empty").output


def test_a_truth_without_photos_is_for_predictions_alone(results):
    assert "has no photos to predict from" in refused("evaluate", "instances", "--truth", "truth.json")
    run("evaluate", "instances", "--truth", "truth.json", "--pred", results)
