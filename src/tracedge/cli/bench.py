"""`tracedge bench`: how long the student, the teacher, BGP, MaskCut and the metrics take, and how much memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import predictor_options as option

if TYPE_CHECKING:
    from tracedge.backbones.protocol import Backbone
    from tracedge.evaluation.mask_timing import MaskTimings
    from tracedge.evaluation.timing import Timing
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
    from dataclasses import asdict

    import torch

    from tracedge.atomic import atomic_path
    from tracedge.attention import fused_attention
    from tracedge.datasets.scenes import UNSEEN_SEED, draw_scene
    from tracedge.divergence import attention_boundary_divergence
    from tracedge.errors import SettingsError
    from tracedge.evaluation.bound import bound_figures, forward_flops, time_matmul
    from tracedge.evaluation.mask_timing import IMAGE_HW, TOKENS_HW, time_masks
    from tracedge.evaluation.memory import peak_tensor_bytes
    from tracedge.evaluation.metric_timing import time_metrics
    from tracedge.evaluation.timing import plain_teacher, timed
    from tracedge.fit import Fit
    from tracedge.student.files import SHIPPED, find_student, read_student
    from tracedge.teacher import EdgeTeacher

    # 1. One model, one picture at its size, one noise.
    if random and student is not None:
        raise SettingsError("--random times a student with random weights: leave --student out")
    name = student or (backbone if backbone in SHIPPED and not random else None)
    if name is not None:
        read_student(find_student(name))  # what is no student is said before anything is timed
    model = _model(backbone, random, device, dtype)
    size = size or model.px
    image = draw_scene(UNSEEN_SEED, size).image
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    fit = Fit((size, size), size, model.multiple_of)
    teacher = EdgeTeacher(model, size=size, stride=stride, zoom=1)

    @torch.no_grad()
    def encoded() -> torch.Tensor:
        return model.encode(fit.apply(pixels))

    def step() -> object:
        attention, grid_hw = fused_attention(model, latents, torch.zeros(1))
        return attention_boundary_divergence(attention, grid_hw)

    latents = encoded()
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
    attention, grid_hw = fused_attention(model, latents, torch.zeros(1))
    map_mib = attention.numel() * 4 / 2**20
    del attention

    # 2. Each on its own; the rows are in the order of the table.
    predictor = _student(model, name, random, size)
    forwards = max(1, len(teacher(image).timesteps))
    computations: dict[str, tuple[str, Callable[[], object]]] = {}
    if plain:
        computations["teacher_plain"] = (
            "plain teacher (argmax, per-head maps kept)",
            lambda: plain_teacher(model, encoded(), noise, stride),
        )
    computations["teacher"] = f"teacher, {forwards} forwards", lambda: teacher(image)
    computations["step"] = "one step of the teacher", step
    if predictor is not None:
        computations["student"] = "student, one forward", lambda: predictor(image)
    rows = {label: timed(compute, model.device, repeats) for label, compute in computations.values()}
    peaks = {short: peak_tensor_bytes(compute) / 2**20 for short, (_, compute) in computations.items()}
    timings = {short: rows[label] for short, (label, _) in computations.items()}
    product, gflops = time_matmul(model.device, model.dtype, repeats)
    rows["a large matrix product"] = product
    of_masks = time_masks(model.device, repeats, IMAGE_HW, TOKENS_HW) if masks else None
    if of_masks is not None:
        rows |= of_masks.rows
    of_metrics = time_metrics(repeats, IMAGE_HW) if metrics else None
    if of_metrics is not None:
        rows |= of_metrics.rows

    # 3. What the model alone has to compute, at the speed of that product.
    encoding, denoising = forward_flops(encoded), forward_flops(lambda: model.denoise(latents, torch.zeros(1)))
    counts = {"teacher_plain": len(model.process.timesteps(stride)), "teacher": forwards, "step": 1, "student": 1}
    flops = {name: count * denoising + (encoding if name != "step" else 0) for name, count in counts.items()}
    bound = bound_figures(flops, timings, gflops)

    # 4. The table.
    on_gpu = model.device.type == "cuda"
    machine = torch.cuda.get_device_name(model.device) if on_gpu else f"{torch.get_num_threads()} CPU threads"
    dtype_name = str(model.dtype).removeprefix("torch.")
    title = f"{backbone}{' (random weights)' if random else ''}, {size} px, {dtype_name}"
    typer.echo(f"{title}; {machine}, torch {torch.__version__}")
    grid = f"{grid_hw[0]} x {grid_hw[1]} tokens"
    typer.echo(
        f"{grid}, a map of N x N: {map_mib:.1f} MiB; the teacher's tensors: at most {peaks['teacher'] / map_mib:.1f} of them"
    )
    for name, timing in rows.items():
        memory = f", {timing.peak_mib:.0f} MiB of the device" if timing.peak_mib is not None else ""
        typer.echo(f"  {name:44} {timing.milliseconds:9.1f} ms ({timing.fastest:.1f} to {timing.slowest:.1f}){memory}")
    shares = ", ".join(f"{name} {bound[f'{name}_share_of_bound']:.0%}" for name in timings)
    typer.echo(f"share of the bound, at {gflops:.0f} GFLOP/s: {shares}")
    if of_masks is not None:
        typer.echo(_about_masks(of_masks))
    if json_file is not None:
        figures = {
            "backbone": backbone,
            "random": random,
            "px": size,
            "dtype": dtype_name,
            "machine": machine,
            "torch": torch.__version__,
            "grid": list(grid_hw),
            "map_mib": round(map_mib, 2),
            "peak_in_maps": round(peaks["teacher"] / map_mib, 2),
            **_figures(timings, peaks),
            **bound,
            "rows": {name: asdict(timing) for name, timing in rows.items()},
            **(of_masks.figures if of_masks is not None else {}),
            **(of_metrics.figures if of_metrics is not None else {}),
        }
        with atomic_path(json_file) as path:
            path.write_text(json.dumps(figures, indent=2) + "\n")


def _figures(timings: Mapping[str, Timing], peaks: Mapping[str, float]) -> dict[str, float]:
    """For JSON, by fixed names: median ms and peak MiB of tensors of each, and how many times as fast as the plain teacher."""
    figures = {f"{name}_ms": round(timing.milliseconds, 1) for name, timing in timings.items()}
    figures |= {f"{name}_peak_mib": round(peak, 1) for name, peak in peaks.items()}
    if (plain := timings.get("teacher_plain")) is not None:
        for name in timings.keys() & {"teacher", "student"}:
            figures[f"{name}_speedup"] = round(plain.milliseconds / timings[name].milliseconds, 2)
    return figures


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
