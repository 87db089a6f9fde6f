"""The options that choose how classes are made of tags: the same for `semantic` and `evaluate panoptic`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tracedge.categories import Category
    from tracedge.cli.predictor_options import PredictorOptions
    from tracedge.semantics.from_tags import FromTags
    from tracedge.semantics.refine import RefineSettings

CLIP, CLIP_SIZE, STEPS, SHARPNESS, CRF = "clip-base16", 448, 1, 2.0, True
TAGS = "Classes from tags"  # of the help

Clip = Annotated[
    str,
    typer.Option(
        help="CLIP or SigLIP: a name of `tracedge backbones`, a local folder or a hub id.", rich_help_panel=TAGS
    ),
]
ClipSize = Annotated[
    int, typer.Option(min=16, max=4096, help="Long side in pixels that CLIP or SigLIP sees.", rich_help_panel=TAGS)
]
Background = Annotated[
    bool | None,
    typer.Option(
        "--background/--no-background",
        help="Whether grass, sky, walls and the like compete with the tags; default: where no tag of the image is stuff.",
        rich_help_panel=TAGS,
    ),
]
Steps = Annotated[
    int,
    typer.Option(
        min=0, max=64, help="Steps of the walk by the diffusion model's attention; 0: none.", rich_help_panel=TAGS
    ),
]
Sharpness = Annotated[
    float,
    typer.Option(
        help="How much more than in proportion what is attended to most counts, above 0 to 16; 1: in proportion.",
        rich_help_panel=TAGS,
    ),
]
Crf = Annotated[
    bool,
    typer.Option(
        "--crf/--no-crf", help="Then move the classes to the photo's colours (dense CRF).", rich_help_panel=TAGS
    ),
]


def classes_from_tags(
    clip: str,
    options: PredictorOptions,
    categories: Sequence[Category],
    settings: RefineSettings,
    *,
    clip_size: int = CLIP_SIZE,
    background: bool | None = None,
) -> FromTags:
    """Load both models, and nothing before all is checked.

    Raises:
        SettingsError: the attention asked for is no diffusion model's.
        BackboneError: a model cannot be had.
    """
    from tracedge.backbones.image_text import load_image_text
    from tracedge.semantics.from_tags import FromTags
    from tracedge.semantics.refine import Refiner
    from tracedge.semantics.similarity import TextSimilarity

    check_attention(options, settings)
    model = load_image_text(clip, device=options.device, local_files_only=options.local_files_only)
    refiner = Refiner(options.build() if settings.steps else None, settings)
    return FromTags(TextSimilarity(model, px=clip_size), refiner, categories, background)


def check_attention(options: PredictorOptions, settings: RefineSettings) -> None:
    """Refuse a backbone that has no emergence point to walk at."""
    from tracedge.errors import SettingsError

    if options.is_vision and settings.steps:
        raise SettingsError(f"--backbone {options.backbone} is no diffusion model: give one, or --steps 0.")
