"""What a user is told when the hub says no, and what is fetched when it says yes. The hub is a stand-in."""

from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from typer.testing import CliRunner

from tracedge.backbones import MODELS, hub, load_backbone
from tracedge.errors import BackboneError, GatedModelError, SettingsError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refusal(kind: type[HfHubHTTPError], code: int) -> HfHubHTTPError:
    return kind(f"{code}", response=SimpleNamespace(status_code=code, headers={}, request=None))


class Hub:
    """A hub of some repositories and a cache; stands for `snapshot_download`."""

    def __init__(self, root: Path, repositories: dict[str, Path | Exception]) -> None:
        self.root, self.repositories = root, repositories
        self.asked: list[tuple[str, str | None, tuple[str, ...]]] = []

    def __call__(self, hub_id, *, revision=None, cache_dir=None, local_files_only=False, allow_patterns=()):
        snapshot = self.root / hub_id.replace("/", "--") / "snapshots" / COMMIT
        validate_repo_id(hub_id)
        if local_files_only:
            if snapshot.is_dir():
                return str(snapshot)
            raise LocalEntryNotFoundError("not in the cache")
        self.asked.append((hub_id, revision, tuple(allow_patterns)))
        there = self.repositories.get(hub_id, refusal(RepositoryNotFoundError, 401))
        if isinstance(there, Exception):
            raise there
        for path in there.rglob("*"):
            name = path.relative_to(there).as_posix()
            if path.is_file() and any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, snapshot / name)
        return str(snapshot)


@pytest.fixture
def hub_of(tmp_path, monkeypatch):
    def stand_in(repositories: dict[str, Path | Exception]) -> Hub:
        there = Hub(tmp_path / "hub", repositories)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", there)
        return there

    return stand_in


FLUX, SD21 = MODELS["flux-dev"].hub_ids[0], MODELS["sd21"].hub_ids


@pytest.mark.parametrize(
    "error",
    [refusal(kind, code) for kind in (GatedRepoError, HfHubHTTPError) for code in (401, 403)],
    ids=["gated-401", "gated-403", "401", "403"],
)
def test_a_gated_model_says_which_page_which_command_and_what_instead(hub_of, error):
    hub_of({FLUX: error})
    with pytest.raises(GatedModelError) as caught:
        load_backbone("flux-dev", device="cpu")
    for part in (f"https://huggingface.co/{FLUX}", "`hf auth login`", "pixart-alpha"):
        assert part in str(caught.value)


def test_a_gate_behind_a_partial_cache_is_still_a_gate(hub_of):
    behind = LocalEntryNotFoundError("incomplete")
    behind.__cause__ = refusal(GatedRepoError, 403)
    hub_of({FLUX: behind})
    with pytest.raises(GatedModelError):
        load_backbone("flux-dev", device="cpu")


def test_a_gated_model_that_is_not_in_the_table_names_its_own_page(hub_of):
    hub_of({"someone/secret": refusal(GatedRepoError, 403)})
    with pytest.raises(GatedModelError, match=r"https://huggingface\.co/someone/secret, then run `hf auth login`\.$"):
        load_backbone("someone/secret", device="cpu")


def test_the_next_hub_id_is_tried_where_one_is_gone(hub_of, tiny_folder):
    there = hub_of({SD21[1]: tiny_folder("sd21")})
    backbone = load_backbone("sd21", device="cpu")
    assert [hub_id for hub_id, *_ in there.asked][:2] == list(SD21)
    assert backbone.settings["source"] == SD21[1] and backbone.settings["revision"] == COMMIT
    assert backbone.name == "sd21" and backbone.settings["licence"] == "openrail++"


def test_a_model_that_is_gone_everywhere_says_so(hub_of):
    hub_of({})
    with pytest.raises(BackboneError, match=f"the hub has no {SD21[0]} nor {SD21[1]}") as caught:
        load_backbone("sd21", device="cpu")
    assert not isinstance(caught.value, GatedModelError)


def test_of_a_network_error_the_cause_is_said_on_one_line(hub_of):
    error = LocalEntryNotFoundError("a long\nstory")
    error.__cause__ = OSError("no route to host\nsecond line")
    hub_of({FLUX: error})
    with pytest.raises(BackboneError, match=r"cannot be reached \(no route to host\)\. Run"):
        load_backbone("flux-dev", device="cpu")


@pytest.mark.parametrize("error", [OfflineModeIsEnabled("offline"), LocalEntryNotFoundError("no network")])
def test_offline_and_not_in_the_cache_says_how_to_get_it(hub_of, error):
    hub_of({FLUX: error})
    with pytest.raises(BackboneError, match=r"cannot be reached.*Run `tracedge download flux-dev`"):
        load_backbone("flux-dev", device="cpu")


