"""What a table of instances hides: the photos on which the masks went best and worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tracedge.evaluation.instances import InstanceImage, InstanceRow, Methods, image_scores
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.naming import file_stem
from tracedge.evaluation.report import Picture, best_and_worst
from tracedge.visualize import instances_overlay, side_by_side


def instance_pictures(
    samples: Iterable[InstanceImage], make: Callable[[], Methods], row: InstanceRow, journal: Journal, short: str
) -> Iterator[tuple[str, Picture]]:
    """(name, uint8 (H, W, 3)) of the extremes of one row: the photo, the true objects and the masks found, side by side.

    A truth without photos has no pictures. No other image than those shown is read. make: the methods, made if there is one.
    short: names the data set in the names of the files.
    """
    wanted = {name: place for place, name in best_and_worst(image_scores(journal, row))}
    methods: Methods | None = None
    for sample in samples:
        if sample.name in wanted and (image := sample.load()).image is not None:
            methods = methods or make()
            found = methods(image)[row.name]
            panels = [image.image] + [instances_overlay(image.image, each) for each in (image.objects, found)]
            yield f"{wanted[sample.name]}-{short}-{file_stem(sample.name)}", side_by_side(panels)
