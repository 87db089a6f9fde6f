"""Training of Mask2Former: it learns, it resumes to the bit, it starts from trained weights, and says what does not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny_detection import TINY, labelled, panoptic_labelled
from tracedge.detector import training
from tracedge.detector.config import DetectorConfig
from tracedge.detector.detector import Detector
from tracedge.detector.files import read_detector
from tracedge.detector.inference import DetectSettings
from tracedge.detector.labels import find_labels
from tracedge.detector.training import train_detector
from tracedge.errors import BackboneError, CheckpointError, SettingsError, TrainingError
from tracedge.tensors import read_tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def labels(folder):
    return find_labels(folder, [folder / "images"])


@pytest.fixture(scope="module")
def things_and_stuff(tmp_path_factory):
    folder = panoptic_labelled(tmp_path_factory.mktemp("panoptic"))
    return find_labels(folder, [folder / "images"])


@pytest.fixture(scope="module")
def learnt(labels, tmp_path_factory):
    """Long enough to know the squares of four photos."""
    config = replace(TINY, steps=150, batch=4, scale_low=1.0, scale_high=1.0, ema=0.9, learning_rate=3e-3)
    return train_detector(labels, config, tmp_path_factory.mktemp("learnt"), device="cpu")


def losses_of(labels, config, output, **options):
    """The loss of each step that was taken."""
    found = {}
    train_detector(labels, config, output, device="cpu", on_step=lambda at: found.update({at.step: at.loss}), **options)
    return found


def test_it_learns_the_squares(learnt, labels):
    detector = Detector.from_pretrained(learnt, settings=DetectSettings(overlapping=True, min_score=0.0), device="cpu")
    for number in range(len(labels)):
        found, truth = detector(labels[number].image), labels[number].masks
        best = [max((mask & one).sum() / (mask | one).sum() for one in found.masks) for mask in truth]
        assert min(best) > 0.6


@pytest.mark.parametrize("changed", [{}, {"ema": 0.0, "accumulate": 2, "copy_paste": 0.5}])
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(labels, tmp_path, changed):
    config = replace(TINY, **changed)
    whole = losses_of(labels, config, tmp_path / "whole")
    parts = {}
    for stop in (1, 3, None):
        parts |= losses_of(labels, config, tmp_path / "parts", until_step=stop)
    assert parts == whole and list(whole) == [1, 2, 3, 4]
    for name in ("checkpoint.safetensors", "detector/model.safetensors"):
        one, other = (read_tensors(tmp_path / run / name)[0] for run in ("whole", "parts"))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_processes_that_read_photos_change_nothing(labels, tmp_path):
    assert losses_of(labels, TINY, tmp_path / "a", workers=1) == losses_of(labels, TINY, tmp_path / "b")


def test_a_run_with_another_config_or_other_labels_is_refused(labels, things_and_stuff, tmp_path):
    train_detector(labels, TINY, tmp_path, device="cpu", until_step=1)
    with pytest.raises(CheckpointError, match="another config or other data"):
        train_detector(labels, replace(TINY, seed=1), tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match="another config or other data"):
        train_detector(things_and_stuff, TINY, tmp_path, device="cpu")


def test_the_log_of_a_resumed_run_tells_no_step_twice(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 1)
    train_detector(labels, TINY, tmp_path, device="cpu", until_step=2)
    with (tmp_path / "train.jsonl").open("a") as log:
        log.write('{"step": 3, "loss": 1}\n{"step": 4, "lo')  # after the checkpoint, and torn by the kill
    train_detector(labels, TINY, tmp_path, device="cpu")
    assert [json.loads(line)["step"] for line in (tmp_path / "train.jsonl").read_text().splitlines()] == [1, 2, 3, 4]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(labels, tmp_path, monkeypatch):
    train_detector(labels, TINY, tmp_path, device="cpu", until_step=2)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    monkeypatch.setattr(training, "stacked", lambda views, *_: np.full((len(views), 3, 64, 64), np.nan, np.float32))
    with pytest.raises(TrainingError, match="at step 2 is nan"):
        train_detector(labels, TINY, tmp_path, device="cpu")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_transformers_reads_what_was_written(learnt):
    from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

    theirs = Mask2FormerForUniversalSegmentation.from_pretrained(learnt)
    ours, card = read_detector(learnt)
    assert card.trained["steps"] == 150 and card.px == 64 and not card.panoptic
    assert theirs.config.id2label == {0: "object"}
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        classes, masks = Detector(ours, card).model(image)
        found = theirs.eval()(pixel_values=ours.pixels.standardised(image))
    torch.testing.assert_close(found.class_queries_logits.softmax(-1), classes)
    torch.testing.assert_close(found.masks_queries_logits, masks)
    assert Mask2FormerImageProcessorPil.from_pretrained(learnt).image_mean == pytest.approx([0.485, 0.456, 0.406])


def test_panoptic_labels_make_a_panoptic_detector(things_and_stuff, tmp_path):
    folder = train_detector(things_and_stuff, TINY, tmp_path, device="cpu")
    detector = Detector.from_pretrained(folder, settings=DetectSettings(min_score=0.0, visible=0.0), device="cpu")
    found = detector.panoptic(things_and_stuff[0].image)
    assert found.shape == (64, 64) and {segment.category_id for segment in found.segments} <= {3, 7}
    assert detector.card.categories == things_and_stuff.categories


def test_a_detector_of_instances_makes_no_panoptic_map(learnt):
    with pytest.raises(SettingsError, match="knows no stuff"):
        Detector.from_pretrained(learnt, device="cpu").panoptic(np.zeros((64, 64, 3), np.uint8))


def test_maps_have_the_photos_own_size(learnt):
    detector = Detector.from_pretrained(learnt, device="cpu")
    shapes = [(50, 80), (97, 33), (64, 64)]
    found = detector([np.zeros((*hw, 3), np.uint8) for hw in shapes])
    assert [one.shape for one in found] == shapes


def test_a_round_of_self_training_starts_from_a_detectors_weights(learnt, labels, things_and_stuff, tmp_path):
    config = replace(TINY, steps=1, learning_rate=1e-9)
    again = train_detector(labels, config, tmp_path / "again", start=learnt, device="cpu")
    one, other = (read_tensors(folder / "model.safetensors")[0] for folder in (learnt, again))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    with pytest.raises(CheckpointError, match="knows 1 classes, the labels have 2"):
        train_detector(things_and_stuff, TINY, tmp_path / "other", start=learnt, device="cpu")


def saved_backbone(kind, folder):
    from transformers import ResNetConfig, ResNetModel, SwinConfig, SwinModel

    torch.manual_seed(3)
    if kind == "resnet":
        config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], layer_type="basic")
        ResNetModel(config).save_pretrained(folder)
    else:
        sizes = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2]}
        SwinModel(SwinConfig(image_size=64, window_size=4, **sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["resnet", "swin"])
def test_training_starts_from_the_weights_of_a_backbone(kind, labels, tmp_path):
    folder = saved_backbone(kind, tmp_path / kind)
    config = replace(TINY, backbone=str(folder), backbone_rate=0.0, steps=2, weight_decay=0.0)
    output = train_detector(labels, config, tmp_path / "run", device="cpu")
    theirs, ours = read_tensors(folder / "model.safetensors")[0], read_tensors(output / "model.safetensors")[0]
    prefix = "model.pixel_level_module.encoder."
    kept = [name.removeprefix(prefix) for name in ours if name.startswith(prefix)]
    shared = [name for name in kept if name in theirs]
    assert len(shared) > 10
    # Batch statistics too: they stay those of the trained weights.
    assert all(torch.equal(ours[prefix + name], theirs[name]) for name in shared)
    _, card = read_detector(output)
    assert card.trained["start"]["backbone"]["source"] == str(folder)


def test_a_backbone_of_another_kind_is_refused(labels, tmp_path):
    from tiny_vision import save_tiny

    config = replace(TINY, backbone=str(save_tiny("vit", tmp_path / "vit")))
    with pytest.raises(BackboneError, match="one of resnet, swin"):
        train_detector(labels, config, tmp_path / "run", device="cpu")


def test_a_folder_that_is_no_detector_is_refused(tmp_path):
    from tiny_vision import save_tiny

    for name in (tmp_path, save_tiny("vit", tmp_path / "vit")):
        with pytest.raises(CheckpointError, match="detector"):
            Detector.from_pretrained(name, device="cpu")


def plain_mask2former(folder, names):
    """As a Mask2Former of the hub stands on the disk: without a card of ours."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    swin = SwinConfig(
        image_size=64, window_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=5,
        id2label=dict(enumerate(names)), label2id={name: place for place, name in enumerate(names)},
    )  # fmt: skip
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    return folder


def test_a_mask2former_of_the_hub_knows_cocos_classes_by_name(tmp_path):
    folder = plain_mask2former(tmp_path / "hub", ["person", "sky-other-merged", "potted plant"])
    detector = Detector.from_pretrained(folder, settings=DetectSettings(min_score=0.0, visible=0.0), device="cpu")
    assert [(one.id, one.isthing) for one in detector.card.categories] == [(1, True), (187, False), (64, True)]
    found = detector.panoptic(np.zeros((40, 60, 3), np.uint8))
    assert {one.category_id for one in found.segments} <= {1, 187, 64}
    with pytest.raises(CheckpointError, match=r"no Mask2Former of COCO.*unicorn"):
        Detector.from_pretrained(plain_mask2former(tmp_path / "other", ["person", "unicorn"]), device="cpu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"px": 100},
        {"width": 48},
        {"steps": 0},
        {"scale_low": 2.0, "scale_high": 1.0},
        {"copy_paste": 1.5},
        {"learning_rate": 0.0},
        {"precision": "fp16"},
        {"decoder_layers": 1},
        {"seed": -1},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError):
        DetectorConfig(**wrong)
