"""What a table of panoptic quality hides: the photos on which the segments went best and worst."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from tracedge.evaluation.journal import Journal
from tracedge.evaluation.panoptic import PanopticRow, Predictor, image_scores
from tracedge.evaluation.panoptic_sets import PanopticSet
from tracedge.evaluation.report import Picture, best_and_worst
from tracedge.visualize import panoptic_overlay, side_by_side


def panoptic_pictures(
    labelled: PanopticSet, predict: Predictor, row: PanopticRow, journal: Journal
) -> Iterator[tuple[str, Picture]]:
    """(name, uint8 (H, W, 3)) of the extremes of one row: the photo, the true segments and the predicted ones, side by side.

    A truth without photos has no pictures.
    """
    wanted = {name: place for place, name in best_and_worst(image_scores(journal, row))}
    for sample in labelled.read(wanted):
        if sample.image is not None:
            panels = [sample.image] + [panoptic_overlay(sample.image, each) for each in (sample.truth, predict(sample))]
            name = f"{wanted[sample.name]}-{PurePath(row.truth).name}-{PurePath(sample.name).stem}"
            yield name, side_by_side(panels)
