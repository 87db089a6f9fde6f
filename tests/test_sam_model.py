"""SAM and SAM 2 as tiny random networks: what goes in and comes out is transformers' own, each prompt by itself."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import tiny_sam
from tracedge.errors import BackboneError, SettingsError
from tracedge.instances import Instances
from tracedge.sam import SAM, is_sam, load_sam, sam_files
from tracedge.sam.frame import Frame
from tracedge.sam.model import AT_ONCE
from tracedge.sam.prompts import NO_POINT, Prompts, prompts_of

SIZES = [(40, 70), (90, 33), (64, 64)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tiny_sam.save_tiny(kind, tmp_path_factory.mktemp("sam") / kind) for kind in tiny_sam.KINDS}


@pytest.fixture(scope="module", params=tiny_sam.KINDS)
def sam(request, folders):
    return load_sam(folders[request.param], device="cpu")


def photo(image_hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*image_hw, 3), dtype=np.uint8)


def said(image_hw, count=3):
    """Boxes of different sizes with two points each."""
    masks = np.zeros((count, *image_hw), bool)
    for number in range(count):
        masks[number, 2 + number : 20 + number, 3 : 12 + number] = True
    return prompts_of(Instances(masks), ("box", "points", "mask"), points=2)


def logits(answers):
    return np.array([[answer.logits(m) for m in range(len(answer.ious))] for answer in answers])


@pytest.mark.parametrize("image_hw", SIZES)
def test_what_sam_is_given_and_gives_is_as_transformers_own_processor_has_it(folders, image_hw):
    from transformers import SamImageProcessorPil, SamModel, SamProcessor

    px = tiny_sam.PX
    sides = {"size": {"longest_edge": px}, "pad_size": {"height": px, "width": px}}
    processor = SamProcessor(SamImageProcessorPil(**sides))
    image, ours = photo(image_hw), load_sam(folders["sam"], device="cpu")
    prompts = said(image_hw)
    given = processor(
        image,
        input_points=[prompts.points.tolist()],
        input_labels=[prompts.labels.tolist()],
        input_boxes=[prompts.boxes.tolist()],
        return_tensors="pt",
    )
    frame = Frame(image_hw, px, stretched=False)
    assert torch.allclose(frame.pixels(image, ours.pixels), given["pixel_values"], atol=1e-5)
    assert torch.allclose(frame.coordinates(prompts.points), given["input_points"][0].float())
    assert torch.allclose(
        frame.coordinates(prompts.boxes.reshape(-1, 2, 2)).reshape(-1, 4), given["input_boxes"][0].float()
    )
    network = SamModel.from_pretrained(folders["sam"], use_safetensors=True).eval()
    sizes = given.pop("original_sizes"), given.pop("reshaped_input_sizes")
    with torch.no_grad():
        found = network(
            **{name: value.float() if value.is_floating_point() else value for name, value in given.items()}
        )
    theirs = processor.post_process_masks(found.pred_masks, *sizes, binarize=False)[0]
    answers = list(ours.look(image)(Prompts(prompts.points, prompts.labels, prompts.boxes)))
    np.testing.assert_allclose(logits(answers), theirs, atol=1e-4)
    np.testing.assert_allclose([answer.ious for answer in answers], found.iou_scores[0], atol=1e-5)


@pytest.mark.parametrize("image_hw", SIZES)
def test_what_sam_2_is_given_and_gives_is_stretched(folders, image_hw):
    """Its image processor needs torchvision; this is what it does, by other means."""
    from transformers import Sam2Model

    px, (height, width) = tiny_sam.PX, image_hw
    image, prompts = photo(image_hw), said(image_hw)
    stretched = torch.tensor(np.array(Image.fromarray(image).resize((px, px), Image.Resampling.BILINEAR))) / 255
    pixels = (stretched - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    scale = torch.tensor([px / width, px / height])
    network = Sam2Model.from_pretrained(folders["sam2"], use_safetensors=True).eval()
    with torch.no_grad():
        found = network(
            pixel_values=pixels.permute(2, 0, 1)[None],
            input_points=(torch.tensor(prompts.points) * scale)[None].float(),
            input_labels=torch.tensor(prompts.labels)[None],
            input_boxes=(torch.tensor(prompts.boxes) * scale.repeat(2))[None].float(),
        )
    theirs = F.interpolate(found.pred_masks[0], image_hw, mode="bilinear", align_corners=False)
    ours = load_sam(folders["sam2"], device="cpu")
    answers = list(ours.look(image)(Prompts(prompts.points, prompts.labels, prompts.boxes)))
    np.testing.assert_allclose(logits(answers), theirs, atol=1e-4)
    np.testing.assert_allclose([answer.ious for answer in answers], found.iou_scores[0], atol=1e-5)


def test_each_prompt_is_answered_as_if_it_were_alone(sam):
    image_hw = (48, 60)
    ask, prompts = sam.look(photo(image_hw)), said(image_hw, AT_ONCE + 3)
    prompts.labels[1, 1] = NO_POINT  # it has a point less
    together = list(ask(prompts))
    assert len(together) == len(prompts)
    for number in (0, 1, AT_ONCE, AT_ONCE + 2):
        (alone,) = ask(prompts[number : number + 1])
        np.testing.assert_allclose(logits([alone]), logits(together[number : number + 1]), atol=1e-4)
    assert np.ptp(logits(together), axis=0).max() > 1e-3  # and prompts do make a difference
    (short,) = ask(Prompts(prompts.points[1:2, :1], prompts.labels[1:2, :1], prompts.boxes[1:2], prompts.masks[1:2]))
    np.testing.assert_allclose(logits([short]), logits(together[1:2]), atol=1e-4)


@pytest.mark.parametrize("kinds", [("box",), ("points",), ("mask",), ("points", "mask"), ("box", "points", "mask")])
def test_every_combination_of_prompts_is_answered_in_the_pictures_size(sam, kinds):
    masks = np.zeros((2, 30, 50), bool)
    masks[0, 3:9, 5:20] = masks[1, 20:, 30:] = True
    answers = list(sam.look(photo((30, 50)))(prompts_of(Instances(masks), kinds)))
    assert logits(answers).shape == (2, 3, 30, 50)
    assert all(np.isfinite(answer.ious).all() and answer.ious.dtype == np.float64 for answer in answers)
    assert not np.allclose(logits(answers[:1]), logits(answers[1:]))


def test_bfloat16_answers_too(folders):
    for folder in folders.values():
        (answer,) = load_sam(folder, device="cpu", dtype=torch.bfloat16).look(photo((20, 30)))(said((20, 30), 1))
        assert answer.logits(0).dtype == np.float32


# --- files ------------------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_hub():
    assert {name: row.hub_ids[0] for name, row in SAM.items()} == {
        "sam-base": "facebook/sam-vit-base",
        "sam-large": "facebook/sam-vit-large",
        "sam-huge": "facebook/sam-vit-huge",
        "sam2.1-tiny": "facebook/sam2.1-hiera-tiny",
        "sam2.1-small": "facebook/sam2.1-hiera-small",
        "sam2.1-base-plus": "facebook/sam2.1-hiera-base-plus",
        "sam2.1-large": "facebook/sam2.1-hiera-large",
    }
    assert is_sam("sam-base") and is_sam("facebook/sam-vit-huge") and not is_sam("facebook/other")


def test_a_folder_says_which_weights_it_holds(folders):
    for kind, folder in folders.items():
        said = load_sam(folder, device="cpu").provenance
        assert (said["name"], said["source"], said["px"]) == (kind, str(folder), tiny_sam.PX)
        assert len(said["weights"]) == 16
        json.dumps(said)


def test_sam_2_as_the_hub_has_it_is_of_its_video_model(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders["sam2"], tmp_path / "sam2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "sam2_video"}))
    tensors = load_file(folder / "model.safetensors") | {"memory_encoder.extra.weight": torch.zeros(3)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    image, prompts = photo((30, 40)), said((30, 40))
    theirs, ours = (list(load_sam(one, device="cpu").look(image)(prompts)) for one in (folders["sam2"], folder))
    np.testing.assert_array_equal(logits(theirs), logits(ours))


def test_mean_and_deviation_are_those_of_the_files(folders, tmp_path):
    folder = shutil.copytree(folders["sam"], tmp_path / "sam")
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    assert load_sam(folder, device="cpu").provenance["pixels"] == {"mean": [0.5] * 3, "deviation": [0.25] * 3}


def test_other_models_and_absent_ones_are_refused_before_they_are_loaded(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("tracedge.sam.model.open_sam", lambda *_: pytest.fail("loaded"))
    folder = shutil.copytree(folders["sam"], tmp_path / "other")
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(BackboneError, match=r"of the type 'vit', expected SAM or SAM 2"):
        load_sam(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="loads no pickle"):
        load_sam(folder)
    with pytest.raises(BackboneError, match="tracedge download sam-base"):
        sam_files("sam-base", local_files_only=True, cache_dir=tmp_path)
    with pytest.raises(SettingsError, match="give one of sam-base"):
        load_sam("nothing")


def test_weights_that_do_not_fit_are_said(folders, tmp_path):
    folder = shutil.copytree(folders["sam"], tmp_path / "sam")
    config = json.loads((folder / "config.json").read_text())
    config["mask_decoder_config"]["num_hidden_layers"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"do not fit their config: .'missing_keys'"):
        load_sam(folder, device="cpu")
