"""Tiny random pipelines of every class that tracedge reads, saved in diffusers' own layout.

Nothing is downloaded: the tokenizers are built in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WIDTH = 32  # of every text encoder
KINDS = ("sd15", "sd21", "sdxl", "pixart-alpha", "pixart-sigma", "sd3", "sd35-medium", "flux-dev", "flux-schnell")

DDPM = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "clip_sample": False,
}


def save_tiny(kind: str, folder: Path) -> Path:
    """A tiny pipeline of one kind as a folder; the weights depend on the kind alone."""
    with torch.random.fork_rng():
        torch.manual_seed(KINDS.index(kind))
        pipeline = _BUILDERS[kind]()
        _spread(next(getattr(pipeline, part) for part in ("unet", "transformer") if hasattr(pipeline, part)))
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _spread(network: Any) -> None:
    """Attention of fresh weights is nearly flat, and layers that begin at zero hide errors: make both lively."""
    for name, weight in network.named_parameters():
        with torch.no_grad():
            if ".to_q." in name or ".to_k." in name:
                weight.mul_(3)
            elif not weight.any():
                weight.normal_(std=0.1)


def vae(channels: int, shift: float | None = None) -> Any:
    """Halves the picture twice: a latent is 4 x 4 pixels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        latent_channels=channels,
        layers_per_block=1,
        sample_size=32,
        scaling_factor=0.5,
        shift_factor=shift,
    )


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", *[f"{letter}</w>" for letter in "abc"]]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0), ("▁", -3.0), ("a", -4.0)]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def clip(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=8,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5(width: int = WIDTH) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=8, d_model=width, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=2))


def unet(cross: int, **extra: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16, 16),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=cross,
        **extra,
    )


def _sd(prediction: str) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae(4),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=unet(WIDTH),
        scheduler=DDIMScheduler(**DDPM, prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    network = unet(
        2 * WIDTH,
        **sizes,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        transformer_layers_per_block=(1, 2, 3),
        use_linear_projection=True,
    )
    return StableDiffusionXLPipeline(
        vae=vae(4),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=network,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        add_watermarker=False,
    )


def _pixart(sigma: bool) -> Any:
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    network = PixArtTransformer2DModel(
        num_attention_heads=3,  # as in the real model, 3 divides the width of the size embeddings
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=24,
        sample_size=16 if sigma else 128,  # at 128 alpha is told the size of the picture
        caption_channels=WIDTH,
        use_additional_conditions=False if sigma else None,
    )
    return (PixArtSigmaPipeline if sigma else PixArtAlphaPipeline)(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae(4),
        transformer=network,
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )


def _sd3(dual: tuple[int, ...], with_t5: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    network = SD3Transformer2DModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=3 * WIDTH,  # as in the real model, wider than both CLIPs together
        caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=24,
        dual_attention_layers=dual,
        qk_norm="rms_norm" if dual else None,
    )
    return StableDiffusion3Pipeline(
        transformer=network,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(8, shift=0.1),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(3 * WIDTH) if with_t5 else None,
        tokenizer_3=t5_tokenizer() if with_t5 else None,
    )


def _flux(guided: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    network = FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=guided,
        axes_dims_rope=(4, 6, 6),
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(4, shift=0.1),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=network,
    )


_BUILDERS = {
    "sd15": lambda: _sd("epsilon"),
    "sd21": lambda: _sd("v_prediction"),
    "sdxl": _sdxl,
    "pixart-alpha": lambda: _pixart(sigma=False),
    "pixart-sigma": lambda: _pixart(sigma=True),
    "sd3": lambda: _sd3((), with_t5=True),
    "sd35-medium": lambda: _sd3((0, 1), with_t5=False),
    "flux-dev": lambda: _flux(guided=True),
    "flux-schnell": lambda: _flux(guided=False),
}
