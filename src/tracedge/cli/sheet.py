"""`tracedge sheet`: what a command wrote into a folder, many photos on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.images import MAX_PIXELS


def sheet(
    folder: Annotated[Path, typer.Argument(help="What `tracedge edges`, `segment` or another command wrote.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A PNG; several pages are <stem>-001.png, <stem>-002.png, ...")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            help="The folder that the photos came from: instances, and what has no overlay, are drawn over those that are in it."
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="name, most or fewest (instances, segments or classes), least-sure, surest, or slowest.")
    ] = "name",
    columns: Annotated[int, typer.Option(help="Pictures side by side.")] = 6,
    rows: Annotated[int, typer.Option(help="Rows of pictures on a page.")] = 8,
    side: Annotated[int, typer.Option(help="Long side of a picture in pixels.")] = 200,
    max_pixels: option.MaxPixels = MAX_PIXELS,
) -> None:
    """A contact sheet of a run: each photo's overlay (--overlay), or its map over the photo (--images), or the map alone.

    Numbers of instances are drawn at the sheet's size. Under each stand its name and what the manifest says of it. Photos that
    failed come last, with the reason.
    """
    from tracedge.visualize.contact_sheet import SheetSettings, write_contact_sheet

    settings = SheetSettings(sort=sort, columns=columns, rows=rows, side=side)
    pages = write_contact_sheet(folder, output, settings, images=images, max_pixels=max_pixels)
    typer.echo(str(pages[0]) if len(pages) == 1 else f"{len(pages)} pages: {pages[0]} to {pages[-1]}")
