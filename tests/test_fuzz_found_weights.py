"""What fuzzing found in weights, cards and configs of models, and what is said of it now."""

import json
import re
import struct

import pytest
import torch
from fuzz.readers import READERS

from test_fuzz_found import written
from tracedge.backbones.configs import MAX_BYTES, read_table, refuse_implausible, shards_in
from tracedge.backbones.vision import load_vision
from tracedge.backbones.vision.pixels import OPENAI, pixels_of
from tracedge.categories import Category
from tracedge.checkpoints import read_checkpoint, write_checkpoint
from tracedge.detector.files import DetectorCard
from tracedge.errors import BackboneError, CheckpointError, SettingsError
from tracedge.student.files import StudentCard
from tracedge.tensors import read_tensors, write_tensors


def test_numbers_that_nobody_can_check_are_refused(tmp_path):
    table = json.dumps({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    path = written(tmp_path / "a.safetensors", struct.pack("<Q", len(table)) + table + b"\0")
    with pytest.raises(CheckpointError, match=r"a\.safetensors (holds numbers that are not read|is not a whole)"):
        read_tensors(path)


def test_an_empty_tensor_with_a_side_beyond_all_numbers_is_refused(tmp_path):
    """Found by atheris: no bytes, so the file is whole; torch answers with a TypeError of many lines."""
    table = json.dumps({"a": {"dtype": "F32", "shape": [0, 1 << 63], "data_offsets": [0, 0]}}).encode()
    path = written(tmp_path / "a.safetensors", struct.pack("<Q", len(table)) + table)
    with pytest.raises(
        CheckpointError, match=r"a\.safetensors is not a whole safetensors file: .*[Oo]verflow"
    ) as caught:
        read_tensors(path)
    assert len(str(caught.value)) < 400


def checkpoint(path, change):
    layer = torch.nn.Linear(2, 3)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    write_checkpoint(path, {}, [optimiser], "it", 3)
    tensors, table = read_tensors(path)
    change(tensors, table)
    write_tensors(path, tensors, table)
    return [optimiser]


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, table: table.pop("step"),
        lambda tensors, table: table.update(step="1e3"),
        lambda tensors, table: table.pop("digest"),
        lambda tensors, table: tensors.update({"optimiser0/x/y/z": torch.ones(1)}),  # before: ValueError
        lambda tensors, table: tensors.update({"optimiser0/0/exp_avg": torch.ones(7)}),  # at the next step
        lambda tensors, table: tensors.pop("optimiser0/0/step"),  # KeyError
        lambda tensors, table: tensors.update({"optimiser0/0/step": torch.tensor(-1e30)}),  # OverflowError, by atheris
        lambda tensors, table: tensors.update({"optimiser0/0/exp_avg_sq": -torch.ones(3, 2)}),  # weights of nan
    ],
)
def test_a_checkpoint_that_lies_is_refused(tmp_path, change):
    path = tmp_path / "checkpoint.safetensors"
    optimisers = checkpoint(path, change)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors is damaged"):
        read_checkpoint(path, optimisers, "it")


@pytest.mark.parametrize(
    "change",
    [{"size": "1"}, {"size": 0}, {"log_odds": (1,)}, {"log_odds": (2.0, 1.0)}, {"backbone": []}, {"width": 1 << 40}],
)
def test_a_students_card_is_checked(change):
    said = {"backbone": {}, "size": 16, "detail": 2, "rank": 0, "width": 8, "blocks": 2}
    StudentCard(**said)
    with pytest.raises(SettingsError):
        StudentCard(**(said | change))


@pytest.mark.parametrize("change", [{"px": 0}, {"px": "64"}, {"categories": ()}, {"panoptic": 1}, {"trained": None}])
def test_a_detectors_card_is_checked(change):
    said = {"px": 64, "categories": (Category(1, "a", True),), "panoptic": False}
    DetectorCard(**said)
    with pytest.raises(SettingsError):
        DetectorCard(**(said | change))


def test_a_config_with_numbers_that_no_model_has_is_refused():
    refuse_implausible({"hidden_size": 4096, "text_config": {"num_hidden_layers": 96, "vocab_size": 262_144}}, "a")
    for config in ({"num_hidden_layers": 1 << 20}, {"vision_config": {"sizes": [8, 1 << 40]}}, {"depth": -5000}):
        with pytest.raises(BackboneError, match="more than any model's"):
            refuse_implausible(config, "a")


@pytest.mark.parametrize("change", [{"dtype": ["float32"]}, {"hidden_size": 1 << 40}, {"num_attention_heads": 0}])
def test_a_config_that_a_library_trips_over_is_refused(tmp_path, change):
    """A list as dtype: transformers looks for a dot in it (IndexError, by atheris)."""
    reader = READERS["vision config"]
    reader.prepare(tmp_path)
    path = tmp_path / reader.file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BackboneError, match=re.escape(str(tmp_path))):
        load_vision(tmp_path, device="cpu")


@pytest.mark.parametrize(
    "shard", ["../up.safetensors", "/etc/passwd", "a/b.safetensors", "", "..", "a.bin", 3, ["a"], None]
)
def test_an_index_names_files_beside_it_only(tmp_path, shard):
    path = written(tmp_path / "a.index.json", json.dumps({"weight_map": {"a": shard}}).encode())
    with pytest.raises(BackboneError, match="names no files beside it"):
        shards_in(path)


def test_a_config_larger_than_any_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(BackboneError, match="larger than"):
        read_table(path)


@pytest.mark.parametrize("change", [{"image_mean": [10**400] * 3}, {"image_std": 1e-300}, {"rescale_factor": 1e308}])
def test_an_image_processor_says_numbers_of_this_world(change):
    said = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3} | change
    with pytest.raises(BackboneError, match="its image processor has"):
        pixels_of(said, "a", OPENAI)
