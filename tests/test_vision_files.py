"""What is fetched of a vision model, and what is said when it cannot be had. The hub is a stand-in."""

from __future__ import annotations

import fnmatch
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from typer.testing import CliRunner

import tiny_vision
from tracedge.backbones.vision import VISION, load_vision
from tracedge.backbones.vision.files import download
from tracedge.cli import app
from tracedge.errors import BackboneError, GatedModelError, SettingsError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
QWEN = VISION["qwen2.5-vl-3b"].hub_ids[0]


@pytest.fixture
def hub_of(tmp_path, monkeypatch):
    """hub id -> folder or refusal; gives the patterns that were asked of the network, call by call."""

    def stand_in(repositories: dict[str, Path | Exception]) -> list[list[str]]:
        asked: list[list[str]] = []

        def snapshot_download(hub_id, *, revision=None, cache_dir=None, local_files_only=False, allow_patterns=()):
            snapshot = tmp_path / "hub" / hub_id.replace("/", "--") / COMMIT
            if local_files_only:
                if snapshot.is_dir():
                    return str(snapshot)
                raise LocalEntryNotFoundError("not in the cache")
            asked.append(list(allow_patterns))
            assert revision in (None, COMMIT)
            there = repositories[hub_id]
            if isinstance(there, Exception):
                raise there
            snapshot.mkdir(parents=True, exist_ok=True)
            for path in there.iterdir():
                if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                    shutil.copy(path, snapshot / path.name)
            return str(snapshot)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return asked

    return stand_in


def refusal(kind, code: int):
    return kind(f"{code}", response=SimpleNamespace(status_code=code, headers={}, request=None))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> Path:
    return tiny_vision.save_tiny("qwen2_5_vl", tmp_path_factory.mktemp("hub") / "qwen", max_shard_size="40KB")


def test_of_qwen_only_the_shards_with_the_tower_are_fetched_once(hub_of, qwen):
    table = json.loads((qwen / "model.safetensors.index.json").read_text())["weight_map"]
    of_tower = sorted({shard for key, shard in table.items() if key.startswith("visual.")})
    assert set(of_tower) < set(table.values())
    asked = hub_of({QWEN: qwen})
    files = download("qwen2.5-vl-3b")
    assert asked == [
        ["config.json", "model.safetensors.index.json", "preprocessor_config.json", "processor_config.json"],
        of_tower,
    ]
    assert [path.name for path in files] == ["config.json", *of_tower]
    model = load_vision("qwen2.5-vl-3b", device="cpu", local_files_only=True)
    assert len(asked) == 2  # what is here is not asked for again
    assert model.px == VISION["qwen2.5-vl-3b"].px
    said = {"name": "qwen2.5-vl-3b", "source": QWEN, "revision": COMMIT, "licence": "qwen-research"}
    assert model.settings == said | {"pixels": model.pixels.settings}


def test_the_file_of_the_image_processor_is_fetched_too(hub_of, qwen, tmp_path):
    there = shutil.copytree(qwen, tmp_path / "there")
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "patch_size": 4}
    (there / "preprocessor_config.json").write_text(json.dumps(said))
    hub_of({QWEN: there})
    assert "preprocessor_config.json" in [path.name for path in download("qwen2.5-vl-3b")]
    assert load_vision("qwen2.5-vl-3b", device="cpu", local_files_only=True).pixels.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("name, kind, px", [("dino-vitb8", "vit", 480), ("dinov3-vits16", "dinov3_vit", 768)])
def test_a_name_is_seen_at_the_size_of_the_table_and_its_folder_at_that_of_its_config(hub_of, tmp_path, name, kind, px):
    there = tiny_vision.save_tiny(kind, tmp_path / "there")
    hub_of({VISION[name].hub_ids[0]: there})
    assert load_vision(name, device="cpu").px == px
    assert load_vision(there, device="cpu").px < 100


def test_a_missing_shard_is_fetched_or_its_absence_said(hub_of, qwen):
    hub_of({QWEN: qwen})
    files = download(QWEN)
    files[1].unlink()
    with pytest.raises(BackboneError, match="not whole in the cache and local_files_only"):
        load_vision(QWEN, device="cpu", local_files_only=True)
    assert download(QWEN) == files
    assert files[1].is_file()


def test_a_gated_model_says_which_page_and_what_instead(hub_of):
    hub_id = VISION["dinov3-vit7b16"].hub_ids[0]
    hub_of({hub_id: refusal(GatedRepoError, 403)})
    with pytest.raises(GatedModelError, match=rf"huggingface.co/{hub_id}.*Or take dinov2-base"):
        load_vision("dinov3-vit7b16", device="cpu")


def test_a_repository_that_is_gone_or_holds_pickles_only_is_said(hub_of, qwen, tmp_path):
    hub_of({"some/one": refusal(RepositoryNotFoundError, 404)})
    with pytest.raises(BackboneError, match="the hub has no some/one"):
        load_vision("some/one", device="cpu")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(qwen / "config.json", pickled)
    (pickled / "pytorch_model.bin").touch()
    hub_of({"some/pickle": pickled})
    with pytest.raises(BackboneError, match="loads no pickle"):
        load_vision("some/pickle", device="cpu")
    with pytest.raises(SettingsError, match="nothing to download"):
        download(str(qwen))


def test_the_command_downloads_both_sorts_by_name(hub_of, qwen):
    hub_of({QWEN: qwen})
    result = CliRunner().invoke(app, ["download", "qwen2.5-vl-3b"])
    assert result.exit_code == 0, result.output
    assert "qwen2.5-vl-3b: " in result.output
    assert "inside the package" in CliRunner().invoke(app, ["download", "mini"]).output
