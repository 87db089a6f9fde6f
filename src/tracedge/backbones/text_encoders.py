"""The empty prompt through a model's own text encoders, by diffusers' own `encode_prompt` of each pipeline."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from tracedge.backbones.hub import PipelineFiles
from tracedge.backbones.loading import Place
from tracedge.backbones.null_text import NullText
from tracedge.errors import BackboneError

_CLASSES = {
    "CLIPTokenizer": "CLIPTokenizer",
    "CLIPTokenizerFast": "CLIPTokenizer",
    "CLIPTextModel": "CLIPTextModel",
    "CLIPTextModelWithProjection": "CLIPTextModelWithProjection",
    "T5EncoderModel": "T5EncoderModel",
}
"""Class in model_index.json -> class of transformers. A class that is not here is not loaded."""


class EmptyPromptForT5:
    """What T5's tokenizer makes of "": the end of the text, then padding.

    It stands in for the tokenizer, which PixArt ships in a form that takes sentencepiece and protobuf to read.
    """

    model_max_length = 512

    def __init__(self, config: Any) -> None:
        self.end, self.padding = config.eos_token_id, config.pad_token_id

    def __call__(self, prompt: list[str], *, padding: str, max_length: int = 1, **_: object) -> SimpleNamespace:
        assert prompt == [""]
        length = max_length if padding == "max_length" else 1
        ids = torch.full((1, length), self.padding)
        ids[0, 0] = self.end
        return SimpleNamespace(input_ids=ids, attention_mask=(torch.arange(length) == 0).long()[None])

    def tokenize(self, prompt: str) -> list[str]:
        """Asked by FLUX's pipeline, which looks for words of a textual inversion."""
        return []


def encode_null_prompt(files: PipelineFiles, kind: str, tokens: int, where: Place) -> NullText:
    """Load the text encoders of a pipeline, encode "" and let them go.

    Raises:
        BackboneError: a part is missing, cannot be read, or is of a class that is not known here.
    """
    names = files.text_parts()
    files.require(names)
    parts = {name: _load(files, name, where) for name in names}
    for name in files.parts("text_encoder"):
        if files.class_of(name) == "T5EncoderModel":
            parts[name.replace("text_encoder", "tokenizer")] = EmptyPromptForT5(parts[name].config)
    try:
        with torch.no_grad():
            return ENCODE[kind](files, parts, tokens, where)
    except (KeyError, TypeError, AttributeError) as error:
        raise BackboneError(
            f"{files.source}: the text encoders ({', '.join(names) or 'none'}) are not those of a {kind} pipeline: "
            f"{error!r}"
        ) from error


def _load(files: PipelineFiles, part: str, where: Place) -> Any:
    import transformers

    written = str(files.class_of(part))
    if written not in _CLASSES:
        raise BackboneError(f"{files.source}: {part}/ is a {written}, expected one of {', '.join(_CLASSES)}")
    kind, folder = getattr(transformers, _CLASSES[written]), files.folder / part
    try:
        if part.startswith("tokenizer"):
            return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=where.dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise BackboneError(f"{files.source}: {part}/ cannot be loaded: {error}") from error
    if report["missing_keys"]:  # transformers would go on with random numbers in their place
        raise BackboneError(f"{files.source}: {part}/ lacks the weights {sorted(report['missing_keys'])[:3]}")
    return model.to(where.device).eval()


def _stable_diffusion(files: PipelineFiles, parts: dict[str, Any], tokens: int, where: Place) -> NullText:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    if "text_encoder_2" in parts:
        xl = StableDiffusionXLPipeline(vae=None, unet=None, scheduler=None, add_watermarker=False, **parts)
        # do_classifier_free_guidance would give zeros for the empty prompt; this is the prompt "" itself.
        embeds, _, pooled, _ = xl.encode_prompt("", device=where.device, do_classifier_free_guidance=False)
        return NullText(embeds, pooled)
    pipeline = StableDiffusionPipeline(
        vae=None,
        unet=None,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **parts,
    )
    return NullText(pipeline.encode_prompt("", where.device, 1, False)[0])


def _stable_diffusion_3(files: PipelineFiles, parts: dict[str, Any], tokens: int, where: Place) -> NullText:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    # Where there is no T5, diffusers puts zeros in its place, and asks the transformer only how wide they must be.
    config = SD3Transformer2DModel.load_config(files.folder / "transformer", local_files_only=True)
    stand_in = SD3Transformer2DModel(
        num_layers=0, sample_size=2, pos_embed_max_size=2, joint_attention_dim=config["joint_attention_dim"]
    )
    parts = {"text_encoder_3": None, "tokenizer_3": None, **parts}
    pipeline = StableDiffusion3Pipeline(transformer=stand_in, scheduler=None, vae=None, **parts)
    embeds, _, pooled, _ = pipeline.encode_prompt(
        "", None, None, device=where.device, do_classifier_free_guidance=False, max_sequence_length=tokens
    )
    return NullText(embeds, pooled)


def _flux(files: PipelineFiles, parts: dict[str, Any], tokens: int, where: Place) -> NullText:
    from diffusers import FluxPipeline

    pipeline = FluxPipeline(scheduler=None, vae=None, transformer=None, **parts)
    embeds, pooled, _ = pipeline.encode_prompt("", device=where.device, max_sequence_length=tokens)
    return NullText(embeds, pooled)


def _pixart(files: PipelineFiles, parts: dict[str, Any], tokens: int, where: Place) -> NullText:
    from diffusers import PixArtSigmaPipeline

    pipeline = PixArtSigmaPipeline(vae=None, transformer=None, scheduler=None, **parts)  # alpha encodes alike
    embeds, mask, _, _ = pipeline.encode_prompt(
        "",
        do_classifier_free_guidance=False,
        device=where.device,
        clean_caption=False,
        max_sequence_length=tokens,
    )
    return NullText(embeds, mask=mask)


ENCODE: dict[str, Callable[[PipelineFiles, dict[str, Any], int, Place], NullText]] = {
    "stable-diffusion": _stable_diffusion,
    "stable-diffusion-3": _stable_diffusion_3,
    "flux": _flux,
    "pixart": _pixart,
}
"""How each kind of pipeline encodes a prompt."""
