"""A detector on disk: transformers' own `config.json`, `preprocessor_config.json` and `model.safetensors`, and a model card.

transformers reads the folder as any Mask2Former. What tracedge knows besides stands in the metadata of the weights, so that a
kill leaves the old detector or the new one.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tracedge.atomic import atomic_path
from tracedge.backbones.vision.files import VisionFiles, vision_files
from tracedge.backbones.vision.pixels import Pixels
from tracedge.backbones.vision.weights import without_notes
from tracedge.categories import COCO_PANOPTIC, Category, by_id
from tracedge.detector.labels import Labels
from tracedge.detector.network import MODEL_TYPE, Mask2Former, open_mask2former
from tracedge.errors import CheckpointError, DataError, SettingsError
from tracedge.jsonlines import decode
from tracedge.semantics.classes import classes_of
from tracedge.settings import check_types
from tracedge.tensors import read_tensors, write_tensors

CONFIG, PREPROCESSOR, WEIGHTS, CARD = "config.json", "preprocessor_config.json", "model.safetensors", "README.md"
_SAVING = ".saving-"
_PLACE = re.compile("[0-9]{1,6}")
_MAX_PX = 16_384
COMMON_PX = 1024
"""The long side at which a Mask2Former of the hub sees a picture; they were trained on squares of 1024, or the like."""


@dataclass(frozen=True)
class DetectorCard:
    """What a detector is, besides its weights.

    px: the long side in pixels at which it sees a picture. categories: what its classes are. panoptic: whether it knows things
    and stuff, and not instances of any class. trained: steps, config, the labels' provenance and the first weights.
    """

    px: int
    categories: tuple[Category, ...]
    panoptic: bool
    trained: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        if not 32 <= self.px <= _MAX_PX or not self.categories or not isinstance(self.trained, dict):
            raise SettingsError(f"a detector has px in 32..{_MAX_PX}, classes, and a table of its training")
        if min(by_id(self.categories)) < 0:
            raise SettingsError("the classes of a detector have numbers from 0")


def write_detector(folder: Path, network: Any, pixels: Pixels, card: DetectorCard) -> None:
    """Write a detector's folder. Names of weights are those that transformers gives them on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_SAVING}*"):  # by a kill
        shutil.rmtree(left)
    with TemporaryDirectory(prefix=_SAVING, dir=folder) as saved, without_notes():
        network.save_pretrained(saved, max_shard_size="1TB")
        tensors, _ = read_tensors(Path(saved) / WEIGHTS)
        config = json.loads((Path(saved) / CONFIG).read_text(encoding="utf-8"))
    processor = {
        "image_processor_type": "Mask2FormerImageProcessor",
        "size": {"longest_edge": card.px, "shortest_edge": card.px},
        "size_divisor": 32,
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.deviation),
    }
    for name, content in ((CONFIG, config), (PREPROCESSOR, processor)):
        with atomic_path(folder / name) as path:
            path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt", "detector": json.dumps(asdict(card))})
    with atomic_path(folder / CARD) as path:
        path.write_text(_model_card(card), encoding="utf-8")


def is_written(folder: Path, card: DetectorCard) -> bool:
    """Whether a folder holds the detector of this card, whole: the model card, which says the steps, is written last."""
    try:
        _, metadata = read_tensors(folder / WEIGHTS)
        whole = (folder / CARD).read_text(encoding="utf-8") == _model_card(card)
    except (OSError, CheckpointError):
        return False
    return whole and metadata.get("detector") == json.dumps(asdict(card))


def read_detector(name: str | Path, *, local_files_only: bool = False) -> tuple[Mask2Former, DetectorCard]:
    """The network and the card of a folder or hub id; of a Mask2Former that tracedge did not train, what its config says.

    Raises:
        CheckpointError: it is no detector.
        SettingsError, GatedModelError, BackboneError: as `vision_files` and `open_mask2former`.
    """
    files = _files(name, local_files_only)
    return open_mask2former(files), _card(files)


def read_card(name: str | Path, *, local_files_only: bool = False) -> DetectorCard:
    """The card alone; raises as `read_detector` does."""
    return _card(_files(name, local_files_only))


def refuse_other_classes(card: DetectorCard, labels: Labels) -> None:
    """A detector goes on with its own classes, and with its own kind of masks.

    Raises:
        CheckpointError: the labels have others.
    """
    if card.categories != labels.categories or card.panoptic != labels.panoptic:
        raise CheckpointError(
            f"the detector knows {len(card.categories)} classes, the labels have {len(labels.categories)} or others: a detector "
            "goes on with its own."
        )


def _files(name: str | Path, local_files_only: bool) -> VisionFiles:
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} does not hold a detector: there is no {CONFIG} in it")
    files = vision_files(name, local_files_only=local_files_only)
    if files.model_type != MODEL_TYPE:
        raise CheckpointError(f"{name} is no detector: its model is of the type {files.model_type!r}, not {MODEL_TYPE}")
    return files


def _card(files: VisionFiles) -> DetectorCard:
    said = None
    if len(files.weights) == 1:
        _, metadata = read_tensors(files.weights[0])
        said = metadata.get("detector")
    if said is None:
        return _card_of_config(files)
    try:
        facts = decode(said)
        facts["categories"] = tuple(Category(**each) for each in facts["categories"])
        return DetectorCard(**facts)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{files.weights[0]} has a card of no detector: {error!r}") from error


def _card_of_config(files: VisionFiles) -> DetectorCard:
    """Its classes are COCO's panoptic categories, or things among them, by their names."""
    labels = files.config.get("id2label")
    if not isinstance(labels, dict) or not all(_PLACE.fullmatch(str(key)) for key in labels):
        raise CheckpointError(f"{files.source} does not say what its classes are: there is no id2label in its config.")
    names = {int(place): str(name) for place, name in labels.items()}
    try:
        found = classes_of(names, COCO_PANOPTIC, where=files.source)
        if sorted(names) != list(range(len(names))):
            raise DataError(f"the places of its {len(names)} classes are not 0, 1, ...")
    except DataError as error:
        raise CheckpointError(f"{files.source} is no Mask2Former of COCO: {error}") from error
    known = by_id(COCO_PANOPTIC)
    categories = tuple(known[found.of_value[place]] for place in range(len(names)))
    return DetectorCard(COMMON_PX, categories, any(not one.isthing for one in categories))


def _model_card(card: DetectorCard) -> str:
    first = card.trained.get("start", {})
    kind = f"panoptic, {len(card.categories)} classes" if card.panoptic else "instances of any class"
    return f"""---
library_name: tracedge
tags: [image-segmentation, unsupervised, mask2former]
---
# Mask2Former trained on pseudo masks: {kind}

    import tracedge
    instances = tracedge.Detector.from_pretrained("this folder or hub id")("photo.jpg")

- **First weights**: {json.dumps(first, sort_keys=True)}; their licence holds for what is derived from them.
- **Training**: {card.trained.get("steps", "unknown")} steps; settings and the labels are in the metadata of `{WEIGHTS}`.
- transformers reads it too: `Mask2FormerForUniversalSegmentation.from_pretrained`.
"""
