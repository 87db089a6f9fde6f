"""The commands that the tests kill, each on a few small pictures, and the inputs that they need."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import tiny_detection
import tiny_distillation
import tiny_image_text

PICTURES = 4
MANY = 24  # for what takes little time for each
FORMATS = [
    word for name in ("npz", "yolo", "geojson", "overlay", "results", "label-studio") for word in ("--format", name)
]


def prepare(folder: Path, run: Callable[[list[object]], None]) -> Path:
    """What the commands below read, made by the commands themselves; run: does one in `folder`, and it must end well."""
    scenes, photos = folder / "scenes", folder / "scenes" / "images"
    run(["scenes", "--count", PICTURES, "--size", 64, "--panoptic", "-o", scenes])
    run(["scenes", "--count", MANY, "--size", 64, "--panoptic", "-o", "many"])
    run(["edges", photos, "-o", "edges", "--size", 64])
    run(["segment", photos, "-o", "masks", "--edges", "edges"])
    tiny_image_text.save_tiny("clip", folder / "clip")
    run(["semantic", photos, "--tags", "cat,dog", "--clip", "clip", "--size", 48, "-o", "semantic"])
    run(_panoptic(folder, folder / "panoptic"))
    tiny_detection.labelled(folder / "labelled")
    (folder / "labels").mkdir()
    tiny_distillation.square_labels(folder / "labels")
    _toml(folder / "detector.toml", asdict(tiny_detection.TINY) | {"steps": 5})
    _toml(folder / "student.toml", asdict(tiny_distillation.TINY) | {"steps": 5})
    stages = "stages = [{px = 16, batch = 2, steps = 6}]\n[model]\nwidth = 32\ndepth = 2\nheads = 2\n"
    (folder / "mini.toml").write_text("store_px = 32\n" + stages)
    run(_detect_train(folder, folder / "detector"))
    return folder


def batch_commands(given: Path) -> dict[str, list[object]]:
    """Verb -> the command, which writes a file or more for each picture, into out/."""
    photos = given / "scenes" / "images"
    squares = given / "labelled" / "images"
    detector = ["--detector", given / "detector" / "detector", "--device", "cpu"]
    return {
        "edges": ["edges", photos, "-o", "out", "--size", 64, "--kind", "thin", "--overlay", "--npz"],
        "edges by Ray": [
            "edges",
            given / "many" / "images",
            "-o",
            "out",
            "--size",
            64,
            "--engine",
            "ray",
            "--workers",
            2,
        ],
        "teach": ["teach", photos, "-o", "out", "--size", 32, "--stride", 200],
        "segment": ["segment", photos, "-o", "out", "--size", 64, *FORMATS],
        "refine": [
            "refine",
            given / "masks" / "instances.json",
            "--images",
            photos,
            "-o",
            "out",
            "--edges",
            given / "edges",
        ],
        "semantic": ["semantic", photos, "--tags", "cat,dog", "--clip", given / "clip", "--size", 48, "-o", "out"],
        "panoptic": _panoptic(given, Path("out")),
        "inspect": ["inspect", photos, "-o", "out", "--size", 64, "--stride", 400, "--columns", 2],
        "scenes": ["scenes", "--count", 3 * PICTURES, "--size", 96, "--panoptic", "-o", "out"],
        "detect predict": [
            "detect",
            "predict",
            squares,
            "-o",
            "out",
            *detector,
            "--overlapping",
            "--min-score",
            0,
            *FORMATS,
        ],
        "detect relabel": ["detect", "relabel", given / "labelled", "--images", squares, "-o", "out", *detector],
    }


def trainings(given: Path) -> dict[str, list[object]]:
    """Verb -> the command, which writes checkpoints and a result into out/."""
    labels = [given / "labels", "--config", given / "student.toml", "--device", "cpu"]
    return {
        "detect train": _detect_train(given, Path("out")),
        "distill": ["distill", *labels, "-o", "out"],
        "pretrain": ["pretrain", given / "scenes" / "images", "-o", "out", "--config", given / "mini.toml"],
    }


def evaluations(given: Path) -> dict[str, list[object]]:
    """Verb -> the command, which counts in a journal and writes out/report.json."""
    truth, many = ["--truth", given / "scenes"], ["--truth", given / "many"]
    end = ["--json", "out/report.json", "--workers", 1]
    few = ["--limit", 8, "--size", 64, "--stride", 400]
    return {
        "evaluate edges": ["evaluate", "edges", *truth, "--pred", given / "edges", "--thresholds", 9, *end],
        "evaluate instances": ["evaluate", "instances", *many, "--pred", given / "many" / "masks", *end],
        "evaluate timesteps": ["evaluate", "timesteps", *many, *few, "--thresholds", 9, "--json", "out/report.json"],
        "evaluate panoptic": ["evaluate", "panoptic", *many, "--pred", given / "many" / "panoptic.json", *end],
    }


def _panoptic(given: Path, output: Path) -> list[object]:
    classes = ["--classes", given / "semantic" / "names.json", "--edges", given / "edges"]
    return ["panoptic", given / "semantic" / "classes", "--images", given / "scenes" / "images", *classes, "-o", output]


def _detect_train(given: Path, output: Path) -> list[object]:
    end = ["--config", given / "detector.toml", "--device", "cpu"]
    return ["detect", "train", given / "labelled", "--images", given / "labelled" / "images", "-o", output, *end]


def _toml(path: Path, table: dict[str, object]) -> None:
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()))
