"""The ComfyUI nodes, in a small stand-in for ComfyUI: it loads the folder, looks the nodes up and calls them, as that does."""

import shutil
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from integration_modules import load
from tracedge import EdgePredictor, load_image
from tracedge.datasets.scenes import draw_scene

CHECKS = {"IMAGE": torch.Tensor, "MASK": torch.Tensor, "INT": int}


class Host:
    """What ComfyUI does with a node package, as far as it concerns one: the contract of its execution and validation."""

    def __init__(self):
        self.nodes = load("comfyui/__init__.py", "custom_nodes_tracedge").NODE_CLASS_MAPPINGS

    def run(self, name, **inputs):
        node = self.nodes[name]
        wanted = node.INPUT_TYPES()["required"]
        given = {}
        for key, (kind, *options) in wanted.items():
            given[key] = inputs.get(key, options[0].get("default") if options else None)
            if isinstance(kind, list):
                assert given[key] in kind, f"{given[key]} is not in the list of {key}"
        found = getattr(node(), node.FUNCTION)(**given)
        assert isinstance(found, tuple) and len(found) == len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
        for kind, value in zip(node.RETURN_TYPES, found, strict=True):
            assert isinstance(value, CHECKS[kind])
            if kind in ("IMAGE", "MASK"):
                assert value.dtype == torch.float32 and value.ndim == (4 if kind == "IMAGE" else 3) and len(value)
                assert float(value.min()) >= 0 and float(value.max()) <= 1
        return found


@pytest.fixture
def host():
    return Host()


@pytest.fixture(scope="module")
def batch():
    """Two photos of one size: float32 (2, 60, 72, 3) in [0, 1]."""
    photos = [draw_scene(number, 72).image[:60] for number in (1, 5)]
    return torch.from_numpy(np.stack(photos).astype(np.float32) / 255)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """ComfyUI's own module of folders, with a student in models/tracedge."""
    paths = ModuleType("folder_paths")
    paths.models_dir, paths.folder_names_and_paths = str(tmp_path / "models"), {}
    paths.add_model_folder_path = lambda name, path: paths.folder_names_and_paths.setdefault(name, ([], set()))[
        0
    ].append(path)
    paths.get_folder_paths = lambda name: paths.folder_names_and_paths[name][0]
    monkeypatch.setitem(sys.modules, "folder_paths", paths)
    folder = tmp_path / "models" / "tracedge" / "my-student"
    EdgePredictor.from_pretrained("mini").save_pretrained(folder)
    (folder.parent / "notes").mkdir()
    return folder


def test_the_package_names_its_nodes(host):
    module = sys.modules["custom_nodes_tracedge"]
    assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == set(host.nodes) == {"TracedgeEdges", "TracedgeInstances"}
    assert all(node.CATEGORY == "tracedge" for node in host.nodes.values())


def test_edges_of_a_whole_batch_are_those_of_the_predictor(host, batch):
    edges, mask = host.run("TracedgeEdges", image=batch, model="mini", kind="soft")
    assert edges.shape == (2, 60, 72, 3) and mask.shape == (2, 60, 72)
    photos = [(each.numpy() * 255).round().astype(np.uint8) for each in batch]
    for one, found in zip(mask, EdgePredictor.from_pretrained("mini")(photos), strict=True):
        assert np.array_equal(one.numpy(), found.edges)
    assert torch.equal(edges[..., 0], mask) and torch.equal(edges[..., 1], mask)
    _, lines = host.run("TracedgeEdges", image=batch, model="mini", kind="binary")
    assert set(lines.unique().tolist()) <= {0.0, 1.0}


def test_an_image_with_alpha_and_a_batch_of_one_do_as_well(host, batch):
    four = torch.cat([batch[:1], torch.zeros(1, 60, 72, 1)], dim=-1)
    _, mask = host.run("TracedgeEdges", image=four, model="mini", kind="soft")
    _, plain = host.run("TracedgeEdges", image=batch[:1], model="mini", kind="soft")
    assert torch.equal(mask, plain)


def test_instances_are_a_mask_each_and_laid_over_their_images(host, batch):
    masks, overlay, count = host.run("TracedgeInstances", image=batch, model="mini")
    assert len(masks) == count > 1 and masks.shape[1:] == (60, 72) and overlay.shape == batch.shape
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert (overlay - batch).abs().amax(dim=-1).gt(0.1).flatten(1).any(dim=1).all()
    one_each, _, fewer = host.run("TracedgeInstances", image=batch, model="mini", largest=1)
    assert fewer <= 2 and max(one_each.sum((1, 2))) == max(masks.sum((1, 2)))


def test_where_there_is_nothing_one_empty_mask_is_handed_on(host):
    masks, overlay, count = host.run("TracedgeInstances", image=torch.zeros(1, 40, 50, 3), model="mini", min_score=1.0)
    assert count == 0 and masks.shape == (1, 40, 50) and not masks.any() and not overlay.any()


def test_models_are_found_in_comfyuis_folder_and_loaded_once(host, batch, models, monkeypatch):
    offered = host.nodes["TracedgeEdges"].INPUT_TYPES()["required"]["model"][0]
    assert offered == ["mini", "my-student"]
    loads = []
    plain = EdgePredictor.from_pretrained
    monkeypatch.setattr(
        EdgePredictor,
        "from_pretrained",
        lambda name, **options: loads.append((name, options)) or plain(name, **options),
    )
    for _ in range(2):
        _, mask = host.run("TracedgeEdges", image=batch, model="my-student", kind="soft")
    assert loads == [(str(models), {"local_files_only": True})]  # once, and the network is never asked
    _, shipped = host.run("TracedgeEdges", image=batch, model="mini", kind="soft")
    assert torch.allclose(mask, shipped, atol=1e-5)


def test_a_model_that_went_away_is_said(batch, models):
    nodes = load("comfyui/__init__.py", "custom_nodes_tracedge").NODE_CLASS_MAPPINGS
    shutil.rmtree(models)
    with pytest.raises(ValueError, match="no model 'my-student'"):
        nodes["TracedgeEdges"]().run(batch, "my-student", "soft")


def test_overlays_are_pictures_of_the_same_photo(host, batch, tmp_path):
    _, overlay, _ = host.run("TracedgeInstances", image=batch, model="mini", min_score=1.0)
    Image.fromarray((overlay[0].numpy() * 255).round().astype(np.uint8)).save(tmp_path / "a.png")
    before = (batch[0].numpy() * 255).round().astype(np.uint8)
    assert np.array_equal(load_image(tmp_path / "a.png"), before)  # nothing is as sure as 1: nothing is drawn
