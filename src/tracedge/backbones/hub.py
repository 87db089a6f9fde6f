"""Where the files of a pipeline come from: a folder, or the Hugging Face hub and its cache.

What is on the disk is used without asking the network. A pipeline is fetched in parts (unet, vae, scheduler, ...), each
without the variants, the pickles and the single-file checkpoints that lie beside it. All parts are of one commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracedge.backbones import Model, model_of
from tracedge.backbones.configs import read_table, shards_in
from tracedge.errors import BackboneError, GatedModelError, SettingsError

INDEX = "model_index.json"
_WEIGHTS = ("diffusion_pytorch_model", "model")  # diffusers' and transformers' names
_SAMPLE = 2**16
_VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")


@dataclass(frozen=True)
class PipelineFiles:
    """A diffusers pipeline on the disk.

    folder: it holds model_index.json. source: the hub id, or the resolved folder. revision: the commit, None for a
    folder. index: what model_index.json says: part -> [library, class]. fetch: brings missing parts, or raises.
    """

    folder: Path
    source: str
    revision: str | None
    index: dict[str, object]
    fetch: Callable[[Sequence[str]], None]

    def class_of(self, part: str) -> str | None:
        """The class name of a part, None where the pipeline has no such part."""
        entry = self.index.get(part)
        return str(entry[1]) if isinstance(entry, list) and len(entry) == 2 and entry[1] else None

    def parts(self, *prefixes: str) -> list[str]:
        """The parts it has whose names begin so, sorted."""
        plain = (part for part in self.index if Path(part).name == part)  # a folder beside the index, and no other
        return sorted(part for part in plain if part.startswith(prefixes) and self.class_of(part))

    def text_parts(self) -> list[str]:
        """What the null prompt is encoded with: not T5's tokenizer, see text_encoders.py."""
        found = self.parts("text_encoder", "tokenizer")
        return [part for part in found if not str(self.class_of(part)).startswith("T5Tokenizer")]

    def fingerprint(self, parts: Sequence[str]) -> str:
        """What changes when files of these parts are exchanged, without reading gigabytes.

        It is made of the names and sizes of the files, all of the small ones, and samples of the large ones.
        """
        digest = hashlib.sha256((self.folder / INDEX).read_bytes())
        for part in parts:
            for path in sorted((self.folder / part).glob("*")):
                _add(digest, f"{part}/{path.name}", path)
        return digest.hexdigest()

    def require(self, parts: Sequence[str]) -> None:
        """Make sure that these parts are here, whole.

        Raises:
            BackboneError: one is not and cannot be had.
        """
        missing = [part for part in parts if not is_whole(self.folder, part)]
        if missing:
            self.fetch(missing)
        still = [part for part in missing if not is_whole(self.folder, part)]
        if still:
            raise BackboneError(
                f"{self.source}: the part {still[0]}/ is not there or not whole. tracedge reads a config and "
                "safetensors weights of the standard names (no .bin, .ckpt or fp16 variant) and loads no pickle."
            )


def fingerprint(paths: Iterable[Path]) -> str:
    """What changes when one of these files is exchanged, made as `PipelineFiles.fingerprint`."""
    digest = hashlib.sha256()
    for path in paths:
        _add(digest, path.name, path)
    return digest.hexdigest()


def is_whole(folder: Path, part: str) -> bool:
    """Whether a part has its config and all its weights (or its vocabulary) on the disk."""
    here = folder / part
    if part == "scheduler":
        return (here / "scheduler_config.json").is_file()
    if part.startswith("tokenizer"):
        return any((here / name).is_file() for name in _VOCABULARIES)
    if not (here / "config.json").is_file():
        return False
    if any((here / f"{stem}.safetensors").is_file() for stem in _WEIGHTS):
        return True
    indices = [here / f"{stem}.safetensors.index.json" for stem in _WEIGHTS]
    try:
        shards = [set(shards_in(index).values()) for index in indices if index.is_file()]
    except BackboneError:  # an index that cannot be read names no shards
        return False
    return any(all((here / shard).is_file() for shard in names) for names in shards)


def local_pipeline(folder: Path) -> PipelineFiles:
    """A pipeline that lies in a folder; nothing is ever fetched for it.

    Raises:
        BackboneError: there is no model_index.json that can be read.
    """

    def fetch(parts: Sequence[str]) -> None:
        """Nothing can be fetched: `require` says what is missing."""

    folder = folder.resolve()
    return PipelineFiles(folder, str(folder), None, _read_index(folder), fetch)


def hub_pipeline(
    name: str, model: Model, *, local_files_only: bool = False, cache_dir: str | Path | None = None
) -> PipelineFiles:
    """The pipeline of a name: the first of its hub ids that is in the cache, or else the first that the hub still has.

    Raises:
        GatedModelError: its page must be accepted first.
        BackboneError: it is not in the cache and cannot be had.
    """
    for hub_id in model.hub_ids:
        snapshot = cached(hub_id, model.revision, cache_dir)
        if snapshot is not None and (snapshot / INDEX).is_file():
            return _pipeline(name, model, hub_id, snapshot, local_files_only, cache_dir)
    if local_files_only:
        raise absent(name, "is not in the cache and local_files_only forbids to fetch it", model)
    for hub_id in model.hub_ids:
        snapshot = fetched(name, model, hub_id, model.revision, [INDEX], cache_dir)
        if snapshot is not None:
            return _pipeline(name, model, hub_id, snapshot, local_files_only, cache_dir)
    raise BackboneError(
        f"the hub has no {' nor '.join(model.hub_ids)} (or it is private). Give another hub id or the folder of a copy."
    )


