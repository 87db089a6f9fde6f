"""A report as a folder: the figures for machines and for people, curves, and the images that went best and worst.

report.json      the figures, equal bytes for equal runs: no times in it
report.md        the same for people, with what they depend on and how long it took
seconds.json     the times
curves-*.png     precision against recall, one picture a data set (edges)
best-*.png, worst-*.png      photo, truth and answer side by side
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.atomic import atomic_path

EXTREMES = 3
"""So many of the best and of the worst images are shown."""

Picture = NDArray[np.uint8]


def write_report(
    folder: Path,
    report: str,
    table: str,
    depends_on: Mapping[str, object],
    seconds: Mapping[str, float],
    pictures: Iterable[tuple[str, Picture]] = (),
) -> None:
    """Write the files, each whole or not at all.

    Args:
        folder: where; it is made if it is not there.
        report: the text of report.json.
        table: Markdown.
        depends_on: of JSON's types: model, data, seed, versions, machine.
        seconds: name of a step -> wall time.
        pictures: (name of the file without suffix, uint8 (H, W, 3)).
    """
    folder.mkdir(parents=True, exist_ok=True)
    times = "".join(f"- {name}: {value:.1f} s\n" for name, value in seconds.items())
    said = json.dumps(dict(depends_on), indent=2, sort_keys=True)
    shown: list[str] = []
    taken: set[str] = set()
    for wanted, picture in pictures:
        name = wanted if wanted.casefold() not in taken else f"{wanted}-{len(taken) + 1}"  # none is written over
        taken.add(name.casefold())
        with atomic_path(folder / f"{name}.png") as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")
        shown.append(f"![{name}](<{name}.png>)\n")  # a name may hold spaces
    page = f"# Evaluation\n\n{table}\n## Times\n\n{times}\n## What it depends on\n\n```json\n{said}\n```\n"
    page += "\n## Pictures\n\n" + "\n".join(shown) if shown else ""
    for name, text in (
        ("report.json", report),
        ("report.md", page),
        ("seconds.json", json.dumps(dict(seconds), indent=2, sort_keys=True) + "\n"),
    ):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def best_and_worst(scores: Mapping[str, float], count: int = EXTREMES) -> list[tuple[str, str]]:
    """(what it is called, the image) of the images with the highest and with the lowest scores; of equal ones the first by name.

    >>> best_and_worst({"a": 0.5, "b": 0.9, "c": 0.1}, 1)
    [('best-1', 'b'), ('worst-1', 'c')]
    """
    order = sorted(scores, key=lambda name: (-scores[name], name))
    count = min(count, len(order) // 2)
    best = [(f"best-{rank}", name) for rank, name in enumerate(order[:count], start=1)]
    return best + [(f"worst-{rank}", name) for rank, name in enumerate(order[::-1][:count], start=1)]
