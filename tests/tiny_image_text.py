"""Tiny random CLIP and SigLIP with a tokenizer of single letters, saved as transformers saves them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

KINDS = ("clip", "siglip")

_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
_LETTERS = string.ascii_lowercase + string.digits + ".,"


def save_tiny(kind: str, folder: Path, **saving: Any) -> Path:
    """A model of one kind as a folder; `saving` goes to save_pretrained."""
    import transformers as t

    letters = [letter + end for end in ("", "</w>") for letter in _LETTERS]
    words = {word: number for number, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    last = len(words) - 1
    text = {**_SIZES, "vocab_size": len(words), "bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    vision = {**_SIZES, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(KINDS.index(kind))
        network: Any
        if kind == "clip":
            text["max_position_embeddings"] = 77
            network = t.CLIPModel(t.CLIPConfig(vision_config=vision, text_config=text, projection_dim=16))
        else:
            text |= {"max_position_embeddings": 64, "projection_size": 32}
            network = t.SiglipModel(t.SiglipConfig(vision_config=vision, text_config=text))
        for weight in network.parameters():  # fresh weights are nearly flat
            with torch.no_grad():
                weight.add_(torch.randn_like(weight) * 0.1)
    with torch.no_grad():
        network.logit_scale.fill_(3.0)
    network.save_pretrained(folder, **saving)
    t.CLIPTokenizer(vocab=words, merges=[], model_max_length=77).save_pretrained(folder)
    return folder
