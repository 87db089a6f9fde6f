"""``tracedge evaluate``: scores against a truth, as a table and as JSON; one file a verb."""

from __future__ import annotations

import typer

from tracedge.cli.evaluate_edges import edges
from tracedge.cli.evaluate_instances import instances
from tracedge.cli.evaluate_panoptic import panoptic
from tracedge.cli.evaluate_timesteps import timesteps

app = typer.Typer(help="Score predictions against a truth.", no_args_is_help=True)
for verb in (edges, instances, panoptic, timesteps):
    app.command()(verb)
