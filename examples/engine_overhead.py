"""Images per second of one process and of two Ray workers where there is no model: what the engines themselves can do.

    python examples/engine_overhead.py --count 1500

Each image is a picture of 32 px; its mean is written to a file of its own. The run is made once, and once more when all is done.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tracedge.images import load_image
from tracedge.runs import FolderRun
from tracedge.scale import Cluster, RayEngine
from tracedge.sources import find_parts
from tracedge.work import Engine, Local, Steps

SUFFIX = ".mean.txt"


class Means:
    """A `Work`: the mean of each image."""

    def open(self) -> Steps:
        return Steps(lambda task: load_image(task.source), self._predict, self._write, {"work": "means"})

    def _predict(self, images: list[np.ndarray]) -> list[float]:
        return [float(image.mean()) for image in images]

    def _write(self, mean: float, paths: Mapping[str, Path]) -> None:
        paths[SUFFIX].write_text(f"{mean}\n")


def rate(engine: Engine, photos: Path, output: Path) -> float:
    """Images per second from the first to the last, without the start of the engine."""
    parts = find_parts([str(photos)])
    with engine as by, FolderRun(output, by.open(Means()), (SUFFIX,)) as run:
        summary = run.process_parts(parts, by)
    return (summary.done + summary.skipped) / summary.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name, "photos")
        photos.mkdir()
        for number in range(count):
            Image.new("RGB", (32, 32), (number % 256,) * 3).save(photos / f"{number:06}.png")
        print("| engine | images/s | of a run that is done already |\n| --- | --- | --- |")
        engines: dict[str, Callable[[], Engine]] = {
            "one process": Local,
            "Ray, 2 workers": lambda: RayEngine(Cluster(workers=2)),
        }
        for called, engine in engines.items():
            first, again = (rate(engine(), photos, Path(name, called)) for _ in range(2))
            print(f"| {called} | {first:.0f} | {again:.0f} |")


if __name__ == "__main__":
    main()
