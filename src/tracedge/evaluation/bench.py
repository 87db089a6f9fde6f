"""How long a model takes on a drawn scene, and how much memory: what `tracedge bench` prints, and the figures of its JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from tracedge.attention import fused_attention
from tracedge.datasets.scenes import UNSEEN_SEED, draw_scene
from tracedge.divergence import attention_boundary_divergence
from tracedge.evaluation.bound import bound_figures, forward_flops, time_matmul
from tracedge.evaluation.mask_timing import IMAGE_HW, TOKENS_HW, MaskTimings, time_masks
from tracedge.evaluation.memory import peak_tensor_bytes
from tracedge.evaluation.metric_timing import time_metrics
from tracedge.evaluation.timing import Timing, plain_teacher, timed
from tracedge.fit import Fit
from tracedge.student.predictor import EdgePredictor
from tracedge.teacher import EdgeTeacher


class Scene:
    """A drawn scene of the size that a teacher's model sees, and what is timed on it.

    image: uint8 (px, px, 3). latents: of it, encoded when they are asked for first. noise: one draw of their shape.
    """

    def __init__(self, teacher: EdgeTeacher) -> None:
        self.teacher, self.image = teacher, draw_scene(UNSEEN_SEED, teacher.size).image
        self._pixels = torch.from_numpy(self.image).permute(2, 0, 1)[None] / 255  # (1, 3, px, px)
        self._fit = Fit((teacher.size, teacher.size), teacher.size, teacher.backbone.multiple_of)

    @cached_property
    def latents(self) -> torch.Tensor:
        return self.encoded()

    @cached_property
    def noise(self) -> torch.Tensor:
        return torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(0)).to(self.latents)

    @torch.no_grad()
    def encoded(self) -> torch.Tensor:
        """What the model makes of the pixels."""
        return self.teacher.backbone.encode(self._fit.apply(self._pixels))

    def plain(self) -> object:
        """The teacher as it is written, from the pixels on."""
        return plain_teacher(self.teacher.backbone, self.encoded(), self.noise, self.teacher.settings.stride)

    def step(self) -> object:
        """One forward of the teacher at t = 0 and its divergence, from the latents on."""
        attention, grid_hw = fused_attention(self.teacher.backbone, self.latents, torch.zeros(1))
        return attention_boundary_divergence(attention, grid_hw)

    def denoised(self) -> object:
        """One forward of the model alone."""
        return self.teacher.backbone.denoise(self.latents, torch.zeros(1))


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    figures: all of it, rounded, by the keys of the JSON. rows: name -> `Timing`, in the order of the table. map_mib: of one map
    N x N. in_maps: the teacher's tensors at their peak, in such maps. gflops: of a large matrix product, 10^9 a second.
    shares: of the bound, by name. masks: None where they were left out.
    """

    figures: dict[str, Any]
    rows: dict[str, Timing]
    map_mib: float
    in_maps: float
    gflops: float
    shares: dict[str, float]
    masks: MaskTimings | None


def measure_model(
    teacher: EdgeTeacher,
    student: EdgePredictor | None = None,
    *,
    repeats: int = 5,
    plain: bool = True,
    masks: bool = True,
    metrics: bool = True,
) -> Benchmark:
    """Time the student, a step of the teacher, the teacher, BGP, MaskCut's cuts and the metrics on drawn scenes.

    Args:
        teacher: its model, size and stride are what is timed. student: of the same model; None: there is none.
        repeats: timed runs of each, after one to warm up. plain, masks, metrics: whether these are timed as well.
    """
    # 1. One model, one picture at its size, one noise.
    model, stride = teacher.backbone, teacher.settings.stride
    scene = Scene(teacher)
    attention, grid_hw = fused_attention(model, scene.latents, torch.zeros(1))
    map_mib = attention.numel() * 4 / 2**20
    del attention

    # 2. Each on its own; the rows are in the order of the table.
    forwards = max(1, len(teacher(scene.image).timesteps))
    computations: dict[str, tuple[str, Callable[[], object]]] = {}
    if plain:
        computations["teacher_plain"] = "plain teacher (argmax, per-head maps kept)", scene.plain
    computations["teacher"] = f"teacher, {forwards} forwards", lambda: teacher(scene.image)
    computations["step"] = "one step of the teacher", scene.step
    if student is not None:
        computations["student"] = "student, one forward", lambda: student(scene.image)
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
    encoding, denoising = forward_flops(scene.encoded), forward_flops(scene.denoised)
    counts = {"teacher_plain": len(model.process.timesteps(stride)), "teacher": forwards, "step": 1, "student": 1}
    flops = {name: count * denoising + (encoding if name != "step" else 0) for name, count in counts.items()}
    bound = bound_figures(flops, timings, gflops)

    # 4. All of it by the keys of the JSON.
    on_gpu, in_maps = model.device.type == "cuda", peaks["teacher"] / map_mib
    figures = {
        "px": teacher.size,
        "dtype": str(model.dtype).removeprefix("torch."),
        "machine": torch.cuda.get_device_name(model.device) if on_gpu else f"{torch.get_num_threads()} CPU threads",
        "torch": torch.__version__,
        "grid": list(grid_hw),
        "map_mib": round(map_mib, 2),
        "peak_in_maps": round(in_maps, 2),
        **_figures(timings, peaks),
        **bound,
        "rows": {name: asdict(timing) for name, timing in rows.items()},
        **(of_masks.figures if of_masks is not None else {}),
        **(of_metrics.figures if of_metrics is not None else {}),
    }
    shares = {name: bound[f"{name}_share_of_bound"] for name in timings}
    return Benchmark(figures, rows, map_mib, in_maps, gflops, shares, of_masks)


def _figures(timings: Mapping[str, Timing], peaks: Mapping[str, float]) -> dict[str, float]:
    """By fixed names: median ms and peak MiB of tensors of each, and how many times as fast as the plain teacher."""
    figures = {f"{name}_ms": round(timing.milliseconds, 1) for name, timing in timings.items()}
    figures |= {f"{name}_peak_mib": round(peak, 1) for name, peak in peaks.items()}
    if (plain := timings.get("teacher_plain")) is not None:
        for name in [name for name in ("teacher", "student") if name in timings]:
            figures[f"{name}_speedup"] = round(plain.milliseconds / timings[name].milliseconds, 2)
    return figures
