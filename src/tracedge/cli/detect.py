"""``tracedge detect``: a Mask2Former trained on pseudo masks; one file a verb."""

from __future__ import annotations

import typer

from tracedge.cli.detect_predict import predict
from tracedge.cli.detect_relabel import relabel
from tracedge.cli.detect_train import train

app = typer.Typer(help="Train a detector (Mask2Former) on pseudo masks, and use it.", no_args_is_help=True)
for verb in (train, predict, relabel):
    app.command()(verb)
