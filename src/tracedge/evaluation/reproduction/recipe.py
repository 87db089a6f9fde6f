"""What a recipe is: a table of the paper, its rows, what stands for each here, and what it needs. Plain data, nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Figures = Mapping[str, float]

STRAIGHT = "AP straight"
"""A column that is ours: AP of masks straight from the edges of a row, where the paper has BGP on ProMerge's."""


@dataclass(frozen=True)
class PaperData:
    """A data set of the paper: its name, the layout and split that `open_dataset` finds it by, and how many images it has."""

    name: str
    layout: str
    split: str
    images: int


@dataclass(frozen=True)
class EdgeSource:
    """Whose edges.

    kind: canny, sobel, files (another detector's, given by `--files`), teacher, student, vision (ABDiv of a vision transformer).
    name: of the files; of the model; None: that of `--backbone`. timestep, rule, measure, snap: the teacher's. labels: a rule of
    pseudo labels: of a teacher only what it calls edge; of a student what it learnt. width: of the student's decoder.
    """

    kind: str
    name: str | None = None
    timestep: float | None = None
    rule: str = "argmax"
    measure: str = "kl"
    snap: bool = True
    labels: str | None = None
    width: int | None = None

    @property
    def variant(self) -> str | None:
        """What `--files` calls a student that differs from the usual one; None: it is the usual one, or no student."""
        if self.kind != "student" or self.width is self.labels is None:
            return None
        return f"width-{self.width}" if self.width is not None else f"labels-{self.labels}"


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

    @property
    def files(self) -> tuple[str, ...]:
        """The names that `--files` may give: masks and edges of others, and students."""
        found = []
        for row in self.rows:
            if row.segments is not None:
                found.append(row.segments)
            if row.proposals is not None and row.proposals.startswith("files "):
                found.append(row.proposals.removeprefix("files "))
            if row.edges is None:
                continue
            if row.edges.kind == "files":
                found.append(str(row.edges.name))
            elif row.edges.variant is not None:
                found.append(row.edges.variant)
            elif row.edges.kind == "student" and row.edges.name is not None:
                found.append(f"student-{row.edges.name}")
        return tuple(dict.fromkeys(found))


DATA = {
    "voc2012": PaperData("VOC 2012 val", "VOC", "val", 1449),
    "coco2014": PaperData("COCO 2014 val", "COCO", "val2014", 40504),
    "coco2017": PaperData("COCO 2017 val", "COCO", "val2017", 5000),
}
"""The paper does not say which split of VOC. The numbers of images are those of the official splits."""


def needs(found: Recipe) -> list[str]:
    """What a recipe needs at the paper's scale, in words."""
    models = []
    for row in found.rows:
        if row.edges is not None and row.edges.variant is None and row.edges.kind in ("teacher", "student", "vision"):
            models.append(row.edges.name or "--backbone")
            models += [f"{models[-1]}'s student"] * (row.edges.kind == "student")
        if row.computed is not None or row.choice is not None:
            models.append("--backbone's student" if row.computed == "student" else "--backbone")
    said = [f"{DATA[key].name} ({DATA[key].layout} root, --data; {DATA[key].images} images)" for key in found.data]
    if models:
        said.append(f"weights of {', '.join(dict.fromkeys(models))}")
    if any(row.proposals in ("maskcut", "promerge") for row in found.rows):
        said.append("weights of --features (a DINO ViT)")
    if found.files:
        said.append(f"--files NAME=PATH: {', '.join(found.files)}")
    return said + [
        f"not in the package: {lacks}" for lacks in dict.fromkeys(row.lacks for row in found.rows if row.lacks)
    ]
