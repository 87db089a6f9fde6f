"""Tiny random vision models of every family, saved as transformers saves them. The weights depend on the kind alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

KINDS = ("vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "clip", "clip_vision_model", "qwen2_5_vl")
PATCH = {"dinov3_vit": 16, "qwen2_5_vl": 4}
"""Side of a patch in pixels, where it is not 8."""

_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


def save_tiny(kind: str, folder: Path, **saving: Any) -> Path:
    """A model of one kind as a folder; `saving` goes to save_pretrained."""
    with torch.random.fork_rng():
        torch.manual_seed(KINDS.index(kind))
        network = _build(kind)
        for name, weight in network.named_parameters():  # fresh weights are nearly flat: make attention lively
            with torch.no_grad():
                weight.add_(torch.randn_like(weight) * 0.1)
                if any(part in name for part in ("q_proj", "k_proj", "qkv")):
                    weight.mul_(2)
    network.save_pretrained(folder, **saving)
    return folder


def _build(kind: str) -> Any:
    import transformers as t

    square = {"image_size": 32, "patch_size": 8}
    if kind == "vit":
        return t.ViTModel(t.ViTConfig(**_SIZES, **square))
    if kind == "dinov2":
        return t.Dinov2Model(t.Dinov2Config(**_SIZES, **square))
    if kind == "dinov2_with_registers":
        return t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**_SIZES, **square, num_register_tokens=3))
    if kind == "dinov3_vit":
        return t.DINOv3ViTModel(t.DINOv3ViTConfig(**_SIZES, image_size=64, patch_size=16, num_register_tokens=4))
    if kind == "clip_vision_model":
        return t.CLIPVisionModel(t.CLIPVisionConfig(**_SIZES, **square))
    if kind == "clip":
        text = {**_SIZES, "vocab_size": 8, "max_position_embeddings": 8}
        return t.CLIPModel(t.CLIPConfig(vision_config={**_SIZES, **square}, text_config=text, projection_dim=16))
    return t.Qwen2_5_VLForConditionalGeneration(_qwen())


def _qwen() -> Any:
    """Windows of 2 x 2 groups of 2 x 2 patches of 4 pixels; blocks 1 and 3 attend to the whole picture."""
    from transformers import Qwen2_5_VLConfig

    vision = {
        "depth": 4,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1, 3],
    }
    text = {
        "vocab_size": 400,  # so that shards of 40 KB hold some that are the language model's alone
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 4]},
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    ids = {"image_token_id": 3, "video_token_id": 4, "vision_start_token_id": 5, "vision_end_token_id": 6}
    return Qwen2_5_VLConfig(vision_config=vision, text_config=text, **ids)
