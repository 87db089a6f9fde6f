"""Vision transformers as attention sources: what is recorded is what the model attends to, token by token of the picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_vision
from tracedge.attention import record_attention
from tracedge.backbones import MODELS, load_backbone
from tracedge.backbones.protocol import AttentionSource, Backbone, VisionSource
from tracedge.backbones.vision import VISION, is_vision, load_vision, model_in
from tracedge.backbones.vision.qwen import token_places
from tracedge.backbones.vision.transformer import FAMILIES
from tracedge.errors import BackboneError, RecordingError, SettingsError
from tracedge.vision_edges import vision_attention


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """kind -> the folder of a tiny model of that kind. Read only."""
    folders: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in folders:
            saving = {"max_shard_size": "40KB"} if kind == "qwen2_5_vl" else {}
            folders[kind] = tiny_vision.save_tiny(kind, tmp_path_factory.mktemp("vision") / kind, **saving)
        return folders[kind]

    return folder


def picture(model: VisionSource, rows: int, columns: int) -> torch.Tensor:
    """A random picture of so many units of the model."""
    generator = torch.Generator().manual_seed(rows)
    return torch.rand(1, 3, rows * model.multiple_of, columns * model.multiple_of, generator=generator)


def eager_maps(model: VisionSource, images: torch.Tensor) -> list[torch.Tensor]:
    """What transformers itself calls the attention of each block: (A, N, N) of the whole sequence, in its order."""
    seen = []
    watched = [model.network.get_submodule(name) for name in model.attention_blocks]
    if isinstance(model.image_tokens(model.attention_blocks[0], 0, 0, tuple(images.shape[-2:]))[0], slice):
        model.network.set_attn_implementation("eager")
        handles = [module.register_forward_hook(lambda _m, _a, out: seen.append(out[1][0])) for module in watched]
        model.forward(images)
    else:  # Qwen's module keeps its maps to itself: queries and keys by hand
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

        def by_hand(module, args, kwargs):
            parts = module.qkv(args[0]).reshape(len(args[0]), 3, module.num_heads, -1).permute(1, 0, 2, 3)
            query, key = apply_rotary_pos_emb_vision(parts[0], parts[1], *kwargs["position_embeddings"])
            logits = torch.einsum("qad,kad->aqk", query, key) * module.scaling
            seen.append(logits.softmax(dim=-1))

        handles = [module.register_forward_pre_hook(by_hand, with_kwargs=True) for module in watched]
        model.forward(images)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("kind", tiny_vision.KINDS)
@pytest.mark.parametrize("hw", [(4, 4), (3, 5), (2, 7)])
def test_the_fused_map_is_the_mean_of_the_eager_maps_over_the_image_tokens(tiny, kind, hw):
    model = load_vision(tiny(kind), device="cpu")
    images = picture(model, *hw)
    fused, grid_hw = vision_attention(model, images)
    per_unit = model.multiple_of // tiny_vision.PATCH.get(kind, 8)
    assert grid_hw == (hw[0] * per_unit, hw[1] * per_unit)
    maps = eager_maps(model, images)
    assert len(maps) == len(model.attention_blocks) == (2 if kind == "qwen2_5_vl" else 3)
    place, _ = model.image_tokens(model.attention_blocks[0], 0, 0, tuple(images.shape[-2:]))
    shares = [each.mean(dim=0)[place][:, place] for each in maps]
    expected = torch.stack([each / each.sum(dim=-1, keepdim=True) for each in shares]).mean(dim=0)
    assert torch.allclose(fused[0], expected, atol=1e-5)
    assert torch.allclose(fused.sum(dim=-1), torch.ones(1, len(expected)), atol=1e-5)
    assert (expected * len(expected)).std() > 0.05  # lively: the comparison is not one of flat maps


@pytest.mark.parametrize("kind", tiny_vision.KINDS)
def test_a_changed_patch_changes_its_own_query_most(tiny, kind):
    """In the first block that sees the whole picture, the row of the patch that was changed moves furthest."""
    model = load_vision(tiny(kind), device="cpu")
    images, patch = picture(model, 4, 6), model.patch
    first = model.attention_blocks[:1]
    before, (rows, columns) = vision_attention(model, images, first)
    for row, column in [(0, 0), (0, columns - 1), (rows - 1, 1), (rows // 2, columns // 2 + 1)]:
        changed = images.clone()
        cell = changed[:, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        cell.copy_(1 - cell.flip(-1))
        after, _ = vision_attention(model, changed, first)
        moved = (after - before)[0].abs().sum(dim=-1)
        assert moved.argmax() == row * columns + column


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 4))
def test_token_places_are_those_of_the_published_code(rows, columns, merge, window):
    from transformers.vision_utils import get_vision_window_index

    grid = rows * merge, columns * merge
    numbers = torch.arange(grid[0] * grid[1]).reshape(rows, merge, columns, merge)
    groups = numbers.transpose(1, 2).reshape(-1, merge * merge)  # what the image processor makes
    order, _ = get_vision_window_index(torch.tensor([[1, *grid]]), merge, window * merge * 14, 14)
    sequence = groups[order].flatten()
    places = token_places(grid, merge, window)
    assert torch.equal(sequence[places], torch.arange(len(sequence)))


def test_qwens_tower_alone_computes_what_the_whole_model_computes(tiny):
    from transformers import Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    model = load_vision(tiny("qwen2_5_vl"), device="cpu")
    whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny("qwen2_5_vl")).eval()
    bytes_ = (picture(model, 3, 5)[0] * 255).round().to(torch.uint8)
    processor = Qwen2VLImageProcessorPil(patch_size=4, do_resize=False)
    given = processor(bytes_.permute(1, 2, 0).numpy(), return_tensors="pt")
    assert given["image_grid_thw"].tolist() == [[1, 6, 10]]
    with torch.no_grad():
        expected = whole.model.visual(given["pixel_values"], grid_thw=given["image_grid_thw"]).last_hidden_state
        found = model.forward(bytes_[None] / 255)
    assert torch.allclose(found[0], expected, atol=1e-4)
    with pytest.raises(SettingsError, match="one image at a time, got 2"):
        model.forward(torch.zeros(2, 3, 8, 8))


def test_only_the_shards_with_the_tower_are_read(tiny, tmp_path):
    folder = shutil.copytree(tiny("qwen2_5_vl"), tmp_path / "part")
    table = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    of_tower = {shard for key, shard in table.items() if key.startswith("visual.")}
    others = set(table.values()) - of_tower
    assert others
    for shard in others:
        (folder / shard).unlink()
    assert load_vision(folder, device="cpu").attention_blocks == ("blocks.1.attn", "blocks.3.attn")
    (folder / min(of_tower)).unlink()
    with pytest.raises(BackboneError, match="that are whole"):
        load_vision(folder, device="cpu")


@pytest.mark.parametrize("kind", tiny_vision.KINDS)
def test_every_family_is_a_vision_source_in_fp32_unless_asked_otherwise(tiny, kind):
    model = load_vision(tiny(kind), device="cpu")
    assert isinstance(model, VisionSource)
    assert isinstance(model, AttentionSource)
    assert not isinstance(model, Backbone)
    assert model.dtype == torch.float32
    assert model.settings["source"] == str(tiny(kind).resolve())
    assert not any(weight.requires_grad for weight in model.network.parameters())
    half = load_vision(tiny(kind), device="cpu", dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    images = picture(model, 4, 3)
    coarse, fine = vision_attention(half, images)[0], vision_attention(model, images)[0]
    assert torch.allclose(coarse.sum(dim=-1), torch.ones_like(coarse[..., 0]), atol=1e-4)
    assert (coarse - fine).abs().sum(dim=-1).mean() < 0.2  # of 2, were they disjoint


@pytest.mark.parametrize("kind", ["dinov2", "clip", "qwen2_5_vl"])
def test_weights_that_do_not_fit_and_unknown_types_are_refused_in_a_sentence(tiny, kind, tmp_path):
    folder = shutil.copytree(tiny(kind), tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    vision = config if kind == "dinov2" else config["vision_config"]
    depth = "depth" if kind == "qwen2_5_vl" else "num_hidden_layers"
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "swin"}))
    with pytest.raises(BackboneError, match="'swin', expected one of vit, dinov2"):
        load_vision(folder, device="cpu")
    vision[depth] += 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"do not fit their config: .*(layer|blocks)"):
        load_vision(folder, device="cpu")
    vision[depth] = "many"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="cannot be loaded as"):
        load_vision(folder, device="cpu")


def test_a_torn_shard_and_an_index_that_leads_elsewhere_are_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny("qwen2_5_vl"), tmp_path / "other")
    index = folder / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": {"visual.x": "../model.safetensors"}}))
    with pytest.raises(BackboneError, match="names no file"):
        load_vision(folder, device="cpu")
    index.write_text(json.dumps(table))
    torn = folder / min(shard for key, shard in table["weight_map"].items() if key.startswith("visual."))
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(BackboneError, match="not a whole safetensors file"):
        load_vision(folder, device="cpu")


def test_reordered_tokens_with_others_beside_them_are_refused(tiny):
    model = load_vision(tiny("vit"), device="cpu")
    model.image_tokens = lambda block, query, key, hw: (torch.arange(16).flip(0), (4, 4))  # CLS stands there too
    with pytest.raises(RecordingError, match="17 queries and 17 keys, expected the 16 image tokens alone"):
        vision_attention(model, torch.zeros(1, 3, 32, 32))


def test_the_table_is_whole_and_knows_its_models_apart_from_diffusion_models(tiny, tmp_path):
    assert not VISION.keys() & MODELS.keys()
    for name, row in VISION.items():
        assert row.family in {*FAMILIES, "qwen2_5_vl"}
        assert len(row.hub_ids) == 1
        assert row.px > 0
        assert row.gated == (row.instead is not None)
        assert row.instead is None or not VISION[row.instead].gated
        assert is_vision(name)
        assert is_vision(row.hub_ids[0])
        assert model_in(VISION, row.hub_ids[0]) == row
    assert is_vision(tiny("dinov2"))
    assert not any(map(is_vision, (*MODELS, "someone/fine-tune", "no-such-name", tmp_path)))
    (tmp_path / "config.json").touch()
    (tmp_path / "model_index.json").touch()
    assert not is_vision(tmp_path)
    with pytest.raises(SettingsError, match=r"dinov2-base is a vision transformer .* no timesteps"):
        load_backbone("dinov2-base")


def test_a_run_that_records_a_tower_leaves_no_hook_behind(tiny):
    model = load_vision(tiny("qwen2_5_vl"), device="cpu")
    vision_attention(model, picture(model, 2, 2))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.network.modules())

    class Nothing:
        def add(self, call) -> None:
            """Looks at no block."""

    with (
        pytest.raises(RecordingError, match="2 self-attention blocks but 0"),
        record_attention(model, (8, 8), Nothing()),
    ):
        pass
