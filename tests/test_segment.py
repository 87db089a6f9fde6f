"""Photos to instances: from Python and from the command line, resumable, named errors, equal bytes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tracedge.cli import app
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco_reader import read_coco
from tracedge.export.labels import write_labels
from tracedge.instances import Instances, pairwise_iou
from tracedge.maps import EdgeMap
from tracedge.segmentation import Segmenter, SegmentSettings, segment


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two scenes, not square: images/ and masks/."""
    root = tmp_path_factory.mktemp("scenes")
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for seed in (900_001, 900_003):
        scene = draw_scene(seed, 160)
        Image.fromarray(scene.image[:144]).save(root / "images" / f"{seed}.png")
        Image.fromarray(scene.labels[:144]).save(root / "masks" / f"{seed}.png")
    return root


@pytest.fixture(scope="module")
def segmented(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    formats = ("npz", "yolo", "geojson", "overlay", "results", "label-studio")
    result = run("segment", scenes / "images", "-o", out, *(word for name in formats for word in ("--format", name)))
    assert result.exit_code == 0, result.output
    return out


def two_boxes():
    edges = np.zeros((60, 80), np.float32)
    edges[10:40, [10, 30, 50]] = edges[[10, 39], 10:51] = 0.8
    return EdgeMap(edges)


def test_segment_gives_closed_regions_best_first():
    found = segment(two_boxes())
    assert len(found) == 2
    assert found.shape == (60, 80)
    assert found.masks.sum(axis=0).max() == 1


def test_proposals_are_cut_by_the_edges_and_without_bgp_they_are_not():
    one = np.zeros((1, 60, 80), bool)
    one[0, 11:39, 11:50] = True
    proposals = Instances(one)
    assert len(segment(two_boxes(), proposals)) == 2
    assert (segment(two_boxes(), proposals, SegmentSettings(bgp=False)).masks == one).all()


def test_large_images_are_worked_on_small_and_come_back_whole():
    edges = np.asarray(two_boxes().edges).repeat(10, axis=0).repeat(10, axis=1)
    small, large = segment(two_boxes()), segment(EdgeMap(edges), settings=SegmentSettings(max_side=80))
    assert large.shape == (600, 800)
    ours = small.masks.repeat(10, axis=1).repeat(10, axis=2)
    assert pairwise_iou(ours, large.masks).max(axis=1).min() > 0.9


def test_overlap_is_kept_on_request_only():
    halves = np.zeros((2, 60, 80), bool)
    halves[0, 5:30, 5:40], halves[1, 5:30, 30:70] = True, True
    keep = SegmentSettings(bgp=False, overlapping=True)
    assert segment(two_boxes(), Instances(halves), keep).masks.sum(axis=0).max() == 2
    assert segment(two_boxes(), Instances(halves), SegmentSettings(bgp=False)).masks.sum(axis=0).max() == 1


def test_proposals_of_another_image_are_refused():
    with pytest.raises(DataError, match="must be of one image"):
        segment(two_boxes(), Instances(np.ones((1, 8, 8), bool)))
    with pytest.raises(SettingsError, match="max_side"):
        SegmentSettings(max_side=8)


class TwoBoxes:
    """An edge predictor without a model."""

    provenance = {"edges": "drawn"}  # noqa: RUF012
    device = torch.device("cpu")

    def __call__(self, images):
        return [two_boxes() for _ in images]


def test_proposals_of_one_image_and_of_a_list_are_not_mixed_up():
    segmenter = Segmenter(TwoBoxes(), settings=SegmentSettings(bgp=False))
    photo, given = np.zeros((60, 80, 3), np.uint8), Instances(np.ones((1, 60, 80), bool))
    assert segmenter(photo, given).areas.tolist() == [4800]
    assert [len(found) for found in segmenter([photo, photo], (given, None))] == [1, 2]
    for wrong in ([given], [None]):
        with pytest.raises(SettingsError, match="one image takes one Instances as proposals, got list"):
            segmenter(photo, wrong)
    for wrong in (given, given.masks, [given.masks, None]):
        with pytest.raises(SettingsError, match="2 images take a list of Instances or None, got"):
            segmenter([photo, photo], wrong)
    for wrong in ([given], [given] * 3, []):
        with pytest.raises(SettingsError, match=f"2 images take as many proposals.*got {len(wrong)}"):
            segmenter([photo, photo], wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_side": 512.5}, "max_side takes a whole number, got 512.5"),
        ({"max_side": "a"}, "max_side takes a whole number"),
        ({"bgp": "no"}, "bgp takes true or false, got 'no'"),
        ({"overlapping": 3}, "overlapping takes true or false"),
        ({"min_score": True}, "min_score takes a number, got True"),
        ({"from_edges": None}, "from_edges takes FromEdgesSettings, got None"),
        ({"propagation": {"min_area": 3}}, "propagation takes PropagationSettings"),
    ],
)
def test_settings_of_another_type_are_refused(wrong, says):
    with pytest.raises(SettingsError, match=says):
        SegmentSettings(**wrong)


