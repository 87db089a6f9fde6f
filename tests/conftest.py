"""Shared fixtures: no test reaches the network or the user's cache; tiny pipelines of every class are built once."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read by huggingface_hub on import

import signal
from pathlib import Path

import pytest

import tiny_models


@pytest.fixture(scope="session", autouse=True)
def _hears_ctrl_c():
    """A shell's background job is born deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Null-prompt embeddings of the tests stay with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACEDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory):
    """kind -> the folder of a tiny pipeline of that kind (see tiny_models.KINDS). Read only: copy it to change it."""
    folders: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tiny_models.save_tiny(kind, tmp_path_factory.mktemp("pipelines") / kind)
        return folders[kind]

    return folder


@pytest.fixture(scope="session")
def tiny_backbone(tiny_folder):
    """kind -> the tiny pipeline loaded as a backbone, on the CPU in fp32."""
    from tracedge.backbones import load_backbone

    loaded: dict[str, object] = {}

    def backbone(kind: str):
        if kind not in loaded:
            loaded[kind] = load_backbone(tiny_folder(kind), device="cpu")
        return loaded[kind]

    return backbone
