"""Tiny random SAM and SAM 2, saved as transformers saves them. The weights depend on the kind alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

KINDS = ("sam", "sam2")
PX = 64
_DECODER = {
    "hidden_size": 16,
    "mlp_dim": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "attention_downsample_rate": 1,
    "iou_head_hidden_dim": 16,
}


def save_tiny(kind: str, folder: Path) -> Path:
    """A model of one kind that sees squares of 64 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(KINDS.index(kind))
        network = _sam() if kind == "sam" else _sam2()
        for weight in network.parameters():  # fresh weights answer everything alike
            with torch.no_grad():
                weight.add_(torch.randn_like(weight) * 0.2)
        with torch.no_grad():
            network.mask_decoder.iou_prediction_head.proj_out.bias.fill_(0.9)  # or they expect nothing of themselves
    network.save_pretrained(folder)
    return folder


def _sam() -> Any:
    import transformers as t

    vision = {
        "hidden_size": 16,
        "output_channels": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": PX,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 8,
        "mlp_dim": 32,
    }
    prompts = {"hidden_size": 16, "image_size": PX, "patch_size": 8, "mask_input_channels": 8}
    return t.SamModel(t.SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=_DECODER))


def _sam2() -> Any:
    import transformers as t

    hiera = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [PX, PX],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [2, 2],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": hiera,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 16,
    }
    prompts = {"hidden_size": 16, "image_size": PX, "patch_size": 16, "mask_input_channels": 8}
    return t.Sam2Model(t.Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=_DECODER))
