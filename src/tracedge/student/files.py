"""A student on disk: `student.safetensors` (LoRA, decoder, the card's facts), and to be read `student.json` and `README.md`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor

from tracedge.atomic import atomic_path
from tracedge.backbones.protocol import Backbone
from tracedge.errors import BackboneError, CheckpointError, SettingsError
from tracedge.jsonlines import decode
from tracedge.settings import check_types
from tracedge.tensors import read_tensors, write_tensors

FACTS, WEIGHTS, CARD = "student.json", "student.safetensors", "README.md"
ADAPTERS, DECODER = "adapters/", "decoder/"
"""How the names of the tensors of each begin."""

MERGED = "merged_student"
"""The key of a backbone's settings that says which student's LoRA is in its weights."""

SHIPPED = {"mini": "mini-student"}
"""Students inside the package: the backbone they belong to -> their folder under weights/."""

_MOST = 16_384
_LEAST = {"size": 1, "detail": 1, "rank": 0, "width": 1, "blocks": 1, "values": 0}


@dataclass(frozen=True)
class StudentCard:
    """What a student is, besides its weights.

    backbone: name, source, revision and licence of the model it was distilled from, and of no other. size: long side in
    pixels that this model sees; the decoder sees `detail` times as many. rank: of LoRA, 0 for none. width: of the decoder.
    blocks: self-attention blocks of the backbone. log_odds: what becomes edge 0 and edge 1; between them edges are
    linear in the log-odds, so that the order of sure edges is kept too. values: blocks whose values are read. trained:
    steps, config and the labels' provenance.
    """

    backbone: dict[str, Any]
    size: int
    detail: int
    rank: int
    width: int
    blocks: int
    log_odds: tuple[float, float] = (-4.0, 16.0)
    values: int = 0
    trained: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) <= _MOST:
                raise SettingsError(f"{name} of a student is in {least}..{_MOST}, got {getattr(self, name)}")
        if not isinstance(self.backbone, dict) or not isinstance(self.trained, dict):
            raise SettingsError("backbone and trained of a student are tables")
        ends = tuple(self.log_odds)
        if len(ends) != 2 or not all(type(end) in (int, float) for end in ends) or not -1e6 < ends[0] < ends[1] < 1e6:
            raise SettingsError(f"log_odds of a student are two numbers in ascending order, got {ends!r:.80}")
        object.__setattr__(self, "log_odds", ends)


def write_student(folder: Path, tensors: Mapping[str, Tensor], card: StudentCard) -> None:
    """Write a student's folder. The weights carry the facts: a kill or a full disk leaves the old student or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, dict(tensors), {"student": json.dumps(asdict(card), sort_keys=True)})
    with atomic_path(folder / FACTS) as path:
        path.write_text(json.dumps(asdict(card), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    with atomic_path(folder / CARD) as path:
        path.write_text(_model_card(card), encoding="utf-8")


def is_written(folder: Path, card: StudentCard) -> bool:
    """Whether a folder holds the student of this card, whole: the model card, which says the steps, is written last."""
    try:
        _, there = read_student(folder)
        whole = (folder / CARD).read_text(encoding="utf-8") == _model_card(card)
    except (OSError, CheckpointError):
        return False
    return whole and json.dumps(asdict(there), sort_keys=True) == json.dumps(asdict(card), sort_keys=True)


def read_student(folder: Path) -> tuple[dict[str, Tensor], StudentCard]:
    """The weights and the card of a folder.

    Raises:
        CheckpointError: it is no student.
    """
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder} does not hold a student: there is no {WEIGHTS} in it")
    tensors, metadata = read_tensors(folder / WEIGHTS)
    try:
        return tensors, StudentCard(**decode(metadata["student"]))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not hold a student: {error!r}") from error


def find_student(name: str | Path, *, local_files_only: bool = False) -> Path:
    """The folder of a student: of one inside the package by its backbone's name, a folder, or a hub id.

    Raises:
        SettingsError: neither of these.
        BackboneError: a hub id that is not in the cache and cannot be had.
    """
    if str(name) in SHIPPED:
        return Path(str(resources.files("tracedge"))) / "weights" / SHIPPED[str(name)]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        raise SettingsError(
            f"{str(name)!r} is no student: give one of {', '.join(SHIPPED)}, a folder that `tracedge distill` wrote, or a hub id."
        )
    return _from_hub(str(name), local_files_only)


def is_same_model(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether the settings of two backbones name the same weights, wherever they lie."""
    return all(theirs.get(key) == ours.get(key) for key in ("revision", "weights", MERGED))


def refuse_other(card: StudentCard, backbone: Backbone) -> None:
    """A student fits the very weights it was distilled from.

    Raises:
        CheckpointError: another revision, other weights or another number of blocks, or a student merged into them.
    """
    if MERGED in backbone.settings:
        raise CheckpointError("a student was merged into this model already: load the model anew for another.")
    if not is_same_model(card.backbone, backbone.settings) or len(backbone.attention_blocks) != card.blocks:
        raise CheckpointError(
            f"this student was distilled from {card.backbone}, which the model given is not: {backbone.settings}. "
            "Give the right one as backbone=, or distil again."
        )


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """16 hexadecimal digits of a student's tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _from_hub(hub_id: str, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=[FACTS, WEIGHTS, CARD], local_files_only=local_files_only))
    except HFValidationError as error:
        raise SettingsError(f"{hub_id!r} is no hub id: {error}") from error
    except (HTTPError, OSError, LocalEntryNotFoundError) as error:
        raise BackboneError(f"the student {hub_id} is not in the cache and cannot be fetched: {error}") from error


def _model_card(card: StudentCard) -> str:
    base = card.backbone
    steps = card.trained.get("steps", "unknown")
    return f"""---
{_licence_lines(str(base.get("licence", "unknown")))}
base_model: {base.get("source", base.get("name"))}
library_name: tracedge
tags: [edge-detection, unsupervised, diffusion]
---
# Instance edges in one step, of {base.get("name")}

LoRA (rank {card.rank}) and an edge decoder for tracedge, distilled from the model's own attention, without labels.

    import tracedge
    edges = tracedge.EdgePredictor.from_pretrained("this folder or hub id")("photo.jpg").edges

- **Base model**: {base.get("source", base.get("name"))}, revision {base.get("revision")}; a student fits no other.
- **Licence**: that of the base model ({base.get("licence", "unknown")}) holds for what is derived from it.
- **Training**: {steps} steps; settings and the labels' provenance are in `{FACTS}`.
"""


def _licence_lines(licence: str) -> str:
    """As the hub reads them: its own names as they are, others as `other` with a name."""
    known = {"apache-2.0", "mit", "openrail", "openrail++", "creativeml-openrail-m"}
    return f"license: {licence.lower()}" if licence.lower() in known else f"license: other\nlicense_name: {licence}"
