"""What the verbs of `tracedge evaluate` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracedge import __version__
from tracedge.cli.dataset_options import IMAGES, LAYOUTS

PREDICTION = "prediction"
"""The row of --pred."""

Truth = Annotated[list[Path], typer.Option(help=f"The data set: {LAYOUTS}; may be repeated.")]
OUTPUT = "What is written"  # of the help

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the report to this file.", rich_help_panel=OUTPUT)]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a folder: figures, a page, curves, the best and the worst photos.",
        rich_help_panel=OUTPUT,
    ),
]
Thresholds = Annotated[int, typer.Option(min=1, help="How many thresholds are tried; 99 as in BSDS, 33 is quicker.")]
AsWritten = Annotated[
    bool | None,
    typer.Option(
        "--bsds/--no-bsds",
        help="As BSDS500's benchmark: truth not thinned, nothing forgiven near ignored ground. By default on BSDS.",
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first N images of each data set.", rich_help_panel=IMAGES)
]


_PACKAGES = ("torch", "diffusers", "transformers", "numpy", "scipy", "scikit-image", "pillow", "faster-coco-eval")


def provenance() -> dict[str, object]:
    """What a figure depends on besides the options: versions and the machine."""
    import os
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in _PACKAGES}
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs"
    return {"tracedge": __version__, "python": platform.python_version(), "packages": packages, "machine": machine}
