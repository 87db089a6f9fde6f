"""The files of a model of images and texts: those of its vision tower (all of the weights lie together), and the tokenizer's."""

from __future__ import annotations

from pathlib import Path

from tracedge.backbones import Model, hub
from tracedge.backbones.image_text import IMAGE_TEXT
from tracedge.backbones.vision.files import VisionFiles, vision_files
from tracedge.errors import BackboneError, SettingsError

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
"""Fetched as far as they are there; the first alone is enough, or the last two."""


def image_text_files(
    name: str | Path, *, local_files_only: bool = False, cache_dir: str | Path | None = None
) -> VisionFiles:
    """The files of a name, folder or hub id, fetched if need be, the tokenizer's among them.

    Raises:
        SettingsError, GatedModelError, BackboneError: as `load_image_text`.
    """
    files = vision_files(name, models=IMAGE_TEXT, local_files_only=local_files_only, cache_dir=cache_dir)
    if not has_tokenizer(files.folder) and files.settings["revision"] is not None and not local_files_only:
        row = Model("", files.px, "", (files.source,))
        hub.fetched(str(name), row, files.source, str(files.settings["revision"]), list(TOKENIZER), cache_dir)
    if not has_tokenizer(files.folder):
        raise BackboneError(
            f"{files.source} has no tokenizer: expected tokenizer.json, or vocab.json and merges.txt, beside its config.json."
        )
    return files


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has one of the forms that are read."""
    return (folder / "tokenizer.json").is_file() or all(
        (folder / one).is_file() for one in ("vocab.json", "merges.txt")
    )


def download(name: str, *, cache_dir: str | Path | None = None) -> list[Path]:
    """Fetch everything that `load_image_text(name)` needs.

    Returns:
        The files, sorted, in the hub's cache.

    Raises:
        SettingsError, GatedModelError, BackboneError: as `load_image_text`.
    """
    if name not in IMAGE_TEXT and Path(name).expanduser().is_dir():
        raise SettingsError(f"{name} is a folder: there is nothing to download.")
    files = image_text_files(name, cache_dir=cache_dir)
    others = ("config.json", "preprocessor_config.json", "processor_config.json", *TOKENIZER)
    return sorted({*files.weights, *filter(Path.is_file, (files.folder / other for other in others))})
