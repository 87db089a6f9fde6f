"""From the options of `evaluate instances` to its methods: in each process of its own, so what goes there is plain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import PREDICTION
from tracedge.cli.proposal_options import masks_from, proposals_from
from tracedge.cli.sam_options import SamOptions
from tracedge.errors import SettingsError

if TYPE_CHECKING:
    from tracedge.evaluation.edges import EdgesOf
    from tracedge.evaluation.instance_methods import Comparison, ProposalsOf
    from tracedge.evaluation.instances import LabelledInstances, Methods
    from tracedge.export.coco_reader import Images
    from tracedge.instances import Instances
    from tracedge.proposals.from_features import Proposer
    from tracedge.proposals.from_files import MaskSource
    from tracedge.rivals import FolderOfEdges
    from tracedge.rivals.zero_shot import SegmentProposer
    from tracedge.sam.automatic import SamAutomatic


@dataclass(frozen=True, kw_only=True)
class FromFile:
    """The masks of one file or folder, as they are."""

    pred: Path
    image_ids: Images | None
    max_pixels: int

    def methods(self) -> Methods:
        """One row."""
        return self.looked_at((), True)[0]

    def looked_at(self, names: Sequence[str], missing_empty: bool) -> tuple[Methods, dict[str, object]]:
        """The methods, and what the masks depend on.

        Raises:
            SettingsError: an image of `names` that has no masks, and those do not count as empty.
        """
        source = masks_from(self.pred, self.image_ids, self.max_pixels)
        _refuse_missing(source, names, missing_empty)
        return partial(_predicted, source=source), {"masks": source.provenance}


@dataclass(frozen=True, kw_only=True)
class FromModel:
    """A model's edges, straight and on the masks of proposals, beside Canny's; with SAM each of them once more."""

    options: option.PredictorOptions
    student: str | None
    teacher: bool
    proposals: tuple[str, ...]
    features: str | None
    crf: bool
    image_ids: Path | None
    rivals: bool
    max_pixels: int
    sam: SamOptions | None = None

    def sources(self) -> dict[str, Proposer | SegmentProposer | SamAutomatic | MaskSource | None]:
        """What each of --proposals names; --image-ids is for those of them that are COCO results.

        Raises:
            SettingsError: --image-ids, and none of them is; or as `proposals_from`.
        """
        from tracedge.export.coco_reader import is_results

        if self.image_ids is not None and not any(map(is_results, self.proposals)):
            raise SettingsError("--image-ids is for COCO results, a .json that is a list: none is given")
        return {
            name: proposals_from(
                name,
                self.features,
                self.crf,
                self.options,
                image_ids=self.image_ids if is_results(name) else None,
                max_pixels=self.max_pixels,
            )
            for name in self.proposals
        }

    def methods(self) -> Comparison[str]:
        """A row for each way from a photo to masks."""
        return self.looked_at((), True)[0]

    def looked_at(self, names: Sequence[str], missing_empty: bool) -> tuple[Comparison[str], dict[str, object]]:
        """The same, and what the masks depend on.

        Raises:
            SettingsError: an image of `names` of which a file of --proposals has no masks, and those do not count as empty.
        """
        from tracedge.evaluation.instance_methods import Comparison, every_way
        from tracedge.proposals.from_files import MaskSource
        from tracedge.rivals import canny_edges
        from tracedge.segmentation import SegmentSettings
        from tracedge.walk import walk_device

        if self.sam is not None:
            self.sam.check()
        sources = self.sources()
        for source in sources.values():
            if isinstance(source, MaskSource):
                _refuse_missing(source, names, missing_empty)
        found: dict[str, ProposalsOf] = {}
        said: dict[str, object] = {}
        files = [Path(name).name for name in sources]
        for name, source in sources.items():
            if isinstance(source, MaskSource):
                short = Path(name).name
                found[short if files.count(short) == 1 else name] = partial(_read, source=source)
            elif source is not None:
                found[name] = partial(_proposed, proposer=source)
            said[name] = source.provenance if source is not None else name
        predictor = option.predictor(self.options, student=self.student, teacher=self.teacher)
        edges: dict[str, EdgesOf | FolderOfEdges] = {"Canny": canny_edges} if self.rivals else {}
        edges["our"] = lambda image: predictor(image).edges
        settings = SegmentSettings()
        refiner = self.sam.load() if self.sam is not None else None
        ways = every_way(edges, found, "SAM" if refiner is not None else None)
        refined: dict[str, object] = {"refined": refiner.provenance} if refiner is not None else {}
        return Comparison(ways, edges, found, settings, walk_device(predictor.device), refiner), {
            "edges": predictor.provenance,
            "proposals": said,
            "segment": asdict(settings),
        } | refined


@dataclass(frozen=True)
class Ready:
    """What is scored, looked at. make: the methods. depends_on: what their masks depend on, for the report."""

    make: Callable[[], Methods]
    depends_on: dict[str, object]


def readied(ways: FromFile | FromModel, names: Sequence[str], missing_empty: bool, workers: int) -> Ready:
    """Look at everything before anything is computed.

    With one worker the methods are made here and now. With several each process makes its own: before, they are looked at in a
    process that ends, so that there is never one model more than there are processes.

    Raises:
        SettingsError: images without masks, see `looked_at`.
    """
    if workers == 1:
        methods, said = ways.looked_at(names, missing_empty)
        return Ready(lambda: methods, said)
    from tracedge.evaluation.processes import apart

    return Ready(ways.methods, apart(_said, (ways, tuple(names), missing_empty)))


def _said(job: tuple[FromFile | FromModel, tuple[str, ...], bool]) -> dict[str, object]:
    ways, names, missing_empty = job
    return ways.looked_at(names, missing_empty)[1]


def _refuse_missing(source: MaskSource, names: Sequence[str], missing_empty: bool) -> None:
    """Refuse a file or folder without masks of every image of the truth, unless those count as empty; say how many these are."""
    missing = [name for name in names if name not in source]
    if not missing:
        return
    listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    said = f"{source.path} has no masks of {len(missing)} of the {len(names)} images of the truth ({listed})"
    if not missing_empty:
        raise SettingsError(f"{said}: add them, or count them as images without masks by --missing-empty.")
    typer.echo(f"{said}: they count as images without masks.", err=True)


def _predicted(sample: LabelledInstances, source: MaskSource) -> dict[str, Instances]:
    return {PREDICTION: _read(sample, source)}


def _read(sample: LabelledInstances, source: MaskSource) -> Instances:
    """Its masks; none where the source does not know it, which was refused before unless it was asked for."""
    from tracedge.instances import Instances

    if sample.name not in source:
        return Instances.empty(sample.objects.shape)
    return source.read(sample.name, sample.objects.shape, blanks=True)


def _proposed(sample: LabelledInstances, proposer: Proposer | SegmentProposer | SamAutomatic) -> Instances:
    assert sample.image is not None  # the comparison asks for it first
    return proposer(sample.image)
