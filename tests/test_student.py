"""The student that comes out of a distillation: loaded, saved, pushed, refused where it does not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

import tracedge
from tiny_distillation import TINY, mini, square_labels
from tracedge.backbones import load_backbone
from tracedge.backbones.mini import save_mini
from tracedge.errors import CheckpointError, SettingsError
from tracedge.student.files import FACTS, WEIGHTS
from tracedge.student.predictor import EdgePredictor
from tracedge.student.pseudo_labels import PseudoLabels
from tracedge.student.training import distill


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return square_labels(tmp_path_factory.mktemp("pseudo"))


@pytest.fixture(scope="module")
def student(labels, tmp_path_factory):
    config = replace(TINY, steps=40, batch=4, learning_rate=1e-2)
    return distill(labels, mini(), config, tmp_path_factory.mktemp("run"))


def photo(height=40, width=56):
    image = np.full((height, width, 3), 40, np.uint8)
    image[8:30, 10:40] = (200, 60, 60)
    return image


def test_what_is_loaded_equals_what_was_trained(labels, tmp_path):
    outputs = []

    def remember(_, predictor):
        outputs.append(predictor(photo()).edges)
        return {}

    folder = distill(labels, mini(), replace(TINY, adapter_rate=0.05), tmp_path, on_checkpoint=remember)
    merged = EdgePredictor.from_pretrained(folder, device="cpu")(photo()).edges
    assert outputs[0].max() > 0
    np.testing.assert_allclose(merged, outputs[0], atol=2e-4)


def test_edges_have_the_pictures_size_whatever_it_is(student):
    predictor = EdgePredictor.from_pretrained(student, device="cpu")
    for height, width in ((1, 1), (3, 50), (97, 31)):
        found = predictor(np.zeros((height, width, 3), np.uint8))
        assert found.shape == (height, width)
        assert found.timestep is None
    assert found.settings["predictor"] == "student"


def test_thin_edges_are_ridges_of_the_soft_ones(student):
    soft, thin = (
        EdgePredictor.from_pretrained(student, device="cpu", thin=thin)(photo()).edges for thin in (False, True)
    )
    assert (thin > 0).sum() < (soft > 0).sum()
    assert np.array_equal(thin[thin > 0], soft[thin > 0])


def test_a_batch_gives_what_each_picture_gives_alone(student):
    predictor = EdgePredictor.from_pretrained(student, device="cpu")
    pictures = [photo(), photo(48, 40), photo()[::-1].copy()]
    for one, found in zip(pictures, predictor(pictures), strict=True):
        np.testing.assert_allclose(found.edges, predictor(one).edges, atol=1e-5)


def test_zoom_reads_tiles_as_well_and_keeps_the_size(student):
    whole, zoomed = (EdgePredictor.from_pretrained(student, device="cpu", zoom=zoom) for zoom in (1, 2))
    found = zoomed(photo(60, 90))
    assert found.shape == (60, 90)
    assert not np.array_equal(found.edges, whole(photo(60, 90)).edges)
    with pytest.raises(SettingsError, match="zoom"):
        EdgePredictor.from_pretrained(student, device="cpu", zoom=0)


def test_the_detector_gives_a_picture_of_the_same_size_white_on_black(student):
    detect = EdgePredictor.from_pretrained(student, device="cpu").as_detector()
    found = detect(Image.fromarray(photo()))
    assert (found.size, found.mode) == ((56, 40), "RGB")


def test_a_saved_student_is_the_same_student(student, tmp_path):
    predictor = EdgePredictor.from_pretrained(student, device="cpu")
    predictor.save_pretrained(tmp_path / "copy")
    again = EdgePredictor.from_pretrained(tmp_path / "copy", device="cpu")
    assert again.provenance == predictor.provenance
    assert np.array_equal(again(photo()).edges, predictor(photo()).edges)
    card = (tmp_path / "copy" / "README.md").read_text()
    assert "Apache-2.0" in card
    assert "base_model: mini" in card


def test_it_can_be_pushed_to_the_hub(student, monkeypatch):
    calls = []

    class Hub:
        def __init__(self, token=None):
            pass

        def create_repo(self, hub_id, **options):
            calls.append((hub_id, options))

        def upload_folder(self, *, folder_path, **options):
            from pathlib import Path

            calls.append((sorted(path.name for path in Path(folder_path).iterdir()), options))
            return "https://hub/commit"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert EdgePredictor.from_pretrained(student, device="cpu").push_to_hub("me/edges") == "https://hub/commit"
    assert calls[0][0] == "me/edges"
    assert calls[1][0] == ["README.md", FACTS, WEIGHTS]


def test_a_student_fits_no_other_weights(student):
    other = mini()
    other.settings = {**other.settings, "weights": "another"}
    with pytest.raises(CheckpointError, match="distilled from"):
        EdgePredictor.from_pretrained(student, backbone=other)


def test_the_weights_carry_the_facts_so_no_kill_between_two_files_can_mix_students(student, tmp_path):
    EdgePredictor.from_pretrained(student, device="cpu").save_pretrained(tmp_path)
    facts = json.loads((tmp_path / FACTS).read_text())
    (tmp_path / FACTS).write_text(json.dumps(facts | {"size": 99}))  # of a write that was cut off
    assert EdgePredictor.from_pretrained(tmp_path, device="cpu").card.size == facts["size"] != 99


def test_a_full_disk_is_said_and_leaves_the_old_student(student, tmp_path, monkeypatch):
    predictor = EdgePredictor.from_pretrained(student, device="cpu")
    predictor.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("tracedge.tensors.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        predictor.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_inference_size_does_not_change_the_card(student, tmp_path):
    EdgePredictor.from_pretrained(student, device="cpu", size=32).save_pretrained(tmp_path)
    assert EdgePredictor.from_pretrained(tmp_path, device="cpu").size == 24


def test_a_model_that_a_student_was_merged_into_takes_no_other(student):
    model = mini()
    EdgePredictor.from_pretrained(student, backbone=model)
    with pytest.raises(CheckpointError, match="load the model anew"):
        EdgePredictor.from_pretrained(student, backbone=model)


def test_a_student_of_a_model_of_ones_own_finds_it_by_its_folder(labels, tmp_path):
    shipped = Path(tracedge.__file__).parent / "weights" / "mini"
    shutil.copytree(shipped, tmp_path / "mini")  # even under this name
    own = load_backbone(tmp_path / "mini", device="cpu")
    with torch.no_grad():
        own.network.proj_out.bias.add_(0.01)
    save_mini(tmp_path / "mini", own.network, json.loads((shipped / "mini.json").read_text()))
    own = load_backbone(tmp_path / "mini", device="cpu")
    assert own.settings["weights"] != mini().settings["weights"]
    pseudo = tmp_path / "pseudo"
    shutil.copytree(labels[0].folder, pseudo)
    (pseudo / "settings.json").write_text(json.dumps(labels[0].provenance | {"backbone": own.settings}))
    found = distill([PseudoLabels(pseudo)], own, replace(TINY, steps=1), tmp_path / "run")
    assert EdgePredictor.from_pretrained(found, device="cpu")(photo()).shape == (40, 56)


@pytest.mark.parametrize("name", ["nothing", "./nothing/here", "a/b/c"])
def test_what_is_no_student_is_said(name):
    with pytest.raises(SettingsError, match="tracedge distill"):
        EdgePredictor.from_pretrained(name)


def test_a_folder_without_a_student_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="does not hold a student"):
        EdgePredictor.from_pretrained(tmp_path)
