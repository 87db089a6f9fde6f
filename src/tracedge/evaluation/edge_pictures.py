"""What a table of edges hides: the curves, and the photos on which the edges went best and worst."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

import numpy as np

from tracedge.evaluation.edges import (
    EdgePredictorLike,
    EdgeRow,
    LabelledImages,
    edges_of,
    image_scores,
    true_boundaries,
)
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.report import Picture, best_and_worst
from tracedge.rivals import FolderOfEdges
from tracedge.visualize import curves_picture, side_by_side


def edge_pictures(
    dataset: LabelledImages,
    predictors: Mapping[str, EdgePredictorLike | FolderOfEdges],
    rows: Sequence[EdgeRow],
    journal: Journal,
    shown: str,
) -> Iterator[tuple[str, Picture]]:
    """(name, uint8 (H, W, 3)): the curves of one data set's rows, then the extremes of the predictor `shown`.

    An extreme is the photo, the true edges and the predicted ones, side by side, dark on white.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    short = PurePath(rows[0].truth).name
    yield (
        f"curves-{short}",
        curves_picture(short, {row.name: (np.array(row.recall), np.array(row.precision)) for row in rows}),
    )
    (row,) = (row for row in rows if row.name == shown)
    wanted = {stem: name for name, stem in best_and_worst(image_scores(journal, row))}
    for sample in dataset:
        if sample.stem in wanted:
            truth = true_boundaries(sample)
            edges, _ = edges_of(predictors[shown], sample)
            drawn = [
                255 - np.round(255 * each).astype(np.uint8) for each in (truth.reshape(-1, *edges.shape).mean(0), edges)
            ]
            panels = [sample.image, *(np.repeat(each[..., None], 3, axis=2) for each in drawn)]
            yield f"{wanted[sample.stem]}-{short}-{sample.stem}", side_by_side(panels)
