"""How long the metrics take: edge scores of Sobel's edges, and instance scores of rough masks, on one drawn scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tracedge.evaluation.mask_timing import drawn_scene, rough_masks
from tracedge.evaluation.memory import peak_bytes
from tracedge.evaluation.timing import Timing, timed
from tracedge.instances import Instances
from tracedge.metrics.edges import STANDARD, score_image
from tracedge.metrics.instance_boundaries import instance_boundaries
from tracedge.metrics.instances import InstanceScores, score_instances
from tracedge.rivals.edges import sobel_edges


@dataclass(frozen=True)
class MetricTimings:
    """rows: name -> `Timing`, as the table shows them. figures: the same by the keys of the JSON."""

    rows: dict[str, Timing]
    figures: dict[str, float]


def time_metrics(repeats: int, image_hw: tuple[int, int]) -> MetricTimings:
    """Both on the CPU, in this process.

    Sobel's edges are soft and thick: no two cuts are equal, so all of them are thinned and matched, as a student's are.

    Args:
        repeats: timed runs of each, after one to warm up. image_hw: of the scene, in pixels.
    """
    image, labels = drawn_scene(image_hw)
    edges, borders = sobel_edges(image), instance_boundaries(labels)
    objects = Instances(np.stack([labels == number for number in np.unique(labels[labels > 0])]))
    masks = rough_masks(image_hw)[1]

    def of_instances() -> object:
        scores = InstanceScores()
        scores.add(score_instances(objects, masks))
        return scores.compute()

    cpu = torch.device("cpu")
    for_edges = timed(lambda: score_image(edges, borders), cpu, repeats)
    for_instances = timed(of_instances, cpu, repeats)
    figures = {
        "edge_metrics_ms": round(for_edges.milliseconds, 1),
        "edge_metrics_peak_mib": round(peak_bytes(lambda: score_image(edges, borders)) / 2**20, 1),
        "instance_metrics_ms": round(for_instances.milliseconds, 1),
    }
    shown = {
        f"edge metrics of {image_hw[0]} x {image_hw[1]}, {STANDARD.thresholds} cuts": for_edges,
        f"instance metrics, {len(masks)} masks of {len(objects)} objects": for_instances,
    }
    return MetricTimings(shown, figures)
