"""What a table of instances hides: the photos on which the masks went best and worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tracedge.evaluation.instances import InstanceImage, InstanceRow, Methods, image_scores
from tracedge.evaluation.journal import Journal
from tracedge.evaluation.naming import file_stem
from tracedge.evaluation.report import Illustration, best_and_worst
from tracedge.visualize import instances_overlay, side_by_side


def instance_pictures(
    samples: Iterable[InstanceImage], make: Callable[[], Methods], row: InstanceRow, journal: Journal, short: str
) -> list[Illustration]:
    """The extremes of one row, from the best on and from the worst on: photo, true objects and the masks found, side by side.

    A truth without photos has no pictures. No other image than those shown is read. make: the methods, made if there is one.
    short: names the data set in the names of the files.
    """
    extremes = best_and_worst(image_scores(journal, row))
    wanted, shown = {each.image: each for each in extremes}, {}
    methods: Methods | None = None
    for sample in samples:
        if sample.name in wanted and (image := sample.load()).image is not None:
            methods = methods or make()
            found = methods(image)[row.name]
            panels = [image.image] + [instances_overlay(image.image, each) for each in (image.objects, found)]
            extreme = wanted[sample.name]
            name = f"{extreme.place}-{short}-{file_stem(sample.name)}"
            said = extreme.said(f"{row.name} on {short}", "mean best IoU {}")
            shown[sample.name] = Illustration(name, side_by_side(panels), said)
    return [shown[each.image] for each in extremes if each.image in shown]
