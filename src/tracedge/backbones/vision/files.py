"""Where the files of a vision model come from: a folder, or the hub and its cache; only the weights that are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracedge.backbones import Model, hub
from tracedge.backbones.configs import read_table, refuse_implausible, shards_in
from tracedge.backbones.vision import VISION, model_in
from tracedge.errors import BackboneError, SettingsError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
TOWERS: dict[str, tuple[str, ...]] = {"qwen2_5_vl": ("visual.", "model.visual.")}
"""model_type -> how the tensors' names of the part that is loaded begin; the shards without it are not even fetched."""


@dataclass(frozen=True)
class VisionFiles:
    """A model on the disk.

    weights: the safetensors that hold what is needed. config: what config.json says. processing: what the file of its image
    processor says, None where there is none. px: the long side of the table, 0 for a model that is not in it. settings: what
    identifies the weights, as a `Backbone` has them.
    """

    folder: Path
    source: str
    weights: tuple[Path, ...]
    config: dict[str, Any]
    processing: dict[str, Any] | None
    px: int
    settings: dict[str, object]

    @property
    def name(self) -> str:
        return str(self.settings["name"])

    @property
    def model_type(self) -> object:
        return self.config.get("model_type")


def vision_files(
    name: str | Path,
    *,
    models: Mapping[str, Model] = VISION,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> VisionFiles:
    """The files of a name of the table, a folder or a hub id, fetched if need be.

    Raises:
        SettingsError, GatedModelError, BackboneError: as `load_vision`.
    """
    said: dict[str, object]
    folder = Path(name).expanduser()
    if str(name) not in models and folder.is_dir():
        folder = folder.resolve()
        source, px, said = str(folder), 0, {"name": folder.name, "revision": None, "licence": "unknown"}
    else:
        row = model_in(models, str(name))
        folder = _snapshot(str(name), row, local_files_only, cache_dir)
        source, px = row.hub_ids[0], row.px
        said = {"name": str(name), "revision": folder.name, "licence": row.licence}
    if not (folder / CONFIG).is_file() or _missing(folder):
        raise BackboneError(
            f"{source} has no config.json and model.safetensors that are whole; tracedge loads no pickle."
        )
    weights = tuple(folder / shard for shard in _needed(folder))
    config = read_table(folder / CONFIG)
    refuse_implausible(config, source)
    settings = said | {"source": source}
    if said["revision"] is None:  # a folder: its weights can be exchanged under the same name
        settings["weights"] = hub.fingerprint(weights)[:16]
    return VisionFiles(folder, source, weights, config, _processing(folder), px, settings)


def download(name: str, *, models: Mapping[str, Model] = VISION, cache_dir: str | Path | None = None) -> list[Path]:
    """Fetch everything that `load_vision(name)` needs (or what loads a name of another table), and nothing else.

    Returns:
        The files, sorted, in the hub's cache.

    Raises:
        SettingsError, GatedModelError, BackboneError: as `load_vision`.
    """
    if str(name) not in models and Path(name).expanduser().is_dir():
        raise SettingsError(f"{name} is a folder: there is nothing to download.")
    files = vision_files(name, models=models, cache_dir=cache_dir)
    more = [files.folder / name for name in (PREPROCESSOR, PROCESSOR)]
    return sorted([files.folder / CONFIG, *filter(Path.is_file, more), *files.weights])


def _snapshot(name: str, row: Model, local_files_only: bool, cache_dir: str | Path | None) -> Path:
    """The folder of a hub model in the cache: config and index first, since they say which weights are needed."""
    hub_id = row.hub_ids[0]
    snapshot = hub.cached(hub_id, row.revision, cache_dir)
    if snapshot is not None and (snapshot / CONFIG).is_file() and not _missing(snapshot):
        return snapshot
    if local_files_only:
        raise hub.absent(name, "is not whole in the cache and local_files_only forbids to fetch it", row)
    wanted = [CONFIG, INDEX, PREPROCESSOR, PROCESSOR]
    for _ in range(2):
        commit = snapshot.name if snapshot is not None else row.revision
        found = hub.fetched(name, row, hub_id, commit, wanted, cache_dir)
        if found is None:
            raise BackboneError(f"the hub has no {hub_id} (or it is private): give the folder of a copy.")
        if not (found / CONFIG).is_file():  # offline, the hub's client gives back what it has
            raise hub.absent(name, "is not in the cache and the hub did not give it", row)
        snapshot, wanted = found, _missing(found)
        if not wanted:
            break
    assert snapshot is not None
    return snapshot


def _processing(folder: Path) -> dict[str, Any] | None:
    """What the image processor's file says: as transformers looks for it, first within the file of the whole processor."""
    whole = read_table(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    if "image_processor" in whole:
        if not isinstance(whole["image_processor"], dict):
            raise BackboneError(f"{folder / PROCESSOR} has an image_processor that is no table.")
        return dict(whole["image_processor"])
    return read_table(folder / PREPROCESSOR) if (folder / PREPROCESSOR).is_file() else None


def _missing(folder: Path) -> list[str]:
    return [shard for shard in _needed(folder) if not (folder / shard).is_file()]


def _needed(folder: Path) -> list[str]:
    """The names of the weight files that hold what is loaded."""
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [WEIGHTS]
    prefixes = TOWERS.get(str(read_table(folder / CONFIG).get("model_type")), ("",))
    shards = {shard for key, shard in shards_in(folder / INDEX).items() if key.startswith(prefixes)}
    if not shards:
        raise BackboneError(f"{folder / INDEX} names no file for the weights that are needed.")
    return sorted(shards)
