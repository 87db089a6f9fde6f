"""What `evaluate panoptic --semantic` compares: the same classes, cut by nothing, by Canny's, by ours and by the true edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracedge.cli.semantic_options import classes_from
from tracedge.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tracedge.cli.predictor_options import Predictor as EdgeSource
    from tracedge.evaluation.panoptic import Predictor
    from tracedge.evaluation.panoptic_sets import PanopticSet

TRUTH = "truth"
OURS = "cut by our edges"


@dataclass(frozen=True)
class Made:
    """ways: row of the table -> how its maps are made. depends_on: on what, of JSON's types."""

    ways: dict[str, Predictor]
    depends_on: dict[str, object]


def from_semantics(
    semantic: str,
    labelled: PanopticSet,
    load: Callable[[], EdgeSource],
    *,
    classes: Path | None,
    mapping: Path | None,
    cut: float,
    true_edges: bool,
    rivals: bool,
    workers: int,
    max_pixels: int,
) -> Made:
    """The rows, in the order of the table; ours last but for the truth's.

    Raises:
        SettingsError: several processes, or options that do not go with the truth's classes.
        DataError: the folder holds no semantic maps, or not of every image.
    """
    from functools import partial

    from tracedge.evaluation import panoptic_methods as methods
    from tracedge.evaluation.naming import without_suffix
    from tracedge.panoptic import PanopticSettings
    from tracedge.rivals import canny_edges
    from tracedge.semantics.from_files import find_semantics

    if workers > 1:
        raise SettingsError("--semantic works in one process: leave --workers out.")
    settings = PanopticSettings(cut=cut)
    of_classes: methods.SemanticsOf
    said: dict[str, object]
    if semantic == TRUTH:
        if classes is not None or mapping is not None:
            raise SettingsError("--semantic truth has the classes of the truth: leave --classes and --mapping out.")
        of_classes, said = methods.true_semantics, {"semantic": TRUTH}
    else:
        known = classes_from(classes, mapping, labelled.categories)
        folder = find_semantics(semantic, known, max_pixels=max_pixels)
        folder.require(without_suffix(name) for name in labelled.names)
        of_classes, said = methods.OfFiles(folder), folder.provenance
    ours = load()
    way = methods.FromSemantics(of_classes, None, labelled.categories, settings)
    ways: dict[str, Predictor] = {"components of a class": way}
    if rivals:
        ways["cut by Canny's edges"] = replace(way, edges=methods.OfPhotos(canny_edges))
    ways[OURS] = replace(way, edges=methods.OfPhotos(partial(_edges, ours)))
    if true_edges:
        ways["cut by true edges"] = replace(way, edges=methods.true_edges)
    return Made(ways, said | {"edges": ours.provenance, "panoptic": asdict(settings)})


def _edges(predictor: EdgeSource, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return predictor(image).edges
