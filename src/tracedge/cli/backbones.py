"""`tracedge backbones` and `tracedge download`: the models that can be used, and fetching one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def backbones() -> None:
    """List the models that can be used by name: diffusion models; vision transformers (ABDiv alone); CLIP and SigLIP for tags."""
    from rich.console import Console
    from rich.table import Table

    from tracedge.backbones import MODELS
    from tracedge.backbones.image_text import IMAGE_TEXT
    from tracedge.backbones.vision import VISION
    from tracedge.sam import SAM

    console = Console(width=200, highlight=False)
    tables = {
        "diffusion models": MODELS,
        "vision transformers: ABDiv alone, to compare with": VISION,
        "images and texts: classes of tags, for tracedge semantic --clip": IMAGE_TEXT,
        "Segment Anything: for segment --sam, and --proposals sam:NAME": SAM,
    }
    for title, models in tables.items():
        table = Table(title=title, title_justify="left", box=None)  # names and ids are there to be copied: never cut
        for heading in ("name", "family", "px", "licence", "gated", "hub id"):
            table.add_column(heading, no_wrap=True)
        for name, model in models.items():
            hub_id = model.hub_ids[0] if model.hub_ids else "(inside the package)"
            table.add_row(name, model.family, str(model.px), model.licence, "yes" if model.gated else "no", hub_id)
        console.print(table, crop=False)


def download(
    name: Annotated[str, typer.Argument(help="A name of `tracedge backbones`, or a hub id such as owner/model.")],
    cache_dir: Annotated[Path | None, typer.Option(help="The hub's cache folder; by default the hub's own.")] = None,
) -> None:
    """Fetch a model now, so that it can be used without a network later."""
    from rich.console import Console

    from tracedge.backbones import hub, vision
    from tracedge.backbones.image_text import files as image_text_files
    from tracedge.backbones.image_text import is_image_text
    from tracedge.backbones.vision import files as vision_files
    from tracedge.sam import SAM, is_sam

    if is_sam(name):
        files = vision_files.download(name, models=SAM, cache_dir=cache_dir)
    elif is_image_text(name):
        files = image_text_files.download(name, cache_dir=cache_dir)
    else:
        files = (vision_files if vision.is_vision(name) else hub).download(name, cache_dir=cache_dir)
    size = sum(path.stat().st_size for path in files)
    Console().print(f"{name}: {len(files)} files, {size / 2**30:.2f} GiB" if files else f"{name} is inside the package")