def test_a_revision_that_does_not_exist_says_so(hub_of):
    hub_of({FLUX: refusal(RevisionNotFoundError, 404)})
    with pytest.raises(BackboneError, match="has no revision"):
        load_backbone("flux-dev", device="cpu")


def test_local_files_only_never_asks_the_hub(hub_of, tiny_folder):
    there = hub_of({FLUX: tiny_folder("flux-dev")})
    with pytest.raises(BackboneError, match=r"local_files_only forbids.*tracedge download flux-dev"):
        load_backbone("flux-dev", device="cpu", local_files_only=True)
    assert there.asked == []
    hub.download("flux-dev")
    there.asked.clear()
    shutil.rmtree(next(there.root.rglob("vae")))
    with pytest.raises(BackboneError, match="lacks vae in the cache and local_files_only"):
        load_backbone("flux-dev", device="cpu", local_files_only=True)
    assert there.asked == []


def test_what_is_in_the_cache_loads_without_asking_the_hub(hub_of, tiny_folder):
    there = hub_of({FLUX: tiny_folder("flux-dev")})
    hub.download("flux-dev")
    there.asked.clear()
    assert load_backbone("flux-dev", device="cpu").settings["revision"] == COMMIT
    assert there.asked == []


def test_parts_are_fetched_when_needed_and_all_of_one_commit(hub_of, tiny_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACEDGE_CACHE", str(tmp_path / "null"))
    there = hub_of({FLUX: tiny_folder("flux-dev")})
    load_backbone("flux-dev", device="cpu")
    assert {revision for _, revision, _ in there.asked[1:]} == {COMMIT}
    shutil.rmtree(there.root)
    there.asked.clear()
    load_backbone("flux-dev", device="cpu")  # the null prompt is known now
    assert not any("text_encoder" in pattern for _, _, patterns in there.asked for pattern in patterns)


def test_download_fetches_what_is_needed_and_nothing_else(hub_of, tiny_folder, tmp_path):
    repository = shutil.copytree(tiny_folder("sdxl"), tmp_path / "repository")
    clutter = [
        "sd_xl_base_1.0.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
        "unet/model.onnx",
        "text_encoder/flax_model.msgpack",
        "vae_1_0/diffusion_pytorch_model.safetensors",
    ]
    for name in clutter:
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).touch()
    (repository / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors").touch()  # a shard is not clutter
    hub_of({MODELS["sdxl"].hub_ids[0]: repository})
    files = hub.download("sdxl")
    snapshot = files[0].parent
    names = {path.relative_to(snapshot).as_posix() for path in files}
    everything = {path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()}
    assert names == everything - set(clutter)


def test_nothing_is_downloaded_for_mini_or_a_folder_or_an_unknown_name(hub_of, tmp_path):
    there = hub_of({})
    assert hub.download("mini") == []
    with pytest.raises(SettingsError, match="is a folder"):
        hub.download(str(tmp_path))
    with pytest.raises(SettingsError, match="is no backbone"):
        hub.download("sd14")
    with pytest.raises(SettingsError, match="'a/b--c' is no hub id"):
        hub.download("a/b--c")
    assert there.asked == []


def test_the_commands_list_and_fetch(hub_of, tiny_folder):
    import typer

    from tracedge.cli.backbones import backbones, download

    app = typer.Typer()
    app.command()(backbones)
    app.command()(download)
    listed = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["backbones"])
    assert listed.exit_code == 0 and all(name in listed.output for name in MODELS)
    hub_of({MODELS["sd15"].hub_ids[0]: tiny_folder("sd15")})
    fetched = CliRunner().invoke(app, ["download", "sd15"])
    assert fetched.exit_code == 0 and "sd15: 1" in fetched.output and "GiB" in fetched.output
    assert "inside the package" in CliRunner().invoke(app, ["download", "mini"]).output


def test_the_hubs_own_cache_layout_is_read_offline(tiny_folder, tmp_path):
    """With the real `snapshot_download`: HF_HUB_OFFLINE is set for all tests."""
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(tiny_folder("sd15"), repository / "snapshots" / COMMIT)
    backbone = load_backbone("someone/tiny", device="cpu", cache_dir=tmp_path)
    assert backbone.settings["source"] == "someone/tiny" and backbone.settings["revision"] == COMMIT
    shutil.rmtree(repository / "snapshots" / COMMIT / "vae")
    with pytest.raises(BackboneError, match=r"Run `tracedge download someone/tiny`"):
        load_backbone("someone/tiny", device="cpu", cache_dir=tmp_path)
    with pytest.raises(BackboneError, match=r"cannot be reached.*Run `tracedge download sdxl`"):
        load_backbone("sdxl", device="cpu", cache_dir=tmp_path)
