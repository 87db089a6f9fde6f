"""What the page says, as HTML: problems with files, the table of objects, how the step was chosen. File names are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tracedge.errors import TracedgeError
from tracedge.instances import Instances
from tracedge.visualize import instance_colours
from tracedge.web.kept import KeptPhoto
from tracedge.web.reading import Steps


def sentence_of(error: TracedgeError, path: Path) -> str:
    """An error of reading a visitor's file, without the path that the file has on this machine."""
    said = str(error).replace(str(path), path.name)
    # What a command line advises is not for a visitor.
    return said.partition(": raise it by --max-pixels")[0].rstrip(".") + "."


def problems_html(problems: Sequence[str]) -> str:
    """A note that lists what was not taken; empty if there is nothing to say."""
    if not problems:
        return ""
    return '<div class="note problem" role="alert">' + "<br>".join(map(escape, problems)) + "</div>"


def photo_html(photo: KeptPhoto, objects: Instances) -> str:
    """A line: which photo, its size, how many objects."""
    height, width = photo.shape
    count = f"{len(objects)} object{'' if len(objects) == 1 else 's'}"
    return f'<p class="line"><b>{escape(photo.name)}</b> · {width} × {height} · <b>{count}</b></p>'


def table_html(objects: Instances) -> str:
    """A row for each object: its number and colour as in the picture, its area, its score."""
    if not len(objects):
        return (
            '<p class="note">No object has edges this strong all around. '
            "Lower the edge strength or the smallest object, or read in more detail.</p>"
        )
    pixels = objects.shape[0] * objects.shape[1]
    colours = instance_colours(len(objects))[1:].tolist()
    rows = "".join(
        f'<tr><td><i style="background:rgb({red},{green},{blue})"></i>{number}</td>'
        f"<td>{area:,}</td><td>{area / pixels:.1%}</td><td>{score:.2f}</td></tr>"
        for number, ((red, green, blue), area, score) in enumerate(
            zip(colours, objects.areas.tolist(), objects.scores.tolist(), strict=True), start=1
        )
    )
    head = "<tr><th>No.</th><th>area, px</th><th>of photo</th><th>score</th></tr>"
    return f'<div class="objects"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def compared_html(before: int, after: int) -> str:
    """What the two halves of the comparison are."""
    groups = f"<b>{before}</b> group{'' if before == 1 else 's'}"
    return (
        f"<p class='line'>Left: {groups} of what looks alike, by MaskCut, which knows of no edge. "
        f"Right: the same, cut, grown and merged by the edges: <b>{after}</b>.</p>"
    )


def chosen_html(steps: Steps) -> str:
    """Which step was chosen, and what that means."""
    return (
        f"<p class='line'>The model looks at the photo under more and more noise. Where its attention changes first and most, it "
        f"goes from kinds of things to single things: here at <b>t = {steps.chosen:g}</b>.</p>"
    )
