"""Pretraining: it learns, it resumes exactly, and what it writes loads as a backbone."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tracedge.backbones.mini import MiniConfig, load_mini
from tracedge.errors import CheckpointError, DataError, SettingsError
from tracedge.pretraining import ImagePool, PretrainConfig, Stage, config_from_dict, pretrain
from tracedge.tensors import read_tensors

TINY = PretrainConfig(
    model=MiniConfig(width=32, heads=2, depth=2, patch=4, grid=4),
    stages=(Stage(16, 4, 6), Stage(32, 2, 4)),
    warmup=2,
    store_px=32,
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(6):
        picture = np.full((40, 48, 3), rng.integers(0, 256, 3), np.uint8)
        picture[10:30, 10 + number : 30] = rng.integers(0, 256, 3)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return ImagePool([sorted(folder.iterdir())], store_px=32)


def weights(folder):
    return read_tensors(folder / "checkpoint.safetensors")[0]


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(pool, tmp_path):
    pretrain(pool, TINY, tmp_path / "whole")
    pretrain(pool, TINY, tmp_path / "parts", until_step=3)
    pretrain(pool, TINY, tmp_path / "parts", until_step=8)
    pretrain(pool, TINY, tmp_path / "parts")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_killed_between_its_checkpoint_and_its_model_writes_the_model_when_it_is_resumed(pool, tmp_path):
    model = pretrain(pool, TINY, tmp_path, until_step=2)
    shutil.copytree(model, tmp_path / "older")
    pretrain(pool, TINY, tmp_path)
    kept = load_mini(model).settings
    shutil.rmtree(model)
    (tmp_path / "older").rename(model)
    assert load_mini(pretrain(pool, TINY, tmp_path)).settings == kept


def test_models_trained_for_equally_long_are_told_apart(pool, tmp_path):
    from dataclasses import replace

    first, second = (load_mini(pretrain(pool, replace(TINY, seed=seed), tmp_path / str(seed))) for seed in (0, 1))
    assert first.settings["revision"] == second.settings["revision"]
    assert first.settings["weights"] != second.settings["weights"]


def test_a_run_is_not_resumed_on_other_pictures(pool, tmp_path):
    pretrain(pool, TINY, tmp_path, until_step=2)
    other = ImagePool.__new__(ImagePool)
    other.groups, other.skipped = [pool.groups[0][::-1]], []
    with pytest.raises(CheckpointError, match="other data"):
        pretrain(other, TINY, tmp_path)


def test_the_loss_falls(pool, tmp_path):
    from dataclasses import replace

    losses = []
    config = replace(TINY, stages=(Stage(16, 16, 60),), learning_rate=5e-3)
    pretrain(pool, config, tmp_path, on_step=lambda step: losses.append(step.loss))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])


def test_the_model_it_writes_is_a_backbone_with_the_averaged_weights(pool, tmp_path):
    model = pretrain(pool, TINY, tmp_path)
    backbone = load_mini(model)
    kept = {name.removeprefix("average/"): t for name, t in weights(tmp_path).items() if name.startswith("average/")}
    assert all(torch.equal(kept[name], weight) for name, weight in backbone.network.state_dict().items())
    assert backbone.denoise(torch.zeros(1, 3, 16, 24), torch.tensor([100.0])).shape == (1, 3, 16, 24)


def test_a_checkpoint_of_other_settings_is_refused(pool, tmp_path):
    from dataclasses import replace

    pretrain(pool, TINY, tmp_path, until_step=1)
    with pytest.raises(CheckpointError, match="another config"):
        pretrain(pool, replace(TINY, seed=1), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(pool, tmp_path, monkeypatch):
    pretrain(pool, TINY, tmp_path, until_step=2)
    monkeypatch.setattr("tracedge.pretraining.F.mse_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(FloatingPointError, match="step 2"):
        pretrain(pool, TINY, tmp_path)
    assert read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == "2"


def test_broken_weights_are_refused(pool, tmp_path):
    model = pretrain(pool, TINY, tmp_path, until_step=1)
    (shard,) = (model / "transformer").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="does not hold a mini model"):
        load_mini(model)
    with pytest.raises(CheckpointError):
        load_mini(tmp_path / "nothing")


def test_a_weight_that_is_missing_is_refused(pool, tmp_path):
    from safetensors.torch import load_file, save_file

    model = pretrain(pool, TINY, tmp_path, until_step=1)
    (shard,) = (model / "transformer").glob("*.safetensors")
    tensors = load_file(shard)
    tensors.pop("proj_out.bias")
    save_file(tensors, shard, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"proj_out\.bias"):
        load_mini(model)


def test_crops_have_the_shape_asked_for_and_depend_on_the_generator_alone(pool):
    first = pool.draw(np.random.default_rng(3), 5, (16, 24), 0.5)
    again = pool.draw(np.random.default_rng(3), 5, (16, 24), 0.5)
    assert first.shape == (5, 3, 16, 24)
    assert torch.equal(first, again)
    assert -1 <= float(first.min()) <= float(first.max()) <= 1


def test_pictures_that_cannot_be_read_are_listed_and_left_out(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "good.png")
    pool = ImagePool([sorted(tmp_path.iterdir())], store_px=16)
    assert len(pool) == 1
    assert pool.skipped[0][0].name == "bad.png"
    with pytest.raises(DataError, match="nothing to train on"):
        ImagePool([[tmp_path / "bad.png"]], store_px=16)


def test_a_config_comes_from_a_table_and_unknown_keys_are_refused():
    config = config_from_dict({"model": {"width": 64}, "stages": [{"px": 32, "batch": 2, "steps": 3}], "seed": 4})
    assert (config.model.width, config.stages, config.seed, config.steps) == (64, (Stage(32, 2, 3),), 4, 3)
    with pytest.raises(SettingsError, match="sead"):
        config_from_dict({"sead": 4})
    with pytest.raises(SettingsError, match="multiple of 4"):
        config_from_dict({"model": {"width": 30}})


def test_the_rate_rises_stays_and_falls_to_zero():
    config = PretrainConfig(stages=(Stage(16, 1, 100),), warmup=10, cooldown=0.2, learning_rate=1.0)
    assert config.rate_at(0) == pytest.approx(0.1)
    assert config.rate_at(50) == 1.0
    assert config.rate_at(99) == pytest.approx(0.05)


def test_the_log_says_which_step_had_which_loss(pool, tmp_path):
    from dataclasses import replace

    pretrain(pool, replace(TINY, stages=(Stage(16, 2, 20),)), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20]
