"""The networks of the known models at full size, from their published configs, with random weights.

Nothing is downloaded. Time and memory do not depend on the values of weights, so a benchmark can be run without them; what such
a model says of a picture means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tracedge.backbones import MODELS, flow
from tracedge.backbones.ddpm import DDPM
from tracedge.backbones.flux import DEV_TOKENS, PX, SCHNELL_TOKENS, FluxBackbone
from tracedge.backbones.flux import attention_blocks as flux_blocks
from tracedge.backbones.latent import LatentSpace
from tracedge.backbones.loading import Place
from tracedge.backbones.mmdit import T5_TOKENS, MMDiTBackbone
from tracedge.backbones.mmdit import attention_blocks as mmdit_blocks
from tracedge.backbones.null_text import NullText
from tracedge.backbones.pixart import ALPHA_TOKENS, SIGMA_TOKENS, PixArtBackbone
from tracedge.backbones.pixart import attention_blocks as pixart_blocks
from tracedge.backbones.protocol import Backbone, ForwardProcess
from tracedge.backbones.unet import UNetBackbone, attention_levels
from tracedge.settings import choose


@dataclass(frozen=True)
class Architecture:
    """A network's class and config, its VAE's channels, and what its null prompt is: (tokens, width), width of the summary."""

    kind: str
    config: dict[str, Any]
    latent_channels: int
    text: tuple[int, int]
    pooled: int | None = None


_SD35 = {"joint_attention_dim": 4096, "pooled_projection_dim": 2048, "sample_size": 128, "in_channels": 16}
_PIXART = {"cross_attention_dim": 1152, "caption_channels": 4096}
_FLUX = {"num_layers": 19, "num_single_layers": 38}

ARCHITECTURES: dict[str, Architecture] = {
    "sd15": Architecture(
        "UNet2DConditionModel", {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}, 4, (77, 768)
    ),
    "sd21": Architecture(
        "UNet2DConditionModel",
        {
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "sample_size": 96,
            "use_linear_projection": True,
        },
        4,
        (77, 1024),
    ),
    "sdxl": Architecture(
        "UNet2DConditionModel",
        {
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
            "use_linear_projection": True,
            "sample_size": 128,
        },
        4,
        (77, 2048),
        1280,
    ),
    "pixart-alpha": Architecture("PixArtTransformer2DModel", _PIXART | {"sample_size": 64}, 4, (ALPHA_TOKENS, 4096)),
    "pixart-alpha-1024": Architecture(
        "PixArtTransformer2DModel", _PIXART | {"sample_size": 128}, 4, (ALPHA_TOKENS, 4096)
    ),
    "pixart-sigma": Architecture(
        "PixArtTransformer2DModel",
        _PIXART | {"sample_size": 128, "use_additional_conditions": False},
        4,
        (SIGMA_TOKENS, 4096),
    ),
    "sd3": Architecture(
        "SD3Transformer2DModel",
        _SD35
        | {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192},
        16,
        (77 + T5_TOKENS, 4096),
        2048,
    ),
    "sd35-medium": Architecture(
        "SD3Transformer2DModel",
        _SD35
        | {
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "dual_attention_layers": tuple(range(13)),
            "qk_norm": "rms_norm",
            "pos_embed_max_size": 384,
        },
        16,
        (77 + T5_TOKENS, 4096),
        2048,
    ),
    "sd35-large": Architecture(
        "SD3Transformer2DModel",
        _SD35
        | {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "qk_norm": "rms_norm",
            "pos_embed_max_size": 192,
        },
        16,
        (77 + T5_TOKENS, 4096),
        2048,
    ),
    "flux-dev": Architecture("FluxTransformer2DModel", _FLUX | {"guidance_embeds": True}, 16, (DEV_TOKENS, 4096), 768),
    "flux-schnell": Architecture(
        "FluxTransformer2DModel", _FLUX | {"guidance_embeds": False}, 16, (SCHNELL_TOKENS, 4096), 768
    ),
}

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_FAMILIES: dict[str, tuple[Callable[..., Backbone], Callable[[Any], Any]]] = {
    "UNet2DConditionModel": (UNetBackbone, attention_levels),
    "PixArtTransformer2DModel": (PixArtBackbone, pixart_blocks),
    "SD3Transformer2DModel": (MMDiTBackbone, mmdit_blocks),
    "FluxTransformer2DModel": (FluxBackbone, flux_blocks),
}


def random_network(name: str, where: Place) -> Any:
    """The denoiser of a known model, random weights, frozen; on the device "meta" it needs no memory.

    Raises:
        SettingsError: no such model.
    """
    import diffusers

    design = choose("architecture", name, ARCHITECTURES)
    with _made_at(where):
        return getattr(diffusers, design.kind)(**design.config).eval().requires_grad_(False)


def random_backbone(name: str, where: Place) -> Backbone:
    """A known model at full size with random weights, ready to be timed: network, VAE, a random null prompt."""
    from diffusers import AutoencoderKL

    network = random_network(name, where)
    design = ARCHITECTURES[name]
    with _made_at(where):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=design.latent_channels,
            sample_size=512,
        )
        tokens, width = design.text
        text = NullText(
            torch.randn(1, tokens, width),
            torch.randn(1, design.pooled) if design.pooled else None,
            torch.ones(1, tokens, dtype=torch.long) if "PixArt" in design.kind else None,
        )
    family, blocks = _FAMILIES[design.kind]
    halvings = len(network.down_blocks) - 1 if design.kind == "UNet2DConditionModel" else 1
    space = LatentSpace(vae.eval().requires_grad_(False), latents_multiple_of=2**halvings)
    is_ddpm = MODELS[name].family in ("unet", "pixart")
    process: ForwardProcess = DDPM.from_config(_BETAS) if is_ddpm else flow
    return family(
        network,
        space,
        process,
        text,
        attention_blocks=tuple(blocks(network)),
        px=PX if MODELS[name].family == "flux" else int(network.config.sample_size) * space.factor,
        name=name,
        settings={"name": name, "source": "random weights", "revision": None, "licence": "none"},
    )


@contextmanager
def _made_at(where: Place) -> Iterator[None]:
    """New tensors of the context are of this device and dtype at once: 12 billion fp32 weights would not fit first."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(where.dtype)
    try:
        with torch.device(where.device):
            yield
    finally:
        torch.set_default_dtype(before)
