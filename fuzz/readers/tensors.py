"""Weights: safetensors with what their table says, checkpoints of trainings, students, cards of detectors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from torch import nn

from fuzz.containers import damaged_safetensors
from fuzz.contract import Reader
from fuzz.json_trees import damaged_json
from tracedge.categories import Category
from tracedge.checkpoints import read_checkpoint, under, write_checkpoint
from tracedge.detector.files import DetectorCard, read_card
from tracedge.student.files import StudentCard, read_student
from tracedge.tensors import read_tensors, write_tensors

_DESCRIBED = "the config"
_STUDENT = StudentCard(
    {"name": "mini", "revision": None, "weights": "0"}, 128, 2, 4, 8, 6, values=2, trained={"steps": 3}
)
_DETECTOR = DetectorCard(64, (Category(3, "box", True), Category(7, "ground", False)), True, {"steps": 3})


def _written(tensors: dict[str, torch.Tensor], table: dict[str, str]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        write_tensors(path, tensors, table)
        return path.read_bytes()


def _model() -> tuple[nn.Linear, torch.optim.Optimizer]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(2, 3)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return layer, optimiser


def _checkpoints() -> list[bytes]:
    layer, optimiser = _model()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        weights = {f"weight/{number}": weight.detach() for number, weight in enumerate(layer.parameters())}
        write_checkpoint(path, weights, [optimiser], _DESCRIBED, 7)
        return [path.read_bytes()]


def _weights() -> list[bytes]:
    both = {
        "a": torch.arange(6.0).reshape(2, 3),
        "b/c": torch.zeros(0, 4),
        "d": torch.tensor(1.5, dtype=torch.bfloat16),
    }
    return [_written(both, {"config": "{}"}), _written(both | {"e": torch.ones(3, dtype=torch.int64)}, {})]


def _students() -> list[bytes]:
    return [_written({"decoder/mean": torch.zeros(4)}, {"student": json.dumps(asdict(_STUDENT))})]


def _detectors() -> list[bytes]:
    return [_written({"a": torch.zeros(4)}, {"detector": json.dumps(asdict(_DETECTOR))})]


def _damaged_with(key: str, value: object, name: str):  # type: ignore[no-untyped-def]
    """Damage to the file, or to the JSON that its table holds under a key."""

    def damage(content: bytes, chance: Random) -> bytes:
        if chance.randrange(3) == 0:
            return damaged_safetensors(content, chance)
        text = damaged_json(json.dumps(value).encode(), chance).decode("utf-8", "replace")
        return _written({name: torch.zeros(4)}, {key: text})

    return damage


def _tensors(path: Path) -> None:
    tensors, table = read_tensors(path)
    for tensor in tensors.values():
        assert not tensor.is_floating_point() or tensor.double().isfinite().all()
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in table.items())


def _checkpoint(path: Path) -> None:
    layer, optimiser = _model()
    tensors, step = read_checkpoint(path, [optimiser], _DESCRIBED)
    assert type(step) is int and step >= 0 and all(under("weight/", tensors))
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()  # what was put back can be gone on with
    assert step == 7 and all(weight.isfinite().all() for weight in layer.parameters())


def _student(path: Path) -> None:
    _, card = read_student(path.parent)
    assert min(card.size, card.detail, card.width, card.blocks) >= 1 and min(card.rank, card.values) >= 0
    low, high = card.log_odds
    assert low < high and isinstance(card.backbone, dict) and isinstance(card.trained, dict)


def _card(path: Path) -> None:
    card = read_card(path.parent, local_files_only=True)
    assert type(card.px) is int and card.px >= 32 and type(card.panoptic) is bool and card.categories
    assert len({one.id for one in card.categories}) == len(card.categories)


def _config(folder: Path) -> None:
    (folder / "config.json").write_text(
        '{"model_type": "mask2former", "id2label": {"0": "cat", "1": "sky-other-merged"}}'
    )


READERS = [
    Reader("safetensors", "a.safetensors", _weights, damaged_safetensors, _tensors),
    Reader("checkpoint", "checkpoint.safetensors", _checkpoints, damaged_safetensors, _checkpoint),
    Reader(
        "student",
        "student.safetensors",
        _students,
        _damaged_with("student", asdict(_STUDENT), "decoder/mean"),
        _student,
    ),
    Reader(
        "card of a detector",
        "model.safetensors",
        _detectors,
        _damaged_with("detector", asdict(_DETECTOR), "a"),
        _card,
        _config,
    ),
]
