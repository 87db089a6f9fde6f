"""The null prompt is encoded once, by the model's own text encoders; after that they are neither needed nor loaded."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import tiny_models
from tracedge.backbones import hub, load_backbone, null_text, text_encoders
from tracedge.backbones.loading import Place
from tracedge.backbones.null_text import NullText, load_null_text
from tracedge.errors import BackboneError, CheckpointError
from tracedge.tensors import read_tensors

CPU = Place(torch.device("cpu"), torch.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "null-text"


def forbid_text_encoders(monkeypatch) -> None:
    def fail(*_, **__):
        raise AssertionError("a text encoder was loaded")

    for name in ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel", "CLIPTokenizer", "T5Tokenizer"):
        monkeypatch.setattr(f"transformers.{name}.from_pretrained", fail)


@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_text_encoders_are_not_loaded_once_the_file_is_there(tiny_folder, cache, monkeypatch, kind):
    first = load_backbone(tiny_folder(kind), device="cpu").null_text
    assert len(list(cache.iterdir())) == 1
    forbid_text_encoders(monkeypatch)
    second = load_backbone(tiny_folder(kind), device="cpu").null_text
    for name in ("embeds", "pooled", "mask"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None) == (other is None) and (one is None or torch.equal(one, other))


def test_no_socket_is_opened(tiny_folder, cache, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", fail)
    monkeypatch.setattr("socket.getaddrinfo", fail)
    load_backbone(tiny_folder("flux-schnell"), device="cpu")


def test_each_dtype_has_its_own_file_and_says_what_it_is_of(tiny_folder, cache):
    files = hub.local_pipeline(tiny_folder("sdxl"))
    load_null_text(files, "stable-diffusion", where=CPU)
    half = load_null_text(files, "stable-diffusion", where=Place(torch.device("cpu"), torch.bfloat16))
    assert half.embeds.dtype == half.pooled.dtype == torch.bfloat16
    tables = [read_tensors(path)[1] for path in cache.iterdir()]
    assert sorted(table["dtype"] for table in tables) == ["bfloat16", "float32"]
    assert {table["source"] for table in tables} == {str(tiny_folder("sdxl").resolve())}


def test_another_text_encoder_in_the_folder_is_another_embedding(tiny_folder, cache, tmp_path):
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "model")
    load_null_text(hub.local_pipeline(folder), "stable-diffusion", where=CPU)
    path = folder / "text_encoder" / "config.json"
    path.write_text(path.read_text().replace('"attention_dropout": 0.0', '"attention_dropout": 0.5'))  # of equal length
    load_null_text(hub.local_pipeline(folder), "stable-diffusion", where=CPU)
    assert len(list(cache.iterdir())) == 2


def test_the_stand_in_for_the_tokenizer_of_t5_says_what_the_tokenizer_says():
    theirs, ours = tiny_models.t5_tokenizer(), text_encoders.EmptyPromptForT5(tiny_models.t5().config)
    for options in ({"padding": "max_length", "max_length": 7, "truncation": True}, {"padding": "longest"}):
        one, other = theirs([""], return_tensors="pt", **options), ours([""], return_tensors="pt", **options)
        assert torch.equal(one.input_ids, other.input_ids) and torch.equal(one.attention_mask, other.attention_mask)


def test_the_tokenizer_of_t5_is_not_needed(tiny_folder, cache, tmp_path):
    folder = shutil.copytree(tiny_folder("pixart-alpha"), tmp_path / "model")
    shutil.rmtree(folder / "tokenizer")
    assert load_backbone(folder, device="cpu").null_text.embeds.shape[1] == 120


def test_the_mask_of_pixart_leaves_only_the_end_of_the_text(tiny_backbone):
    mask = tiny_backbone("pixart-alpha").null_text.mask
    assert mask.shape == (1, 120) and mask.sum() == 1 and mask[0, 0] == 1


def test_sd3_without_t5_has_zeros_in_its_place_and_with_it_has_not(tiny_backbone):
    without, with_t5 = (tiny_backbone(kind).null_text.embeds for kind in ("sd35-medium", "sd3"))
    assert without.shape == with_t5.shape == (1, 77 + 256, 3 * tiny_models.WIDTH)
    assert not without[:, 77:].any() and bool(with_t5[:, 77:].any())
    assert bool(without[:, :77].any())


def test_a_pickle_of_a_text_encoder_is_refused(tiny_folder, cache, tmp_path):
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "model")
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"text_encoder/ is not there or not whole.*loads no pickle"):
        load_backbone(folder, device="cpu")


def test_a_text_encoder_without_all_its_weights_is_refused(tiny_folder, cache, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_folder("pixart-sigma"), tmp_path / "model")
    path = folder / "text_encoder" / "model.safetensors"
    weights = {name: weight for name, weight in load_file(path).items() if "final_layer_norm" not in name}
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(BackboneError, match=r"text_encoder/ lacks the weights .*final_layer_norm"):
        load_backbone(folder, device="cpu")


def test_only_known_text_classes_are_loaded_whatever_the_file_says(tiny_folder, cache, tmp_path):
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "model")
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text_encoder": ["transformers", "AutoModel"]}))
    with pytest.raises(BackboneError, match="text_encoder/ is a AutoModel, expected one of"):
        load_backbone(folder, device="cpu")


def test_a_broken_file_in_the_cache_is_an_error_that_names_it(tiny_folder, cache):
    load_backbone(tiny_folder("sd15"), device="cpu")
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match=path.name):
        load_backbone(tiny_folder("sd15"), device="cpu")


def test_repeating_gives_every_image_the_same(monkeypatch):
    text = NullText(torch.ones(1, 5, 2), torch.ones(1, 3), torch.ones(1, 5)).repeat(4)
    assert text.embeds.shape == (4, 5, 2) and text.pooled.shape == (4, 3) and text.mask.shape == (4, 5)
    assert NullText(torch.ones(1, 5, 2)).repeat(4).pooled is None


def test_the_cache_is_in_the_home_folder_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("TRACEDGE_CACHE")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(null_text.cache_folder()) == "/home/someone/.cache/tracedge"
    monkeypatch.setenv("TRACEDGE_CACHE", "/data/cache")
    assert str(null_text.cache_folder()) == "/data/cache"


def test_every_kind_that_a_family_asks_for_can_be_encoded():
    assert set(text_encoders.ENCODE) == {"stable-diffusion", "stable-diffusion-3", "flux", "pixart"}
