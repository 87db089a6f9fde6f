"""What a recipe is: a table of the paper, its rows, what stands for each here, and what it needs. Plain data, nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Figures = Mapping[str, float]


@dataclass(frozen=True)
class PaperData:
    """A data set of the paper: its name, the layout and split that `open_dataset` finds it by."""

    name: str
    layout: str
    split: str


@dataclass(frozen=True)
class EdgeSource:
    """Whose edges.

    kind: canny, sobel, files (another detector's, given by `--files`), teacher, student, vision (ABDiv of a vision transformer).
    name: of the files; of the model; None: that of `--backbone`. timestep, rule,
    measure, snap: the teacher's. labels: only what this rule of pseudo labels calls edge. width: of the student's decoder, where
    several are compared.
    """

    kind: str
    name: str | None = None
    timestep: float | None = None
    rule: str = "argmax"
    measure: str = "kl"
    snap: bool = True
    labels: str | None = None
    width: int | None = None


@dataclass(frozen=True)
class Row:
    """A line of a table.

    label: as the paper has it, or what it is where the paper has none. paper: key of a data set -> column -> figure. edges,
    proposals: what stands for it: `proposals` is maskcut, promerge, `files NAME`, or `edges` for masks straight from the edges.
    segments: the name of the panoptic maps of `--files` that are scored. choice: of the timestep. computed: plain teacher,
    teacher or student, to be timed. lacks: what the package does not have. note: what the paper says without a figure, or what
    differs.
    """

    label: str
    paper: Mapping[str, Figures] = field(default_factory=dict)
    edges: EdgeSource | None = None
    proposals: str | None = None
    segments: str | None = None
    choice: str | None = None
    computed: str | None = None
    lacks: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """A table: how it is measured (a name of `tracedge.evaluation.reproduction.measures.MEASURES`), and its lines.

    about: what it says. section: of the paper. data: keys of DATA; empty: a drawn scene is timed. one_by_one: a model a row,
    each let go before the next is loaded. note: for people.
    """

    about: str
    section: str
    measure: str
    columns: tuple[str, ...]
    data: tuple[str, ...]
    rows: tuple[Row, ...]
    one_by_one: bool = False
    note: str = ""


DATA = {
    "voc2012": PaperData("VOC 2012 val", "VOC", "val"),
    "coco2014": PaperData("COCO 2014 val", "COCO", "val2014"),
    "coco2017": PaperData("COCO 2017 val", "COCO", "val2017"),
}
"""The paper does not say which split of VOC."""


def needs(found: Recipe) -> list[str]:
    """What a recipe needs at the paper's scale, in words."""
    files, models = [], []
    for row in found.rows:
        if row.proposals is not None and row.proposals.startswith("files "):
            files.append(row.proposals.removeprefix("files "))
        if row.segments is not None:
            files.append(row.segments)
        if row.edges is not None and row.edges.kind == "files":
            files.append(str(row.edges.name))
        if row.edges is not None and row.edges.width is not None:
            files.append(f"width-{row.edges.width}")
        elif row.edges is not None and row.edges.kind in ("teacher", "student", "vision"):
            models.append(row.edges.name or "--backbone")
            models += [f"{models[-1]}'s student"] * (row.edges.kind == "student")
        if row.computed is not None or row.choice is not None:
            models.append("--backbone's student" if row.computed == "student" else "--backbone")
    said = [f"{DATA[key].name} ({DATA[key].layout} root, --data)" for key in found.data]
    if models:
        said.append(f"weights of {', '.join(dict.fromkeys(models))}")
    if any(row.proposals in ("maskcut", "promerge") for row in found.rows):
        said.append("weights of --features (a DINO ViT)")
    if files:
        said.append(f"--files NAME=PATH: {', '.join(dict.fromkeys(files))}")
    return said + [
        f"not in the package: {lacks}" for lacks in dict.fromkeys(row.lacks for row in found.rows if row.lacks)
    ]
