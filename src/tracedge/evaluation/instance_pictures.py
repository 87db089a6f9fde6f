"""What a table of instances hides: the photos on which the masks went best and worst."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from tracedge.evaluation.instances import InstanceRow, LabelledInstances, Methods, image_scores
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.report import Picture, best_and_worst
from tracedge.visualize import instances_overlay, side_by_side


def instance_pictures(
    samples: Iterable[LabelledInstances], methods: Methods, row: InstanceRow, journal: Journal
) -> Iterator[tuple[str, Picture]]:
    """(name, uint8 (H, W, 3)) of the extremes of one row: the photo, the true objects and the masks found, side by side.

    A truth without photos has no pictures.
    """
    wanted = {name: place for place, name in best_and_worst(image_scores(journal, row))}
    for sample in samples:
        if sample.name in wanted and sample.image is not None:
            found = methods(sample)[row.name]
            panels = [sample.image] + [instances_overlay(sample.image, each) for each in (sample.objects, found)]
            name = f"{wanted[sample.name]}-{PurePath(row.truth).name}-{PurePath(sample.name).stem}"
            yield name, side_by_side(panels)
