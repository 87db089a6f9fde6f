"""The command line: parsing only, one file a verb. Exit codes: 0 all done, 1 some pictures failed, 2 wrong use."""

from __future__ import annotations

import signal
import sys

import typer
from rich.console import Console
from rich.text import Text

from tracedge.cli.app import app as page
from tracedge.cli.backbones import backbones, download
from tracedge.cli.bench import bench
from tracedge.cli.detect import app as detect
from tracedge.cli.distill import distill
from tracedge.cli.edges import edges
from tracedge.cli.evaluate import app as evaluate
from tracedge.cli.inspect import inspect
from tracedge.cli.panoptic import panoptic
from tracedge.cli.pretrain import pretrain
from tracedge.cli.refine import refine
from tracedge.cli.reproduce import reproduce
from tracedge.cli.scenes import scenes
from tracedge.cli.segment import segment
from tracedge.cli.semantic import semantic
from tracedge.cli.sheet import sheet
from tracedge.cli.teach import teach
from tracedge.errors import TracedgeError
from tracedge.interrupts import raise_again, signals_raise

app = typer.Typer(
    name="tracedge",
    help="Instance edges, read out of the self-attention of diffusion models, with no labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    edges,
    segment,
    refine,
    semantic,
    panoptic,
    inspect,
    sheet,
    page,
    teach,
    distill,
    pretrain,
    scenes,
    backbones,
    download,
    bench,
    reproduce,
):
    app.command()(verb)
app.add_typer(detect, name="detect")
app.add_typer(evaluate, name="evaluate")


def _version(asked: bool) -> None:
    if asked:
        from tracedge import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Say the version."),
) -> None:
    """Instance edges, read out of the self-attention of diffusion models, with no labels."""


def main() -> None:
    """The entry point: what tracedge raises on purpose, or the file system, is one sentence on stderr and exit code 2."""
    try:
        with signals_raise(signal.SIGINT):
            _say_errors()
    except KeyboardInterrupt:
        sys.exit(130)


def _say_errors() -> None:
    try:
        app()
    except Exception as error:
        raise_again()
        if not isinstance(error, TracedgeError | OSError):
            raise
        Console(stderr=True).print(Text("tracedge: ", "bold red").append(Text(_sentence(error))), soft_wrap=True)
        sys.exit(2)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
