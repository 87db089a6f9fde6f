"""`segment --sam`, `--proposals sam:NAME` and `evaluate instances --sam`: from a folder, said in the manifest."""

import json
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from typer.testing import CliRunner

import known_sam
import tiny_sam
from tracedge.cli import app
from tracedge.cli.predictor_options import PredictorOptions
from tracedge.cli.sam_options import sam_options
from tracedge.errors import BackboneError, RunError, SettingsError
from tracedge.export.labels import read_labels, write_labels
from tracedge.export.png import write_png16
from tracedge.instances import Instances, pairwise_iou
from tracedge.metrics.instance_boundaries import instance_boundaries


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """data/ with a scene's images/ and masks/, edges/ that are the truth's, and sam/, a tiny random one."""
    monkeypatch.chdir(tmp_path)
    image, objects = known_sam.scene()
    for name in ("data/images", "data/masks", "edges"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(image).save("data/images/a.png")
    write_labels(tmp_path / "data/masks/a.png", objects)
    write_png16(tmp_path / "edges/a.edges.png", instance_boundaries(objects.to_labels()).astype(np.float32))
    tiny_sam.save_tiny("sam", tmp_path / "sam")
    return tmp_path


@pytest.fixture
def knowing(monkeypatch):
    """Whatever SAM is loaded knows the objects."""
    model = known_sam.OneColour()
    monkeypatch.setattr("tracedge.sam.model.open_sam", lambda *_: model)
    return model


def run(*arguments, fails=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == fails, result.output
    return result


def refused(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments]).exception


SEGMENT = ("segment", "data/images", "--edges", "edges", "-o", "out")
EVALUATE = ("evaluate", "instances", "--truth", "data", "--size", 48, "--no-rivals")


def test_segment_gives_its_instances_to_sam(knowing):
    _, objects = known_sam.scene()
    run(*SEGMENT)
    before = pairwise_iou(read_labels("out/a.instances.png").masks, objects.masks).max(axis=0)
    run(*SEGMENT, "--sam", "sam", "--force")
    found = read_labels("out/a.instances.png")
    assert before.min() < 1 and (pairwise_iou(found.masks, objects.masks).max(axis=0) == 1).all()


def test_masks_of_files_are_given_to_sam_too(knowing, folders):
    _, objects = known_sam.scene()
    blocks = np.zeros_like(objects.masks)
    for block, (top, left, bottom, right) in zip(blocks, objects.boxes, strict=True):
        block[top:bottom, left:right] = True
    write_labels(folders / "blocks/a.png", Instances(blocks).non_overlapping())
    run(*SEGMENT, "--proposals", "blocks", "--no-bgp", "--sam", "sam", "--sam-prompts", "points")
    assert len(read_labels("out/a.instances.png")) == 4
    np.testing.assert_array_equal(read_labels("out/a.instances.png").to_labels() > 0, objects.masks.any(axis=0))


def test_sams_automatic_masks_are_proposals(knowing):
    _, objects = known_sam.scene()
    run(*SEGMENT, "--proposals", "sam:sam", "--no-bgp")
    found = read_labels("out/a.instances.png")
    assert len(found) == 4 and (pairwise_iou(found.masks, objects.masks).max(axis=0) == 1).all()


def test_the_run_says_which_sam_and_is_not_mixed_with_another(folders):
    run(*SEGMENT, "--sam", "sam", "--sam-prompts", "points, mask")
    said = json.loads((folders / "out/settings.json").read_text())["refined"]
    assert said["model"]["name"] == "sam" and len(said["model"]["weights"]) == 16
    assert said["seeds"]["prompts"] == ["points", "mask"]
    assert "1 skipped" in run(*SEGMENT, "--sam", "sam", "--sam-prompts", "points,mask").output
    assert isinstance(refused(*SEGMENT, "--sam", "sam"), RunError)
    assert isinstance(refused(*SEGMENT), RunError)


def test_evaluation_has_each_way_with_sam_and_sams_own_masks(knowing, folders):
    run(*EVALUATE, "--proposals", "sam:sam", "--sam", "sam", "--json", "report.json")
    report = json.loads((folders / "report.json").read_text())
    rows = {row["name"]: row["ap"] for row in report["rows"]}
    assert list(rows) == [
        "sam:sam",
        "sam:sam + SAM",
        "sam:sam + BGP, our edges",
        "sam:sam + BGP, our edges + SAM",
        "straight from our edges",
        "straight from our edges + SAM",
    ]
    assert rows["sam:sam"] == 1 and rows["sam:sam + SAM"] == 1
    assert report["provenance"]["proposals"]["sam:sam"]["automatic"]["side"] == 32
    assert report["provenance"]["refined"]["seeds"]["prompts"] == ["box", "points"]
    assert knowing.looks == 2  # once for its own masks, once for all seeds


def test_what_each_process_makes_its_sam_of_can_be_sent_to_it():
    sam = sam_options("sam", "box", PredictorOptions(device="cpu"))
    assert sam.settings.prompts == ("box",) and ForkingPickler.dumps(sam)


@pytest.mark.parametrize(
    ("more", "kind", "says"),
    [
        (("--sam-prompts", "box"), SettingsError, "give its model by --sam"),
        (("--sam", "sam", "--sam-prompts", "box,circle"), SettingsError, "unknown kind of prompt 'circle'"),
        (("--sam", "nothing"), SettingsError, "give one of sam-base"),
        (("--sam", "facebook/sam-vit-base", "--local-files-only"), BackboneError, "tracedge download facebook/sam-vit"),
        (("--sam", "data"), BackboneError, "loads no pickle"),
    ],
)
def test_wrong_use_is_said_before_any_model_is_loaded(monkeypatch, folders, more, kind, says):
    monkeypatch.setattr("tracedge.cli.predictor_options.predictor", lambda *_, **__: pytest.fail("loaded"))
    for command in (("segment", "data/images", "-o", "out"), EVALUATE):
        error = refused(*command, *more)
        assert isinstance(error, kind) and says in str(error)
    assert not (folders / "out").exists()


def test_sam_is_not_for_predictions_that_are_scored_as_they_are():
    assert "--sam out" in str(refused(*EVALUATE, "--pred", "data/masks", "--sam", "sam"))


def test_download_fetches_what_is_needed_once(folders, monkeypatch):
    asked = []

    def snapshot_download(hub_id, *, local_files_only=False, allow_patterns=(), **_):
        snapshot = folders / "hub"
        if local_files_only and not snapshot.is_dir():
            raise LocalEntryNotFoundError("not in the cache")
        snapshot.mkdir(exist_ok=True)
        for path in () if local_files_only else (folders / "sam").iterdir():
            if path.name in allow_patterns:
                asked.append((hub_id, path.name))
                (snapshot / path.name).write_bytes(path.read_bytes())
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    for name in ("sam-base", "facebook/sam-vit-base"):
        assert "2 files" in run("download", name).output
    assert asked == [("facebook/sam-vit-base", name) for name in ("config.json", "model.safetensors")]


def test_the_models_are_listed():
    assert "facebook/sam2.1-hiera-tiny" in run("backbones").output