def test_segmenter_answers_to_one_image_and_to_a_list(scenes):
    segmenter = Segmenter.from_pretrained("mini")
    files = sorted(str(file) for file in (scenes / "images").iterdir())
    one, many = segmenter(files[0]), segmenter(files)
    assert [found.shape for found in many] == [(144, 160), (144, 160)]
    assert (one.masks == many[0].masks).all()
    assert segmenter.provenance["proposals"] == {"proposals": "edges"}
    given = Instances(np.ones((1, 144, 160), bool))
    assert len(segmenter(files[:1], [given])) == 1


@pytest.mark.parametrize(("predicts_on", "walks_on"), [("cuda:1", "cuda:1"), ("cpu", "cpu"), ("mps", "cpu")])
def test_the_walk_is_done_where_the_edges_are_made_if_it_can_be(monkeypatch, predicts_on, walks_on):
    class Predictor:
        device, provenance = torch.device(predicts_on), {}

        def __call__(self, images):
            return [two_boxes()] * len(images)

    seen = []

    def propagation(edges, proposals, settings, *, device, **rest):
        seen.append(torch.device(device))
        return proposals

    monkeypatch.setattr("tracedge.segmentation.boundary_guided_propagation", propagation)
    Segmenter(Predictor())(np.zeros((60, 80, 3), np.uint8), Instances(np.ones((1, 60, 80), bool)))
    assert seen == [torch.device(walks_on)]


