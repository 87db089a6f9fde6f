"""A small folder run for the tests: grey photos, and a predictor of their mean that remembers what it saw."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tracedge.images import load_image
from tracedge.runs import FolderRun, RunSummary, find_images

SUFFIX = ".mean.txt"


def photo(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (value, value, value)).save(path, format="PNG")
    return path


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def visible(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Means:
    """A predictor of mean grey values that remembers the batches it saw."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, images: list[np.ndarray]) -> list[float]:
        self.batches.append([int(image.mean()) for image in images])
        return [float(image.mean()) for image in images]


def write(result: float, paths: dict[str, Path]) -> dict[str, object]:
    paths[SUFFIX].write_text(str(result))
    return {"mean": result}


def run(photos: Path, output: Path, predict: object = None, **options: object) -> RunSummary:
    settings = options.pop("settings", {"px": 512})
    asked = {name: options.pop(name, False) for name in ("force", "retry_failed")}
    with FolderRun(output, settings, (SUFFIX,), **asked) as folder:
        steps = {"load": load_image, "predict_batch": predict or Means(), "write": write, **options}
        return folder.process(find_images([photos], output=output), **steps)


def five_photos(folder: Path) -> Path:
    """Of mean 0, 10, 20, 30 and 40, in a tree."""
    for place, name in enumerate(["a.png", "b.png", "sub/a.png", "sub/deep/c.png", "z.png"]):
        photo(folder / name, place * 10)
    return folder
