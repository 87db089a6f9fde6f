"""CLIP and SigLIP: texts and tokens in one space, read off the weights as the top of the file says; what is missing is said."""

import fnmatch
import json
import math
import shutil

import huggingface_hub
import pytest
import torch
import torch.nn.functional as F
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError
from typer.testing import CliRunner

import tiny_image_text
from tracedge.backbones.image_text import IMAGE_TEXT, load_image_text
from tracedge.backbones.image_text.network import _plain
from tracedge.cli import app
from tracedge.errors import BackboneError, SettingsError


@pytest.fixture(scope="module", params=tiny_image_text.KINDS)
def folder(request, tmp_path_factory):
    return tiny_image_text.save_tiny(request.param, tmp_path_factory.mktemp(request.param) / request.param)


def picture(height=24, width=40, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_texts_and_tokens_are_unit_vectors_of_one_space(folder):
    model = load_image_text(folder, device="cpu")
    texts, tokens = model.texts(["a cat.", "a dog, and a very long sentence " * 9]), model.tokens(picture())
    assert tokens.shape == (1, 3 * 5, texts.shape[1]) and texts.shape[0] == 2
    for vectors in (texts, tokens):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))
    assert model.scale == pytest.approx(math.exp(3)) and model.patch == 8


def test_a_text_is_what_the_models_own_forward_pass_makes_of_it(folder):
    model = load_image_text(folder, device="cpu")
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    full = {"padding": "max_length", "max_length": 64} if kind == "siglip" else {}
    sentence = "a photo of a cat" if kind == "siglip" else "a photo of a cat."
    given = tokenizer([sentence], return_tensors="pt", **full).input_ids
    pixels = torch.zeros(1, 3, 32, 32)
    expected = model.network(input_ids=given, pixel_values=pixels).text_embeds
    torch.testing.assert_close(model.texts(["a photo of a cat."]), expected)


def test_each_text_is_by_itself_whatever_else_is_asked(folder):
    model = load_image_text(folder, device="cpu")
    both = model.texts(["a cat.", "a much longer sentence about dogs."])
    torch.testing.assert_close(both[:1], model.texts(["a cat."]))


def test_siglips_only_token_is_what_it_pools(tmp_path):
    model = load_image_text(tiny_image_text.save_tiny("siglip", tmp_path / "m"), device="cpu")
    one = picture(8, 8)  # one token: pooling it is reading it
    pixels = model.pixels.standardised(one)
    pooled = model.network.vision_model(pixels, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(model.tokens(one)[0], F.normalize(pooled, dim=-1))


def test_clips_tokens_are_the_mean_of_the_values_of_tokens_like_them(tmp_path):
    model = load_image_text(tiny_image_text.save_tiny("clip", tmp_path / "m"), device="cpu")
    network, image = model.network, picture()
    states = network.vision_model(
        model.pixels.standardised(image), interpolate_pos_encoding=True, output_hidden_states=True
    ).hidden_states
    last = network.vision_model.encoder.layers[-1]
    normed = last.layer_norm1(states[-2])[0, 1:]
    found = []
    for head in range(4):
        rows = slice(8 * head, 8 * head + 8)
        queries, values = (project(normed)[:, rows] for project in (last.self_attn.q_proj, last.self_attn.v_proj))
        found.append(((queries @ queries.T) / math.sqrt(8)).softmax(-1) @ values)
    out = network.vision_model.post_layernorm(last.self_attn.out_proj(torch.cat(found, -1)))
    expected = F.normalize(network.visual_projection(out), dim=-1)
    torch.testing.assert_close(model.tokens(image)[0], expected)


def test_provenance_tells_weights_of_one_name_apart(folder, tmp_path):
    said = load_image_text(folder, device="cpu").settings
    assert said["name"] == folder.name and said["revision"] is None and len(said["weights"]) == 16
    other = shutil.copytree(folder, tmp_path / folder.name)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert load_image_text(other, device="cpu").settings["weights"] != said["weights"]


def test_siglip_is_asked_in_small_letters_without_punctuation():
    assert _plain("A photo, of a  Cat.") == "a photo of a cat"


def test_what_is_missing_is_said(folder, tmp_path):
    there = shutil.copytree(folder, tmp_path / "m")
    (there / "tokenizer.json").unlink()
    with pytest.raises(BackboneError, match=r"no tokenizer: expected tokenizer\.json"):
        load_image_text(there, device="cpu")
    (there / "tokenizer.json").write_text("{}")
    with pytest.raises(BackboneError, match="its tokenizer cannot be read"):
        load_image_text(there, device="cpu")
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
    with pytest.raises(BackboneError, match="of the type 'vit', expected one of clip, siglip"):
        load_image_text(there, device="cpu")
    (there / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="no pickle"):
        load_image_text(there, device="cpu")
    with pytest.raises(SettingsError, match=f"give one of {next(iter(IMAGE_TEXT))}"):
        load_image_text("nothing", device="cpu")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has one tiny CLIP under any name; gives the patterns that were asked of the network, call by call."""
    there, snapshot = tiny_image_text.save_tiny("clip", tmp_path / "there"), tmp_path / "cache" / ("c0ffee" * 7)[:40]
    asked = []

    def snapshot_download(hub_id, *, revision=None, cache_dir=None, local_files_only=False, allow_patterns=()):
        if local_files_only and not snapshot.is_dir():
            raise LocalEntryNotFoundError("not in the cache")
        if not local_files_only:
            asked.append(list(allow_patterns))
            snapshot.mkdir(parents=True, exist_ok=True)
            for path in there.iterdir():
                if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                    shutil.copy(path, snapshot)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_name_is_fetched_with_its_tokenizer_once(hub):
    assert "files" in CliRunner().invoke(app, ["download", "clip-base16"]).output
    calls = len(hub)
    model = load_image_text("clip-base16", device="cpu", local_files_only=True)
    assert len(hub) == calls  # what is here is not asked for again
    assert model.settings["revision"] == ("c0ffee" * 7)[:40]
    assert model.settings["source"] == IMAGE_TEXT["clip-base16"].hub_ids[0]


def test_a_tower_that_was_fetched_alone_gets_its_tokenizer_when_it_is_needed(hub):
    from tracedge.backbones.vision import load_vision

    load_vision("clip-base16", device="cpu")
    with pytest.raises(BackboneError, match="has no tokenizer"):
        load_image_text("clip-base16", device="cpu", local_files_only=True)
    assert load_image_text("clip-base16", device="cpu").texts(["a"]).shape == (1, 16)
