"""CLIP and SigLIP with transformers: sentences, and the tokens of a picture that can be compared with them.

Both models were trained to compare one vector a picture. What its tokens mean by themselves is read off the last step that
makes that vector:

CLIP    the last block, of which only the attention is kept, without residual and MLP, and which attends by q q^T in place of
        q k^T: a token takes the values of tokens like itself, and not those of the few that all of them look at. Then the
        last norm and the projection, which were trained on the class token (Zhou et al., MaskCLIP, ECCV 2022: values in place
        of attention; Wang et al., SCLIP, ECCV 2024: self-self attention; Lan et al., ClearCLIP, ECCV 2024: no residual, no MLP).
SigLIP  the pooling head, given each token alone: attention over one token is its value (MaskCLIP's step on
        the pooling attention, as it does for CLIP's ResNets).
"""

from __future__ import annotations

import string
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tracedge.backbones.loading import Place
from tracedge.backbones.vision.files import VisionFiles
from tracedge.backbones.vision.pixels import OPENAI, Pixels, pixels_of
from tracedge.backbones.vision.transformer import square_side
from tracedge.backbones.vision.weights import load_network, without_notes
from tracedge.errors import BackboneError

NETWORKS = {"clip": "CLIPModel", "siglip": "SiglipModel"}
"""model_type of config.json -> class in transformers."""

_SIGLIP = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class ImageText:
    """A `TextImageSource` (see backbones/protocol.py) of either family. Made by `open_image_text`."""

    def __init__(self, network: Any, tokenizer: Any, files: VisionFiles) -> None:
        self.name, self.network, self.tokenizer = files.name, network.eval().requires_grad_(False), tokenizer
        self.is_clip = files.model_type == "clip"
        self.pixels = pixels_of(files.processing, files.source, OPENAI if self.is_clip else _SIGLIP)
        self.settings = files.settings | {"pixels": self.pixels.settings}
        self.patch = square_side(network.config.vision_config, "patch_size", files)
        self.scale = float(network.logit_scale.exp())
        self.device, self.dtype = network.device, network.dtype
        self._longest = int(network.config.text_config.max_position_embeddings)

    @torch.no_grad()
    def texts(self, sentences: list[str]) -> Tensor:
        """Unit vectors (P, D) of sentences; what is longer than the text tower's sequence is cut off."""
        # SigLIP reads its last token, padding or not, and was trained on full sequences; CLIP's do not look ahead.
        plain, padding = (sentences, True) if self.is_clip else ([_plain(each) for each in sentences], "max_length")
        given = self.tokenizer(
            plain, padding=padding, truncation=True, max_length=self._longest, return_tensors="pt"
        ).input_ids.to(self.device)
        found: Tensor = self.network.get_text_features(input_ids=given).pooler_output
        return F.normalize(found.float(), dim=-1)

    @torch.no_grad()
    def tokens(self, images: Tensor) -> Tensor:
        """Unit vectors (B, N, D) of images (B, 3, H, W) in [0, 1], sides multiples of `patch`; see the top of this file.

        Position embeddings are stretched to the grid bicubically.
        """
        pixels = self.pixels.standardised(images.to(self.device)).to(self.dtype)
        return F.normalize((self._clip(pixels) if self.is_clip else self._siglip(pixels)).float(), dim=-1)

    def _clip(self, pixels: Tensor) -> Tensor:
        tower = self.network.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings(pixels, interpolate_pos_encoding=True))  # (B, 1 + N, C)
        *before, last = tower.encoder.layers
        for layer in before:
            hidden = layer(hidden, None)
        attention, normed = last.self_attn, last.layer_norm1(hidden)[:, 1:]  # the patches alone
        queries, values = (
            project(normed).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # (B, A, N, d)
            for project in (attention.q_proj, attention.v_proj)
        )
        found = F.scaled_dot_product_attention(queries, queries, values).transpose(1, 2).flatten(2)
        projected: Tensor = self.network.visual_projection(tower.post_layernorm(attention.out_proj(found)))
        return projected

    def _siglip(self, pixels: Tensor) -> Tensor:
        tower = self.network.vision_model
        hidden = tower(pixels, interpolate_pos_encoding=True).last_hidden_state  # (B, N, C), after the last norm
        head, width = tower.head, hidden.shape[-1]
        weight, bias = head.attention.in_proj_weight[2 * width :], head.attention.in_proj_bias[2 * width :]
        found = head.attention.out_proj(F.linear(hidden, weight, bias))
        pooled: Tensor = found + head.mlp(head.layernorm(found))
        return pooled


def open_image_text(files: VisionFiles, where: Place) -> ImageText:
    """A model of one of `NETWORKS`, with its tokenizer.

    Raises:
        BackboneError: it cannot be loaded, its weights do not fit its config, or it is of another family or without its head.
    """
    if str(files.model_type) not in NETWORKS:
        raise BackboneError(
            f"{files.source} is a model of the type {files.model_type!r}, expected one of {', '.join(NETWORKS)} with both towers."
        )
    network = load_network(
        NETWORKS[str(files.model_type)],
        files,
        "a model of images and texts",
        attn_implementation="sdpa",
        dtype=where.dtype,
    )
    if files.model_type == "siglip" and not getattr(network.vision_model, "use_head", True):
        raise BackboneError(f"{files.source} has no pooling head, by which its tokens are read.")
    return ImageText(network.to(where.device), _tokenizer(files), files)


def _tokenizer(files: VisionFiles) -> Any:
    """SigLIP's own class asks for a package that reads another file than tokenizer.json."""
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

    kind = CLIPTokenizer if files.model_type == "clip" else PreTrainedTokenizerFast
    try:
        with without_notes():
            return kind.from_pretrained(files.folder, local_files_only=True)
    except Exception as error:  # the tokenizers' own library raises Exception itself
        raise BackboneError(f"{files.source}: its tokenizer cannot be read: {error}") from error


def _plain(sentence: str) -> str:
    """As SigLIP's training had it: small letters, no punctuation."""
    return " ".join(sentence.lower().translate(str.maketrans("", "", string.punctuation)).split())