@pytest.mark.parametrize("verb", ["segment", "refine"])
def test_device_of_the_command_is_where_the_walk_is_done(verb, scenes, tmp_path, monkeypatch):
    from tracedge import segmentation

    seen = []

    def propagation(*arguments, device, **rest):
        seen.append(torch.device(device).type)
        return boundary_guided_propagation(*arguments, **rest)

    boundary_guided_propagation = segmentation.boundary_guided_propagation
    monkeypatch.setattr(segmentation, "boundary_guided_propagation", propagation)
    monkeypatch.setattr(
        "tracedge.student.predictor.EdgePredictor.device", torch.device("cuda")
    )  # as if --device said so
    masks = scenes / "masks"
    from_where = ("--proposals", masks) if verb == "segment" else ("--images", scenes / "images")
    result = run(
        verb, scenes / "images" if verb == "segment" else masks, *from_where, "-o", tmp_path, "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    assert seen == ["cuda", "cuda"]


def test_label_map_coco_and_npz_say_the_same(segmented, scenes):
    coco = read_coco(segmented / "instances.json")
    assert [image.file_name for image in coco.images.values()] == ["900001.png", "900003.png"]
    for image in coco.images.values():
        labels = np.asarray(Image.open(segmented / image.file_name.replace(".png", ".instances.png")))
        assert labels.dtype == np.uint16
        assert labels.shape == (144, 160)
        found = coco.instances(image.id)
        assert (found.to_labels() == labels).all()
        assert len(found) > 0
        assert (np.diff(found.scores) <= 0).all()


def test_every_format_is_written(segmented):
    names = {path.name for path in segmented.iterdir() if not path.name.startswith(".")}
    both = {
        f"{stem}{end}"
        for stem in (900_001, 900_003)
        for end in (".instances.png", ".instances.npz", ".geojson", ".instances.overlay.png")
    }
    assert sorted(path.name for path in (segmented / "labels").iterdir()) == ["900001.txt", "900003.txt"]
    together = {
        "labels",
        "instances.json",
        "results.json",
        "label_studio.json",
        "data.yaml",
        "manifest.jsonl",
        "settings.json",
    }
    assert names == both | together


def test_two_runs_give_equal_bytes(segmented, scenes, tmp_path):
    assert run("segment", scenes / "images", "-o", tmp_path).exit_code == 0
    for name in ("900001.instances.png", "900003.instances.png", "instances.json"):
        assert (tmp_path / name).read_bytes() == (segmented / name).read_bytes()


def test_a_rerun_skips_and_a_broken_photo_is_named(scenes, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for file in (scenes / "images").iterdir():
        (photos / file.name).write_bytes(file.read_bytes())
    (photos / "broken.png").write_bytes(b"no picture")
    first = run("segment", photos, "-o", out)
    assert first.exit_code == 1
    assert "2 done, 0 skipped, 1 failed" in first.output
    assert "broken.png" in first.output
    assert len(read_coco(out / "instances.json")) == 2
    again = run("segment", photos, "-o", out)
    assert "0 done, 2 skipped, 1 failed" in again.output
    assert len(read_coco(out / "instances.json")) == 2


@pytest.mark.parametrize("as_what", ["folder", "coco"])
def test_refine_improves_one_mask_of_everything(scenes, segmented, tmp_path, as_what):
    masks = tmp_path / "masks"
    for file in (scenes / "masks").iterdir():
        labels = np.asarray(Image.open(file))
        write_labels(masks / file.name, Instances((labels > 0)[None]))
    source = segmented / "instances.json" if as_what == "coco" else masks
    result = run("refine", source, "--images", scenes / "images", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    coco = read_coco(tmp_path / "out" / "instances.json")
    assert sum(len(coco.instances(image)) for image in coco.images) > 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.instances.png")) == [
        "900001.instances.png",
        "900003.instances.png",
    ]


def test_maskcut_on_the_mini_model_runs_offline(scenes, tmp_path):
    result = run("segment", scenes / "images" / "900001.png", "-o", tmp_path, "--proposals", "maskcut", "--no-bgp")
    assert result.exit_code == 0, result.output
    assert len(read_coco(tmp_path / "instances.json")) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--proposals", "nothing"), "no file or folder of masks"),
        (("--format", "xml"), "unknown format"),
    ],
)
def test_wrong_use_is_a_sentence_before_any_work(scenes, tmp_path, arguments, says):
    result = run("segment", scenes / "images", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2 or isinstance(result.exception, SettingsError)
    assert says in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_masks_that_do_not_fit_their_photo_are_a_failure_of_that_photo(scenes, tmp_path):
    masks = tmp_path / "masks"
    write_labels(masks / "900001.png", Instances(np.ones((1, 10, 10), bool)))
    write_labels(masks / "900003.png", Instances(np.ones((1, 144, 160), bool)))
    result = run("refine", masks, "--images", scenes / "images", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "1 done, 0 skipped, 1 failed" in result.output
    assert "900001.png" in result.output


def test_evaluate_instances_scores_files_and_ways(scenes, segmented, tmp_path):
    report = tmp_path / "report.json"
    result = run("evaluate", "instances", "--truth", scenes, "--pred", segmented / "instances.json", "--json", report)
    assert result.exit_code == 0, result.output
    content = json.loads(report.read_text())
    assert {"ap", "ap50", "ar100", "boundary_ap", "touching_separated"} <= content.keys()
    assert 0 < content["ap"] <= content["ap50"] <= 1

    truth = segmented / "instances.json"  # a results file names its images by the ids of a truth in one file
    result = run("evaluate", "instances", "--truth", truth, "--pred", segmented / "results.json", "--json", report)
    assert result.exit_code == 0, result.output
    assert json.loads(report.read_text())["ap"] == 1

    result = run("evaluate", "instances", "--truth", scenes, "--proposals", scenes / "masks", "--limit", 1)
    assert result.exit_code == 0, result.output
    for row in ("masks |", "masks + BGP, Canny edges", "masks + BGP, our edges", "straight from our edges"):
        assert row in result.output


def test_two_files_of_one_name_are_two_rows(scenes, segmented, tmp_path):
    other = tmp_path / "instances.json"
    other.write_bytes((segmented / "instances.json").read_bytes())
    both = ("--proposals", segmented / "instances.json", "--proposals", other)
    result = run("evaluate", "instances", "--truth", scenes, *both, "--limit", 1, "--no-rivals")
    assert result.exit_code == 0, result.output
    rows = [line.split("|")[2].strip() for line in result.output.splitlines() if "instances.json" in line]
    assert rows.count(str(other)) == rows.count(str(segmented / "instances.json")) == 1


def test_a_data_set_that_is_done_is_kept_though_the_next_one_fails(scenes, segmented, tmp_path):
    """In the journal: a report of some of the data sets would look whole."""
    broken, report = tmp_path / "broken", tmp_path / "report.json"
    shutil.copytree(scenes, broken)
    next((broken / "masks").iterdir()).write_bytes(b"no picture")
    done = run("evaluate", "instances", "--truth", scenes, "--truth", broken, "--pred", segmented, "--json", report)
    assert done.exit_code != 0
    assert not report.exists()
    counted = (tmp_path / "report.json.journal").read_text().splitlines()[1:]
    assert {json.loads(line)["key"][0] for line in counted} == {str(scenes)}


def test_the_truth_scores_one_as_coco_too(scenes, tmp_path):
    from tracedge.export.coco import write_coco

    images = sorted((scenes / "masks").iterdir())
    labels = [np.asarray(Image.open(file)) for file in images]
    records = [
        (number, file.name, Instances.from_labels(array))
        for number, (file, array) in enumerate(zip(images, labels, strict=True), 1)
    ]
    write_coco(tmp_path / "truth.json", records)
    report = tmp_path / "report.json"
    result = run(
        "evaluate", "instances", "--truth", tmp_path / "truth.json", "--pred", tmp_path / "truth.json", "--json", report
    )
    assert result.exit_code == 0, result.output
    assert json.loads(Path(report).read_text())["ap"] == 1
