"""What `evaluate panoptic --semantic` compares: the same classes, cut by nothing, by Canny's, by ours and by the true edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracedge.cli.predictor_options import PredictorOptions
from tracedge.cli.semantic_options import classes_from
from tracedge.cli.tag_options import CLIP_SIZE, check_attention, classes_from_tags
from tracedge.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tracedge.cli.predictor_options import Predictor as EdgeSource
    from tracedge.evaluation.panoptic import Predictor
    from tracedge.evaluation.panoptic_methods import SemanticsOf
    from tracedge.evaluation.panoptic_sets import PanopticSet

    Source = Callable[[], tuple[SemanticsOf, dict[str, object]]]
    """Loads what gives the classes, and says what they depend on; called when all is checked."""

TRUTH, FROM_TAGS = "truth", "clip:"
OURS = "cut by our edges"


@dataclass(frozen=True)
class Made:
    """ways: row of the table -> how its maps are made. depends_on: on what, of JSON's types. headline: the row of our edges."""

    ways: dict[str, Predictor]
    depends_on: dict[str, object]
    headline: str


@dataclass(frozen=True, kw_only=True)
class SemanticOptions:
    """What the options say of semantic maps, before anything is loaded.

    semantic, classes: NAME=WHERE or WHERE, and NAME=FILE or FILE.
    """

    semantic: Sequence[str]
    classes: Sequence[str]
    mapping: Path | None
    cut: float
    true_edges: bool
    rivals: bool
    crf: bool
    max_pixels: int


def from_semantics(
    asked: SemanticOptions, labelled: PanopticSet, options: PredictorOptions, load: Callable[[], EdgeSource]
) -> Made:
    """The rows, in the order of the table: those of one WHERE after those of the one before; ours last but for the truth's.

    Raises:
        SettingsError: options that do not go together, or a name that comes twice.
        DataError: a folder holds no semantic maps, or not of every image.
        BackboneError: a model cannot be had.
    """
    from tracedge.evaluation import panoptic_methods as methods
    from tracedge.panoptic import PanopticSettings
    from tracedge.rivals import canny_edges

    # 1. Everything is looked at before a model is loaded.
    settings = PanopticSettings(cut=asked.cut)
    sources = _sources(asked, labelled, options)
    # 2. The models; each photo's classes and edges are found once, however many rows ask for them.
    loaded = {name: source() for name, source in sources.items()}
    ours = load()
    edges = methods.Remembered(methods.OfPhotos(partial(_edges, ours)))
    ways: dict[str, Predictor] = {}
    for name, (classes, _) in loaded.items():
        way = methods.FromSemantics(methods.Remembered(classes), None, labelled.categories, settings)
        ways[_row(name, "components of a class")] = way
        if asked.rivals:
            ways[_row(name, "cut by Canny's edges")] = replace(way, edges=methods.OfPhotos(canny_edges))
        ways[_row(name, OURS)] = replace(way, edges=edges)
        if asked.true_edges:
            ways[_row(name, "cut by true edges")] = replace(way, edges=methods.true_edges)
    said = {name: depends_on for name, (_, depends_on) in loaded.items()}
    depends_on = said[""] if list(said) == [""] else {"sources": said}
    return Made(
        ways, depends_on | {"edges": ours.provenance, "panoptic": asdict(settings)}, _row(next(iter(loaded)), OURS)
    )


def _sources(asked: SemanticOptions, labelled: PanopticSet, options: PredictorOptions) -> dict[str, Source]:
    """By name; "" for the one without."""
    where, classes = named(asked.semantic, "--semantic", ""), named(asked.classes, "--classes", "")
    if strange := sorted(classes.keys() - where.keys() - {""}):
        raise SettingsError(f"--classes names the values of {strange[0]!r}, which is no --semantic.")
    folders = [name for name, place in where.items() if place != TRUTH and not place.startswith(FROM_TAGS)]
    if not folders and (classes or asked.mapping is not None):
        raise SettingsError("--semantic truth has the classes of the truth: leave --classes and --mapping out.")
    found: dict[str, Source] = {}
    for name, place in where.items():
        if place == TRUTH:
            found[name] = _of_truth
        elif place.startswith(FROM_TAGS):
            found[name] = _from_tags(place.removeprefix(FROM_TAGS), asked, labelled, options)
        else:
            found[name] = _of_folder(place, classes.get(name, classes.get("")), asked, labelled)
    return found


def _of_truth() -> tuple[SemanticsOf, dict[str, object]]:
    from tracedge.evaluation.panoptic_methods import true_semantics

    return true_semantics, {"semantic": TRUTH}


def _of_folder(place: str, classes: str | None, asked: SemanticOptions, labelled: PanopticSet) -> Source:
    from tracedge.evaluation.naming import without_suffix
    from tracedge.evaluation.panoptic_methods import OfFiles
    from tracedge.semantics.from_files import find_semantics

    names = Path(classes) if classes is not None else None
    known = classes_from(names, asked.mapping, labelled.categories)
    folder = find_semantics(place, known, max_pixels=asked.max_pixels)
    folder.require(without_suffix(name) for name in labelled.names)
    return lambda: (OfFiles(folder), folder.provenance)


def _from_tags(clip: str, asked: SemanticOptions, labelled: PanopticSet, options: PredictorOptions) -> Source:
    from tracedge.evaluation.panoptic_methods import OfTags
    from tracedge.semantics.refine import RefineSettings

    if not clip:
        raise SettingsError(f"--semantic {FROM_TAGS} wants a model: {FROM_TAGS}clip-base16, a folder or a hub id.")
    settings = RefineSettings(crf=asked.crf)
    check_attention(options, settings)

    def load() -> tuple[SemanticsOf, dict[str, object]]:
        made = classes_from_tags(clip, options, labelled.categories, settings, clip_size=CLIP_SIZE)
        return OfTags(made), made.provenance | {"tags": TRUTH}

    return load


def named(given: Sequence[str], option: str, otherwise: str) -> dict[str, str]:
    """NAME=WHERE each, each name once; a WHERE alone is called `otherwise`.

    Raises:
        SettingsError: no WHERE, or a name that comes twice.
    """
    found: dict[str, str] = {}
    for each in given:
        name, equals, where = each.partition("=")
        if not equals or "/" in name or ":" in name:  # a path may have a = of its own
            name, where = otherwise, each
        if not where or (equals and not name and otherwise != name):
            raise SettingsError(f"{option} takes PATH or NAME=PATH, got {each!r}.")
        if name in found:
            said = repr(name) if name else "one without a name"
            raise SettingsError(f"{option} gives {said} twice: name each by {option} NAME=PATH.")
        found[name] = where
    return found


def _row(name: str, way: str) -> str:
    return f"{name}, {way}" if name else way


def _edges(predictor: EdgeSource, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return predictor(image).edges
