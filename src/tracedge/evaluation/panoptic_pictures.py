"""What a table of panoptic quality hides: the photos on which the segments went best and worst."""

from __future__ import annotations

from pathlib import PurePath

from tracedge.evaluation.journal import Journal
from tracedge.evaluation.panoptic import PanopticRow, Predictor, image_scores
from tracedge.evaluation.panoptic_sets import PanopticSet
from tracedge.evaluation.report import Illustration, best_and_worst
from tracedge.visualize import panoptic_overlay, side_by_side


def panoptic_pictures(
    labelled: PanopticSet, predict: Predictor, row: PanopticRow, journal: Journal
) -> list[Illustration]:
    """The extremes of one row, from the best on and from the worst on: photo, true segments and predicted ones, side by side.

    A truth without photos has no pictures.
    """
    extremes = best_and_worst(image_scores(journal, row))
    wanted, shown = {each.image: each for each in extremes}, {}
    short = PurePath(row.truth).name
    for sample in labelled.read(wanted):
        if sample.image is not None:
            panels = [sample.image] + [panoptic_overlay(sample.image, each) for each in (sample.truth, predict(sample))]
            extreme = wanted[sample.name]
            name = f"{extreme.place}-{short}-{PurePath(sample.name).stem}"
            said = extreme.said(f"{row.name} on {row.truth}", "PQ {} with all segments as of one class")
            shown[sample.name] = Illustration(name, side_by_side(panels), said)
    return [shown[each.image] for each in extremes if each.image in shown]
