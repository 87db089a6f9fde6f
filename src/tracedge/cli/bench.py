"""`tracedge bench`: how long the student, the teacher, BGP, MaskCut and the metrics take, and how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import predictor_options as option
from tracedge.cli.evaluation_options import provenance

if TYPE_CHECKING:
    from tracedge.backbones.protocol import Backbone
    from tracedge.evaluation.bench import Benchmark
    from tracedge.evaluation.mask_timing import MaskTimings
    from tracedge.student.predictor import EdgePredictor


def bench(
    backbone: option.Backbone = "mini",
    student: option.Student = None,
    random: Annotated[
        bool, typer.Option("--random", help="The model at full size with random weights: nothing is downloaded.")
    ] = False,
    size: option.Size = None,
    stride: option.Stride = 100,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs after one to warm up.")] = 5,
    plain: Annotated[
        bool, typer.Option(help="Also the plain teacher: ten forwards one by one, per-head maps kept.")
    ] = True,
    masks: Annotated[
        bool, typer.Option(help="Also BGP of eight masks, beside its dense form, and MaskCut's three cuts.")
    ] = True,
    metrics: Annotated[bool, typer.Option(help="Also the edge and instance metrics of a drawn scene.")] = True,
    device: option.Device = None,
    dtype: option.Dtype = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time the student, a step of the teacher, the teacher, BGP, MaskCut's cuts and the metrics on drawn scenes, in one run."""
    import json

    from tracedge.errors import SettingsError
    from tracedge.evaluation.bench import measure_model
    from tracedge.evaluation.outputs import Outputs
    from tracedge.student.files import SHIPPED, find_student, read_student
    from tracedge.teacher import EdgeTeacher

    outputs = Outputs(json_file, None)
    if random and student is not None:
        raise SettingsError("--random times a student with random weights: leave --student out")
    name = student or (backbone if backbone in SHIPPED and not random else None)
    if name is not None:
        read_student(find_student(name))  # what is no student is said before anything is timed
    model = _model(backbone, random, device, dtype)
    teacher = EdgeTeacher(model, size=size or model.px, stride=stride, zoom=1)
    fast = _student(model, name, random, teacher.size)
    measured = measure_model(teacher, fast, repeats=repeats, plain=plain, masks=masks, metrics=metrics)
    _print(f"{backbone}{' (random weights)' if random else ''}", measured)
    settings = provenance() | {"teacher": teacher.provenance, "student": None if fast is None else fast.provenance}
    figures = {"backbone": backbone, "random": random, **measured.figures, "provenance": settings}
    outputs.write(json.dumps(figures, indent=2) + "\n", "", settings, {})


def _print(model: str, measured: Benchmark) -> None:
    said = measured.figures
    typer.echo(f"{model}, {said['px']} px, {said['dtype']}; {said['machine']}, torch {said['torch']}")
    grid = "{} x {} tokens".format(*said["grid"])
    typer.echo(
        f"{grid}, a map of N x N: {measured.map_mib:.1f} MiB; the teacher's tensors: at most {measured.in_maps:.1f} of them"
    )
    for name, timing in measured.rows.items():
        memory = f", {timing.peak_mib:.0f} MiB of the device" if timing.peak_mib is not None else ""
        typer.echo(f"  {name:44} {timing.milliseconds:9.1f} ms ({timing.fastest:.1f} to {timing.slowest:.1f}){memory}")
    shares = ", ".join(f"{name} {share:.0%}" for name, share in measured.shares.items())
    typer.echo(f"share of the bound, at {measured.gflops:.0f} GFLOP/s: {shares}")
    if measured.masks is not None:
        typer.echo(_about_masks(measured.masks))


def _about_masks(timings: MaskTimings) -> str:
    figures = timings.figures
    return (
        f"{timings.note}\nBGP is {figures['bgp_speedup']} times as fast as its dense form. Arrays and tensors at their peaks: "
        f"BGP {figures['bgp_peak_mib']:.0f} MiB, dense {figures['bgp_dense_peak_mib']:.0f} MiB (T and two sets of maps), "
        f"MaskCut {figures['maskcut_peak_mib']:.0f} MiB"
    )


def _model(name: str, random: bool, device: str | None, dtype: str | None) -> Backbone:
    from tracedge.backbones.loading import place

    if not random:
        return option.load(name, device, dtype, local_files_only=False)
    from tracedge.backbones.architectures import random_backbone

    return random_backbone(name, place(device, option.torch_dtype(dtype)))


def _student(model: Backbone, name: str | None, random: bool, size: int) -> EdgePredictor | None:
    """The student of a name; with random weights one that was never trained; None where there is none."""
    from tracedge.student.predictor import EdgePredictor, untrained

    if random:
        return untrained(model, size)
    return EdgePredictor.from_pretrained(name, backbone=model, size=size) if name is not None else None
