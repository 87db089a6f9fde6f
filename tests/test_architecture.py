"""The walls of docs/architecture.md: imports point back along the path, heavy packages stay in their rooms."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tracedge

SOURCE = Path(tracedge.__file__).parent

# The path of the data. A room may import from its own and from earlier ones.
PATH = [
    {"errors"},
    {"atomic", "tensors", "settings", "jsonlines", "schedule"},
    {"checkpoints"},
    {"training_state"},
    {"fit", "images", "tiling", "maps", "instances", "panoptic_map", "semantic_map", "categories"},
    {
        "export",
        "interrupts",
        "jobs",
        "locking",
        "claims",
        "manifest",
        "batching",
        "sources",
        "outcomes",
        "work",
        "earlier",
        "runs",
        "run_entries",
    },
    {"backbones"},
    {"attention", "criteria"},
    {"emergence", "divergence"},
    {"edges"},
    {"contours"},
    {"placement"},
    {"from_attention"},
    {"teacher"},
    {"vision_edges"},
    {"datasets", "pretraining"},
    {"student"},
    {"regions", "walk"},
    {"objectness", "basin_walk"},
    {"propagation", "permutohedral", "panoptic"},
    {"crf"},
    {"proposals", "semantics"},
    {"segmentation", "sam"},
    {"detector"},
    {"metrics"},
    {"rivals"},
    {"evaluation", "visualize"},
    {"scale", "web"},
    {"cli"},
    {"__main__"},
]
ORDER = {room: place for place, rooms in enumerate(PATH) for room in rooms}
# pretraining trains the mini model, so it stands behind backbones; images offers Fit by its own name.
HEAVY = {
    "diffusers": {"backbones"},
    "transformers": {"backbones", "detector"},
    "accelerate": {"student", "detector"},
    "peft": {"student"},
    "faster_coco_eval": {"export", "metrics"},
    "ray": {"scale"},
    "pyarrow": {"sources"},
    "fsspec": {"sources"},
    "matplotlib": {"visualize"},
    "gradio": {"web"},
    "starlette": {"web"},
    "typer": {"cli"},
    "rich": {"cli"},
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "tracedge"}
    return found


def room_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_back_along_the_path(path):
    own = ORDER[room_of(path)]
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "tracedge" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER[parts[1]] <= own, f"{path.name} imports {name}, which lies further along the path"
        if parts[0] in HEAVY:
            assert room_of(path) in HEAVY[parts[0]], f"{path.name} imports {parts[0]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_file_holds_two_ideas(path):
    assert len(path.read_text().splitlines()) <= 400


def test_importing_tracedge_loads_no_torch():
    code = "import sys, tracedge; assert not {'torch', 'diffusers', 'numpy'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there_and_an_unknown_one_is_an_attribute_error():
    for name in tracedge.__all__:
        assert getattr(tracedge, name) is not None
        assert name in dir(tracedge)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tracedge.nothing


MODULES = [module.name for module in pkgutil.walk_packages([str(SOURCE)], "tracedge.") if "__main__" not in module.name]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    names = {"np": importlib.import_module("numpy"), "torch": importlib.import_module("torch")}
    assert doctest.testmod(module, extraglobs=names).failed == 0