def download(name: str, *, cache_dir: str | Path | None = None) -> list[Path]:
    """Fetch everything that `load_backbone(name)` needs, text encoders of the null prompt too, and nothing else.

    Returns:
        The files, sorted, in the hub's cache; none for "mini", which is inside the package.

    Raises:
        SettingsError, GatedModelError, BackboneError: as `load_backbone`.
    """
    if Path(name).expanduser().is_dir():
        raise SettingsError(f"{name} is a folder: there is nothing to download.")
    model = model_of(name)
    if not model.hub_ids:
        return []
    files = hub_pipeline(name, model, cache_dir=cache_dir)
    parts = files.parts("unet", "transformer", "vae", "scheduler") + files.text_parts()
    files.require(parts)
    return [files.folder / INDEX, *sorted(path for part in parts for path in (files.folder / part).iterdir())]


def _add(digest: hashlib._Hash, name: str, path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{name}:{size}".encode())
    with path.open("rb") as file:
        for start in range(0, size, max(_SAMPLE, size // 16)):
            file.seek(start)
            digest.update(file.read(_SAMPLE))


def _pipeline(
    name: str, model: Model, hub_id: str, snapshot: Path, local_files_only: bool, cache_dir: str | Path | None
) -> PipelineFiles:
    commit = snapshot.name

    def fetch(parts: Sequence[str]) -> None:
        if local_files_only:
            raise absent(name, f"lacks {', '.join(parts)} in the cache and local_files_only forbids to fetch")
        if fetched(name, model, hub_id, commit, _patterns(parts), cache_dir) is None:
            raise BackboneError(f"{hub_id} is in the cache without {', '.join(parts)}, and gone from the hub.")
        lacking = [part for part in parts if not (snapshot / part).is_dir()]
        if lacking:  # offline, the hub's client gives back what it has
            raise absent(name, f"lacks {', '.join(lacking)} in the cache and the hub did not give it")

    return PipelineFiles(snapshot, hub_id, commit, _read_index(snapshot), fetch)


def _patterns(parts: Iterable[str]) -> list[str]:
    """Configs, vocabularies and plain safetensors; `?????` keeps variants such as model.fp16-00001-of-00002 out."""
    names = ["*.json", "*.txt", "*.model"]
    names += [f"{stem}{shard}.safetensors" for stem in _WEIGHTS for shard in ("", "-?????-of-?????")]
    return [f"{part}/{name}" for part in parts for name in names]


def cached(hub_id: str, revision: str | None, cache_dir: str | Path | None) -> Path | None:
    """The folder of a repository in the cache, whole or not; None where nothing of it is there.

    Raises:
        SettingsError: it is no hub id.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            hub_id, revision=revision, cache_dir=cache_dir, local_files_only=True, allow_patterns=[INDEX]
        )
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise SettingsError(f"{hub_id!r} is no hub id: {error}") from error
    return Path(path)


def fetched(
    name: str, model: Model, hub_id: str, revision: str | None, patterns: list[str], cache_dir: str | Path | None
) -> Path | None:
    """The snapshot after fetching what matches, None where the hub has no such repository.

    Raises:
        GatedModelError: its page must be accepted first.
        BackboneError: no such revision, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(hub_id, revision=revision, cache_dir=cache_dir, allow_patterns=patterns))
    except RevisionNotFoundError as error:
        raise BackboneError(f"{hub_id} has no revision {revision}.") from error
    except (HTTPError, OSError) as error:
        chain = list(_causes(error))
        if any(isinstance(cause, GatedRepoError) for cause in chain):
            raise _gated(name, model, hub_id) from error
        if any(isinstance(cause, RepositoryNotFoundError) for cause in chain):
            return None  # the hub answers 401 for what does not exist, so this comes before the codes
        if any(isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403) for cause in chain):
            raise _gated(name, model, hub_id) from error
        why = next(iter(str(chain[-1]).splitlines()), type(chain[-1]).__name__)
        raise absent(name, f"is not in the cache and the hub cannot be reached ({why})", model) from error


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _gated(name: str, model: Model, hub_id: str) -> GatedModelError:
    return GatedModelError(
        f"{name} is gated: accept the licence on https://huggingface.co/{hub_id}, then run `hf auth login`."
        + (f" Or take {model.instead}, which needs neither." if model.instead else "")
    )


def absent(name: str, why: str, model: Model | None = None) -> BackboneError:
    """What to raise for files that are not here, with what can be done."""
    gated = f" {_gated(name, model, model.hub_ids[0])}" if model is not None and model.gated else ""
    return BackboneError(f"{name} {why}. Run `tracedge download {name}` where there is a network.{gated}")


def _read_index(folder: Path) -> dict[str, object]:
    try:
        return read_table(folder / INDEX)
    except BackboneError as error:
        raise BackboneError(f"{folder} is not a diffusers pipeline: {error}") from error
