"""What a vision model is given for a pixel, and at which size, is what its own files say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_vision
from tracedge.backbones.vision import load_vision
from tracedge.backbones.vision.files import vision_files
from tracedge.backbones.vision.pixels import IMAGENET, OPENAI, pixels_of
from tracedge.backbones.vision.transformer import FAMILIES
from tracedge.errors import BackboneError

MEAN, DEVIATION = [0.1, 0.25, 0.7], [0.9, 0.3, 2.0]
PROCESSORS = {
    "vit": "ViTImageProcessorPil",
    "dinov2": "BitImageProcessorPil",
    "dinov3_vit": None,  # transformers' own needs torchvision: its file is written by hand
    "clip": "CLIPImageProcessorPil",
    "qwen2_5_vl": "Qwen2VLImageProcessorPil",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """kind -> a folder with a model and no file of a processor. Read only."""
    root = tmp_path_factory.mktemp("vision")
    return {kind: tiny_vision.save_tiny(kind, root / kind) for kind in PROCESSORS}


@pytest.fixture
def folder(tiny, tmp_path):
    """kind -> a copy in which files can be added; the weights are links."""

    def copy(kind: str) -> Path:
        for file in tiny[kind].iterdir():
            (tmp_path / file.name).symlink_to(file)
        return tmp_path

    return copy


def processor_of(kind: str, **more: object):
    import transformers

    own = {"patch_size": 4} if kind == "qwen2_5_vl" else {}
    return getattr(transformers, PROCESSORS[kind])(do_resize=False, **own, **more)


def given_to(model, images: torch.Tensor) -> torch.Tensor:
    """What the network is called with."""
    seen: list[torch.Tensor] = []
    handle = model.network.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    model.forward(images)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("kind", [kind for kind, name in PROCESSORS.items() if name])
@pytest.mark.parametrize(
    "more",
    [
        {"image_mean": MEAN, "image_std": DEVIATION},
        {"image_mean": MEAN, "image_std": DEVIATION, "rescale_factor": 1 / 127.5},
        {"image_mean": [90.0, 80.0, 70.0], "image_std": [50.0, 60.0, 70.0], "do_rescale": False},
        {"do_normalize": False},
    ],
    ids=lambda more: next(reversed(more)),
)
def test_a_model_is_given_what_its_own_processor_gives(folder, kind, more):
    processor = processor_of(kind, **more)
    place = folder(kind)
    processor.save_pretrained(place)
    assert (place / "preprocessor_config.json").is_file()
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    centre = {} if kind == "qwen2_5_vl" else {"do_center_crop": False}
    expected = torch.as_tensor(np.array(processor(picture, **centre, return_tensors="np")["pixel_values"]))
    found = given_to(load_vision(place, device="cpu"), torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", PROCESSORS)
def test_the_file_decides_and_without_one_the_family(folder, tiny, kind):
    plain = load_vision(tiny[kind], device="cpu")
    assert plain.pixels == (OPENAI if kind in ("clip", "qwen2_5_vl") else IMAGENET)
    place = folder(kind)
    (place / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": DEVIATION}))
    model = load_vision(place, device="cpu")
    assert (list(model.pixels.mean), list(model.pixels.deviation)) == (MEAN, DEVIATION)
    assert model.settings["pixels"] == {"mean": MEAN, "deviation": DEVIATION}
    assert plain.settings["pixels"] != model.settings["pixels"]  # other edges: a run is not resumed


def test_a_processor_of_the_whole_model_comes_first(folder):
    place = folder("clip")
    (place / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": 1}))
    (place / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    assert load_vision(place, device="cpu").pixels.deviation == (1.0, 1.0, 1.0)
    whole = {"image_processor": {"image_mean": 0.5, "image_std": DEVIATION}}
    (place / "processor_config.json").write_text(json.dumps(whole))
    assert load_vision(place, device="cpu").pixels.mean == (0.5, 0.5, 0.5)
    (place / "processor_config.json").write_text(json.dumps({"image_processor": 3}))
    with pytest.raises(BackboneError, match="image_processor that is no table"):
        vision_files(place)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"image_std": DEVIATION}, "image_mean None"),
        ({"image_mean": MEAN}, "image_std None"),
        ({"image_mean": MEAN[:2], "image_std": DEVIATION}, "image_mean"),
        ({"image_mean": [*MEAN[:2], "0"], "image_std": DEVIATION}, "image_mean"),
        ({"image_mean": [*MEAN[:2], math.nan], "image_std": DEVIATION}, "image_mean"),
        ({"image_mean": MEAN, "image_std": [1, 0, 1]}, "image_std"),
        ({"image_mean": MEAN, "image_std": DEVIATION, "do_normalize": "yes"}, "do_normalize 'yes'"),
        ({"image_mean": MEAN, "image_std": DEVIATION, "rescale_factor": 0}, "rescale_factor 0"),
    ],
)
def test_a_wrong_or_missing_key_is_said_in_a_sentence(said, key):
    with pytest.raises(BackboneError, match=f"^some/model: its image processor has {key}.*, expected "):
        pixels_of(said, "some/model", IMAGENET)


def test_sizes_are_those_of_the_config(folder, tiny):
    for kind in FAMILIES.keys() & tiny.keys():
        assert load_vision(tiny[kind], device="cpu").px == (64 if kind == "dinov3_vit" else 32)
    place = folder("vit")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").unlink()
    (place / "config.json").write_text(json.dumps(config | {"image_size": [32, 32]}))
    assert load_vision(place, device="cpu").px == 32
    (place / "config.json").write_text(json.dumps(config | {"image_size": [16, 64]}))
    with pytest.raises(
        BackboneError, match=r"image_size \[16, 64\], expected a whole number|cannot be loaded|do not fit"
    ):
        load_vision(place, device="cpu")


def test_qwens_processor_limits_the_size_and_must_fit_the_tower(folder):
    place = folder("qwen2_5_vl")
    said = {"image_mean": MEAN, "image_std": DEVIATION, "patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    file = place / "preprocessor_config.json"
    for limit, px in ({"max_pixels": 12845056}, 1008), ({"max_pixels": 10000}, 96), ({"size": {"longest_edge": 81}}, 8):
        file.write_text(json.dumps(said | limit))
        assert load_vision(place, device="cpu").px == px
    for wrong, sentence in (
        ({"patch_size": 14}, "patch_size 14, but its config has patch_size 4"),
        ({"merge_size": 1}, "merge_size 1, but its config has spatial_merge_size 2"),
        ({"max_pixels": "many"}, "max_pixels 'many', expected a number of pixels, 64 or more"),
    ):
        file.write_text(json.dumps(said | wrong))
        with pytest.raises(BackboneError, match=sentence):
            load_vision(place, device="cpu")
