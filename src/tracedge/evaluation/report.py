"""A report as a folder: the figures for machines and for people, curves, and the images that went best and worst.

report.json      the figures, equal bytes for equal runs: no times in it
report.md        the same for people, with what they depend on and how long it took
seconds.json     the times
curves-*.png     precision against recall, one picture a data set (edges)
best-*.png, worst-*.png      photo, truth and answer side by side; report.md says which image, whose answer and its score
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracedge.atomic import atomic_path

EXTREMES = 3
"""So many of the best and of the worst images are shown."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Illustration:
    """A picture of a report. name: of its file, without suffix. picture: uint8 (H, W, 3). said: the line above it, Markdown."""

    name: str
    picture: Picture
    said: str = ""


@dataclass(frozen=True)
class Extreme:
    """An image that went well or badly. place: best-1, worst-1 and so on; image: its name; score: what it is ranked by."""

    place: str
    image: str
    score: float

    def said(self, method: str, measure: str) -> str:
        """The line above its picture. method: whose answer is shown. measure: what the score is, with {} where it stands.

        >>> Extreme("best-1", "a.png", 0.5).said("canny", "F {} at one threshold")
        '**best-1**: `a.png`, canny, F 0.500 at one threshold'
        """
        return f"**{self.place}**: `{self.image}`, {method}, {measure.format(f'{self.score:.3f}')}"


def write_report(
    folder: Path,
    report: str,
    table: str,
    depends_on: Mapping[str, object],
    seconds: Mapping[str, float],
    pictures: Iterable[Illustration] = (),
) -> None:
    """Write the files, each whole or not at all.

    Args:
        folder: where; it is made if it is not there.
        report: the text of report.json.
        table: Markdown.
        depends_on: of JSON's types: model, data, seed, versions, machine.
        seconds: name of a step -> wall time.
        pictures: in the order of report.md.
    """
    folder.mkdir(parents=True, exist_ok=True)
    times = "".join(f"- {name}: {format_seconds(value)}\n" for name, value in seconds.items())
    said = json.dumps(dict(depends_on), indent=2, sort_keys=True)
    shown: list[str] = []
    taken: set[str] = set()
    for each in pictures:
        name = (
            each.name if each.name.casefold() not in taken else f"{each.name}-{len(taken) + 1}"
        )  # none is written over
        taken.add(name.casefold())
        with atomic_path(folder / f"{name}.png") as temporary:
            Image.fromarray(each.picture).save(temporary, format="PNG")
        shown += [f"{each.said}\n"] * bool(each.said)
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


def best_and_worst(scores: Mapping[str, float], count: int = EXTREMES) -> list[Extreme]:
    """The images with the highest scores, the best first, and then those with the lowest, the worst first.

    Names decide among equal ones. What scores as the lowest is not called best, nor what scores as the highest worst: with all
    scores equal there is neither.

    >>> [(each.place, each.image) for each in best_and_worst({"a": 0.5, "b": 0.9, "c": 0.1}, 1)]
    [('best-1', 'b'), ('worst-1', 'c')]
    """
    order = sorted(scores, key=lambda name: (-scores[name], name))
    count = min(count, len(order) // 2)
    best = [name for name in order[:count] if scores[name] > scores[order[-1]]]
    worst = [name for name in order[::-1][:count] if scores[name] < scores[order[0]]]
    return [
        Extreme(f"{kind}-{rank}", name, scores[name])
        for kind, names in (("best", best), ("worst", worst))
        for rank, name in enumerate(names, start=1)
    ]


def format_seconds(value: float) -> str:
    """A time to be read: in ms below a second, with at least two digits.

    >>> format_seconds(12.345), format_seconds(0.09), format_seconds(0.0042), format_seconds(0.00037)
    ('12.3 s', '90 ms', '4.2 ms', '0.37 ms')
    """
    if value >= 1:
        return f"{value:.1f} s"
    return f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.2g} ms"
