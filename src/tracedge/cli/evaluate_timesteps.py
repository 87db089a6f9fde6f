"""``tracedge evaluate timesteps``: how well the step is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tracedge.cli import dataset_options as data
from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import AsWritten, JsonFile, Limit, Thresholds, provenance


def timesteps(
    truth: Annotated[Path, typer.Option(help=f"The data set: {data.LAYOUTS}.")],
    backbone: option.Backbone = "mini",
    stride: option.Stride = 100,
    size: option.Size = None,
    zoom: option.Zoom = 1,
    seed: option.Seed = 0,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    json_file: JsonFile = None,
    thresholds: Thresholds = 33,
    limit: Limit = None,
    as_written: AsWritten = None,
    split: data.Split = None,
    ids: data.Ids = None,
    sample: data.SampleSize = None,
    sample_seed: data.SampleSeed = 0,
) -> None:
    """How well the timestep is chosen: every fixed step, every rule with its regret, and the best of each image."""
    import json
    from dataclasses import asdict

    from tracedge.datasets.layouts import provenance as data_provenance
    from tracedge.evaluation.edges import protocol_for
    from tracedge.evaluation.outputs import Outputs
    from tracedge.evaluation.timesteps import evaluate_timesteps, timesteps_markdown

    outputs = Outputs(json_file, None)
    chosen = data.DatasetOptions(split=split, ids=ids, sample=sample, sample_seed=sample_seed, limit=limit)
    opened = chosen.open(truth)
    dataset = opened.edges()
    options = option.PredictorOptions(
        backbone=backbone,
        stride=stride,
        size=size,
        zoom=zoom,
        seed=seed,
        device=device,
        dtype=dtype,
        local_files_only=local_files_only,
    )
    protocol = protocol_for(opened.layout, thresholds, as_written=as_written)
    teacher = options.build()
    settings = provenance() | {"predictor": teacher.provenance, "data": {str(truth): data_provenance(opened)}}
    settings["protocol"] = vars(protocol)
    counted = settings | {"truth": str(truth), "images": list(dataset.names)}
    with (
        outputs.journal(counted) as journal,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("sweeping", total=len(dataset))
        rows = evaluate_timesteps(
            dataset,
            teacher.sweep,
            protocol,
            lambda done: bar.update(task, completed=done),
            journal=journal,
            truth=str(truth),
        )
        settings["data"] = journal.seen({str(truth): data_provenance(opened)})
        report = {"rows": [asdict(row) for row in rows], "provenance": settings}
        text = json.dumps(report, indent=2, sort_keys=True) + "\n"
        outputs.write(text, timesteps_markdown(rows), settings, {})
    typer.echo(f"{truth}, {len(dataset)} images, {thresholds} thresholds\n\n{timesteps_markdown(rows)}")
