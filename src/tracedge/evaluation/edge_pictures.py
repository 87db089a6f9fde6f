"""What a table of edges hides: the curves, and the photos on which the edges went best and worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tracedge.evaluation.edges import (
    EdgeRow,
    EdgesOf,
    LabelledImages,
    edges_of,
    image_scores,
    true_boundaries,
)
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.naming import file_stem
from tracedge.evaluation.report import Illustration, best_and_worst
from tracedge.rivals import FolderOfEdges
from tracedge.visualize import curves_picture, side_by_side


def edge_pictures(
    dataset: LabelledImages,
    predictors: Mapping[str, EdgesOf | FolderOfEdges],
    rows: Sequence[EdgeRow],
    journal: Journal,
    shown: str,
    short: str,
) -> list[Illustration]:
    """The curves of one data set's rows, then the extremes of the predictor `shown`, from the best on and from the worst on.

    An extreme is the photo, the true edges and the predicted ones, side by side, dark on white. short: names the data set in
    the names of the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    curves = curves_picture(short, {row.name: (np.array(row.recall), np.array(row.precision)) for row in rows})
    (row,) = (row for row in rows if row.name == shown)
    extremes = best_and_worst(image_scores(journal, row))
    wanted, found = {each.image: each for each in extremes}, {}
    for sample in dataset:
        if sample.name in wanted:
            truth = true_boundaries(sample)
            edges, _ = edges_of(predictors[shown], sample)
            drawn = [
                255 - np.round(255 * each).astype(np.uint8) for each in (truth.reshape(-1, *edges.shape).mean(0), edges)
            ]
            panels = [sample.image, *(np.repeat(each[..., None], 3, axis=2) for each in drawn)]
            extreme = wanted[sample.name]
            name = f"{extreme.place}-{short}-{file_stem(sample.name)}"
            said = extreme.said(
                f"{shown} on {short}", f"F {{}} at the best threshold of all images, {row.ods_threshold:.2f}"
            )
            found[sample.name] = Illustration(name, side_by_side(panels), said)
    said = f"**curves** of {short}: precision against recall"
    return [Illustration(f"curves-{short}", curves, said)] + [found[each.image] for each in extremes]
