"""`tracedge semantic`, and two commands from photos with tags to COCO panoptic; `evaluate panoptic` with several --semantic."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tiny_image_text
from tracedge.cli import app, tag_options
from tracedge.errors import BackboneError, DataError, RunError, SettingsError
from tracedge.export.panoptic_reader import read_panoptic
from tracedge.export.semantic import voc_palette
from tracedge.semantics.classes import classes_of, read_categories, read_class_names
from tracedge.semantics.from_files import find_semantics
from tracedge.semantics.refine import RefineSettings
from tracedge.semantics.similarity import TextSimilarity

CAT, DOG, SKY = 17, 18, 187


def run(*arguments, fails=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == fails, done.output
    return done


def refused(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments))).exception


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny_image_text.save_tiny("clip", tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture
def data(tmp_path):
    """Two photos in a folder, and the tags of both."""
    for number, name in enumerate(("a/1", "2")):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (30, 44, 3)).astype(np.uint8)).save(path)
    (tmp_path / "tags.json").write_text(json.dumps({"a/1.png": ["cat", "sky"], "2": ["dog"]}))
    return tmp_path


def command(data, clip, *more, tags=None):
    given = ["semantic", data / "photos", "--tags", tags or data / "tags.json", "-o", data / "out", "--clip", clip]
    return [*given, "--size", 48, *more]


def test_what_is_written_is_what_panoptic_reads_and_a_rerun_skips(data, clip):
    assert "2 done" in run(*command(data, clip)).output
    out = data / "out"
    names = read_class_names(out / "names.json")
    assert names[CAT] == "cat" and names[SKY] == "sky-other-merged"
    known = classes_of(names, read_categories("coco"))
    hard, soft = (find_semantics(out / kind, known) for kind in ("classes", "scores"))
    for stem, tags in {"a/1": {CAT, SKY}, "2": {DOG, -1}}.items():
        classes = hard.read(stem, (30, 44)).classes
        assert set(np.unique(classes)) <= tags
        assert (classes == soft.read(stem, (30, 44)).classes).mean() > 0.99  # float16
    assert np.load(out / "scores" / "2.npz")["keys"].tolist() == [DOG, 255]
    picture = Image.open(out / "classes" / "2.png")
    assert picture.mode == "P" and picture.getpalette()[: 3 * 256] == voc_palette().ravel().tolist()
    before = {path: path.read_bytes() for kind in ("classes", "scores") for path in (out / kind).rglob("*.*")}
    assert "2 skipped" in run(*command(data, clip)).output
    assert "2 done" in run(*command(data, clip), "--force", "--steps", 4, "--max-pixels", 2000, "--no-crf").output
    again = run(*command(data, clip), "--force").output
    assert "2 done" in again and {path: path.read_bytes() for path in before} == before


def test_overlays_are_of_the_classes(data, clip):
    run(*command(data, clip, "--overlay"))
    for name in ("a/1", "2"):
        classes = np.asarray(Image.open(data / "out" / "classes" / f"{name}.png"))
        drawn = np.asarray(Image.open(data / "out" / f"{name}.classes.overlay.png"))
        assert drawn.shape == (*classes.shape, 3)
        grey = np.ptp(drawn.astype(int), axis=2) == 0  # what is not known, and the lines between
        assert not (classes == 255).any() or grey[classes == 255].all()


def test_two_commands_take_photos_and_tags_to_coco_panoptic(data, clip):
    run(*command(data, clip))
    out = ["--images", data / "photos", "-o", data / "panoptic", "--classes", data / "out" / "names.json", "--size", 48]
    run("panoptic", data / "out" / "classes", *out)
    found = read_panoptic(data / "panoptic" / "panoptic.json")
    segments = {one.category_id for number in found.images for one in found.read(number, (30, 44)).segments}
    assert segments and segments <= {CAT, DOG, SKY}


def test_a_list_of_classes_of_ones_own_has_its_own_values(data, clip):
    (data / "mine.json").write_text(json.dumps(["background", "nut", "plate", "sky"]))
    run(*command(data, clip, "--classes", data / "mine.json", "--background", tags="nut,plate"))
    assert np.load(data / "out" / "scores" / "2.npz")["keys"].tolist() == [1, 2, 0]
    assert read_class_names(data / "out" / "names.json") == {0: "background", 1: "nut", 2: "plate", 3: "sky"}
    things = {one.name: one.isthing for one in read_categories(str(data / "mine.json"))}
    assert things == {"background": False, "nut": True, "plate": True, "sky": False}


def test_a_photo_without_tags_fails_alone(data, clip):
    (data / "tags.json").write_text(json.dumps({"2": ["dog"]}))
    assert "has no tags of a/1" in run(*command(data, clip), fails=1).output
    assert (data / "out" / "classes" / "2.png").is_file() and not (data / "out" / "classes" / "a" / "1.png").exists()


def test_other_tags_are_another_run(data, clip):
    run(*command(data, clip))
    (data / "tags.json").write_text(json.dumps({"a/1": ["cat"], "2": ["dog"]}))
    assert isinstance(refused(*command(data, clip)), RunError)


def test_bad_use_is_said_before_any_model_is_loaded(data, monkeypatch):
    def loaded(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(tag_options, "classes_from_tags", loaded)
    assert "unicorn" in str(refused(*command(data, "x/y", tags="cat,unicorn")))
    (data / "other.json").write_text(json.dumps({"9": ["cat"]}))
    assert "none of these 2" in str(refused(*command(data, "x/y", tags=data / "other.json")))
    assert isinstance(refused(*command(data, "x/y", "--classes", "ade")), DataError)
    assert isinstance(refused(*command(data, "x/y", "--sharpness", 0)), SettingsError)
    assert not (data / "out").exists()


def test_a_backbone_without_an_emergence_point_and_a_clip_that_is_not_there_are_refused(data, clip, tmp_path):
    assert "no diffusion model" in str(refused(*command(data, clip, "--backbone", "dinov2-base")))
    (tmp_path / "empty").mkdir()
    assert isinstance(refused(*command(data, tmp_path / "empty")), BackboneError)
    assert not (data / "out").exists()


def test_tags_stand_beside_other_masks_in_one_table(data, clip):
    run("scenes", "--seed", 1_000_000, "--count", 2, "--size", 64, "--panoptic", "-o", data / "scenes")
    truth = read_panoptic(data / "scenes" / "panoptic.json")
    for number, image in truth.images.items():  # masks of another tool: values of its own, all of the ground
        path = data / "theirs" / image.file_name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full(truth.read(number).shape, 7, np.uint8)).save(path)
    (data / "names.json").write_text(json.dumps({"7": "ground"}))
    given = ["evaluate", "panoptic", "--truth", data / "scenes", "--size", 48, "--zoom", 1, "--no-rivals"]
    sources = ["--semantic", "truth=truth", "--semantic", f"dhr={data / 'theirs'}", "--semantic", f"tags=clip:{clip}"]
    classes = ["--classes", f"dhr={data / 'names.json'}"]
    run(*given, *sources, *classes, "--json", data / "report.json")
    report = json.loads((data / "report.json").read_text())
    rows = {row["name"]: row for row in report["rows"]}
    ways = ("components of a class", "cut by our edges")
    assert list(rows) == [f"{name}, {way}" for name in ("truth", "dhr", "tags") for way in ways]
    assert rows["truth, cut by our edges"]["miou"] == 1.0 and report["miou"] == 1.0
    assert rows["dhr, cut by our edges"]["miou"] == rows["dhr, components of a class"]["miou"] < 0.5
    assert 0 < rows["tags, cut by our edges"]["miou"] < 1
    assert set(report["provenance"]["semantic"]["sources"]) == {"truth", "dhr", "tags"}


def test_semantics_that_do_not_go_together_are_refused(data, clip):
    run("scenes", "--seed", 1_000_000, "--count", 1, "--size", 64, "--panoptic", "-o", data / "scenes")
    given = ["evaluate", "panoptic", "--truth", data / "scenes"]
    assert "gives one without a name twice" in str(refused(*given, "--semantic", "truth", "--semantic", "truth"))
    assert "gives 'a' twice" in str(refused(*given, "--semantic", "a=truth", "--semantic", "a=truth"))
    assert "which is no --semantic" in str(refused(*given, "--semantic", "a=truth", "--classes", "b=x.json"))
    assert "leave --classes" in str(refused(*given, "--semantic", "truth", "--classes", "x.json"))
    assert "wants a model" in str(refused(*given, "--semantic", "t=clip:"))
    error = refused(*given, "--semantic", f"clip:{clip}", "--backbone", "dinov2-base")
    assert "no diffusion model" in str(error)


def test_the_command_refines_as_the_library_does():
    assert RefineSettings() == RefineSettings(
        steps=tag_options.STEPS, sharpness=tag_options.SHARPNESS, crf=tag_options.CRF
    )
    assert TextSimilarity(None).px == tag_options.CLIP_SIZE
