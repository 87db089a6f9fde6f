"""Token features are the keys of a network's last self-attention, of the whole image."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tracedge.attention import record_attention
from tracedge.backbones import load_backbone
from tracedge.backbones.vision import load_vision
from tracedge.errors import BackboneError, RecordingError, SettingsError
from tracedge.proposals.features import BackboneFeatures, DinoFeatures, last_keys


@pytest.fixture(scope="module")
def tiny_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ViT of 3 layers for 4 x 4 patches of 8 pixels, as transformers saves one (with the hub's old names)."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("models") / "tiny-dino"
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ViTModel(ViTConfig(**sizes, image_size=32, patch_size=8))
        for weight in network.parameters():
            weight.data.add_(torch.randn_like(weight) * 0.1)
    network.save_pretrained(folder)
    return folder


def keys_by_hand(network, pixels: torch.Tensor) -> torch.Tensor:
    """Keys of the last layer (1, 1 + N, D): each layer written out with the module's weights."""
    patches = F.conv2d(pixels, network.embeddings.patch_embeddings.projection.weight, stride=8)
    patches = patches + network.embeddings.patch_embeddings.projection.bias[:, None, None]
    places = network.embeddings.position_embeddings
    grid = places[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    grid = F.interpolate(grid, patches.shape[-2:], mode="bicubic", align_corners=False)
    tokens = (patches + grid).flatten(2).transpose(1, 2)
    tokens = torch.cat([network.embeddings.cls_token + places[:, :1], tokens], dim=1)
    for layer in network.layers:
        normed = layer.layernorm_before(tokens)
        query, key, value = (
            getattr(layer.attention, name)(normed).unflatten(2, (4, 8)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        mixed = (query @ key.transpose(2, 3) / 8**0.5).softmax(dim=-1) @ value
        tokens = tokens + layer.attention.o_proj(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + layer.mlp(layer.layernorm_after(tokens))
    return key.transpose(1, 2).flatten(2)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_dinos_features_are_the_keys_of_its_last_layer_without_cls(tiny_dino):
    from PIL import Image

    features = DinoFeatures(tiny_dino, px=48, device="cpu", local_files_only=True)
    image = photo(40, 70)
    square = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.LANCZOS)) / 255
    standard = (square - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    pixels = torch.tensor(standard, dtype=torch.float32).permute(2, 0, 1)[None]
    expected = keys_by_hand(features.model.network, pixels)[0, 1:].reshape(6, 6, 32).numpy()
    assert features(image).dtype == np.float32
    assert np.allclose(features(image), expected, atol=1e-4)
    assert np.array_equal(features(image), features(image))


def test_features_leave_no_hook_behind_even_if_the_network_fails(tiny_dino):
    model = load_vision(tiny_dino, device="cpu")

    def hooks() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.network.modules())

    before = hooks()
    DinoFeatures(model, px=32)(photo(32, 32))
    with pytest.raises(ZeroDivisionError):
        last_keys(model, (32, 32), lambda: model.forward(torch.zeros(1, 3, 32, 32)) if 1 / 0 else None)
    assert hooks() == before
    with pytest.raises(RecordingError, match="3 self-attention blocks but 0"):
        last_keys(model, (32, 32), lambda: None)


def test_what_the_features_depend_on_is_said(tiny_dino, tmp_path):
    said = DinoFeatures(tiny_dino, px=48, device="cpu").provenance
    assert said["px"] == 48
    assert said["model"]["source"] == str(tiny_dino.resolve())
    other = shutil.copytree(tiny_dino, tmp_path / "copy")
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    assert DinoFeatures(other, px=48, device="cpu").provenance["model"]["weights"] != said["model"]["weights"]


def test_models_that_cannot_be_had_are_refused_in_a_sentence(tiny_dino, tmp_path):
    with pytest.raises(SettingsError, match="give one of dino-vitb8"):
        load_vision("dino")
    with pytest.raises(BackboneError, match=r"local_files_only forbids .* `tracedge download dino-vits8`"):
        load_vision("dino-vits8", local_files_only=True, cache_dir=tmp_path)
    with pytest.raises(BackboneError, match="not in the cache and the hub cannot be reached"):
        load_vision("dino-vits8", cache_dir=tmp_path)  # the tests are offline
    with pytest.raises(BackboneError, match=r"no config.json and model.safetensors"):
        load_vision(tmp_path)
    with pytest.raises(SettingsError, match="multiple of the patch"):
        DinoFeatures(tiny_dino, px=50, device="cpu")
    other = shutil.copytree(tiny_dino, tmp_path / "other")
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"vit"', '"swin"'))
    with pytest.raises(BackboneError, match="'swin', expected one of vit, dinov2"):
        load_vision(other)
    (other / "config.json").write_text(config.replace('"num_hidden_layers": 3', '"num_hidden_layers": 4'))
    with pytest.raises(BackboneError, match="do not fit their config"):
        load_vision(other)
    (other / "config.json").write_text("{")
    with pytest.raises(BackboneError, match="not readable JSON"):
        load_vision(other)


def test_a_vits_attention_can_be_recorded_like_a_diffusion_models(tiny_dino):
    model = load_vision(tiny_dino, device="cpu")

    class Grids:
        seen: list[tuple[str, tuple[int, int]]] = []  # noqa: RUF012

        def add(self, call) -> None:
            self.seen.append((call.block, call.grid_hw))

    with record_attention(model, (40, 24), Grids()) as taken:
        model.forward(torch.zeros(1, 3, 40, 24))
    assert taken.seen == [(f"layers.{i}.attention", (5, 3)) for i in range(3)]


def test_a_backbones_features_are_the_keys_of_its_last_block_on_the_clean_picture():
    backbone = load_backbone("mini", device="cpu")
    image = photo(48, 64)
    seen = {}
    block = backbone.network.get_submodule(backbone.attention_blocks[-1])
    handle = block.to_k.register_forward_hook(lambda module, args, out: seen.update(keys=out))
    latents = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    backbone.denoise(latents, torch.zeros(1))
    handle.remove()
    features = BackboneFeatures(backbone, px=64)
    found = features(image)
    assert found.shape == (12, 16, seen["keys"].shape[-1])
    assert np.allclose(found, seen["keys"][0].reshape(found.shape).numpy(), atol=1e-5)
    assert features.provenance["model"] == backbone.settings
    assert backbone.attention_blocks[-1] in features.provenance["features"]


@pytest.mark.parametrize(
    ("image_hw", "grid_hw"), [((33, 90), (6, 16)), ((90, 33), (16, 6)), ((5, 500), (1, 16)), ((64, 64), (16, 16))]
)
def test_a_backbones_tokens_share_the_whole_image(image_hw, grid_hw):
    assert BackboneFeatures("mini", px=64, device="cpu")(photo(*image_hw)).shape[:2] == grid_hw


def test_features_of_a_tiny_size_are_refused():
    with pytest.raises(SettingsError, match="at least 16"):
        BackboneFeatures("mini", px=8, device="cpu")
