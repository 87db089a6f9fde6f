"""Which models ComfyUI offers: the one that ships with tracedge, and folders under models/tracedge. Nothing is downloaded."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

SHIPPED = "mini"
STUDENT = "student.json"  # in its folder; any other model is read by the training-free teacher
MARKS = (STUDENT, "model_index.json", "mini.json", "config.json")


def model_folders() -> dict[str, Path]:
    """Name -> folder of each model that lies in a `tracedge` folder of ComfyUI's model paths; none outside of ComfyUI."""
    found: dict[str, Path] = {}
    for root in _roots():
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if any((folder / mark).is_file() for mark in MARKS):
                found.setdefault(folder.name, folder)
    return found


def model_names() -> list[str]:
    """What the list in the node offers."""
    return [SHIPPED, *(name for name in model_folders() if name != SHIPPED)]


def predictor_of(name: str) -> Any:
    """The edge predictor of a name: loaded once, kept until another one is asked for."""
    folder = model_folders().get(name)
    if folder is None and name != SHIPPED:
        raise ValueError(
            f"there is no model {name!r}: put its folder into ComfyUI/models/tracedge and reload the page."
        )
    return _loaded(SHIPPED if name == SHIPPED else str(folder), name == SHIPPED or (folder / STUDENT).is_file())


@lru_cache(maxsize=1)
def _loaded(place: str, student: bool) -> Any:
    import tracedge

    if student:
        return tracedge.EdgePredictor.from_pretrained(place, local_files_only=True)
    return tracedge.EdgeTeacher(place, local_files_only=True)


def _roots() -> list[Path]:
    try:
        import folder_paths  # ComfyUI's own
    except ImportError:
        return []
    if "tracedge" not in folder_paths.folder_names_and_paths:
        folder_paths.add_model_folder_path("tracedge", str(Path(folder_paths.models_dir) / "tracedge"))
    return [Path(path) for path in folder_paths.get_folder_paths("tracedge")]
