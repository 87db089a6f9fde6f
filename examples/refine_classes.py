"""What refinement does to classes that are coarse and partly wrong: mIoU and PQ before and after.

python examples/refine_classes.py DATA [LIMIT]

DATA has panoptic truth (`tracedge scenes --panoptic` draws some). Stand-ins for image-text similarity are made of the truth: the
share of each class in cells of 16 x 16 pixels, and in 30 % of the cells noise instead (flat Dirichlet, seed: the image's number).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import tracedge
from tracedge.crf import refine_scores
from tracedge.datasets.layouts import open_dataset
from tracedge.evaluation.panoptic_methods import true_semantics
from tracedge.evaluation.panoptic_sets import panoptic_set
from tracedge.metrics.panoptic import PanopticScores
from tracedge.metrics.semantic import count_pixels, semantic_scores
from tracedge.panoptic import panoptic_map
from tracedge.semantic_map import SemanticMap
from tracedge.semantics.refine import CRF, walked_on_pixels
from tracedge.walk import max_pooled, walk

CELL, WRONG = 16, 0.3


def stand_in(classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Category ids (K,) and scores (K, H, W) of a map (H, W) of true classes."""
    present = np.unique(classes[classes >= 0])
    rng = np.random.default_rng(seed)
    inside = torch.from_numpy((classes == present[:, None, None]).astype(np.float32))[None]
    grid_hw = [-(-side // CELL) for side in classes.shape]
    shares = F.adaptive_avg_pool2d(inside, grid_hw)[0].numpy()
    total = shares.sum(axis=0)
    shares = np.where(total > 0, shares / np.maximum(total, 1e-9), 1 / len(present))  # nobody knows: all alike
    noise = rng.dirichlet(np.ones(len(present)), size=grid_hw).transpose(2, 0, 1)
    coarse = np.where(rng.random(grid_hw) < WRONG, noise, shares).astype(np.float32)
    return present, enlarged(coarse, classes.shape)


def enlarged(scores: np.ndarray, image_hw: tuple[int, ...]) -> np.ndarray:
    return F.interpolate(torch.from_numpy(scores)[None], image_hw, mode="bilinear")[0].numpy()


def inside_edges(edges: np.ndarray, scores: np.ndarray, steps: int) -> np.ndarray:
    """The walk of BGP in cells of 4 x 4 pixels, for soft scores."""
    pooled = max_pooled(edges, 4)
    cells = F.adaptive_avg_pool2d(torch.from_numpy(scores)[None], pooled.shape)[0].numpy()
    return enlarged(walk(pooled, cells, steps=steps), scores.shape[1:])


def ways(
    image: np.ndarray, edges: np.ndarray, scores: np.ndarray, teacher: tracedge.EdgeTeacher
) -> Iterator[tuple[str, np.ndarray]]:
    """(row of the table, scores)."""
    yield "as they are (k = 0)", scores
    look = teacher.look(image)
    for sharpness in (1, 2):
        for steps in (1, 2, 4, 8):
            yield f"attention, sharpness {sharpness}, k = {steps}", walked_on_pixels(look, scores, steps, sharpness)
    yield "walk inside our edges, 16 steps", inside_edges(edges, scores, 16)
    yield "CRF", refine_scores(image, scores, CRF)
    for steps in (1, 2, 4):
        refined = walked_on_pixels(look, scores, steps, 2)
        yield f"attention, sharpness 2, k = {steps}, then CRF", refine_scores(image, refined, CRF)


def main(data: Path, limit: int | None) -> None:
    labelled = panoptic_set(open_dataset(data).panoptic())
    teacher, student = tracedge.EdgeTeacher("mini"), tracedge.EdgePredictor.from_pretrained("mini")
    pixels: dict[str, list] = {}
    quality: dict[str, tuple[PanopticScores, PanopticScores]] = {}
    for number, sample in enumerate(labelled.read(labelled.names[:limit])):
        truth = true_semantics(sample).classes
        present, scores = stand_in(truth, number)
        edges = student(sample.image).edges
        for name, refined in ways(sample.image, edges, scores, teacher):
            found = SemanticMap.from_scores(refined, present)
            pixels.setdefault(name, []).append(count_pixels(found.classes, truth))
            pair = quality.setdefault(name, tuple(PanopticScores(labelled.categories) for _ in range(2)))
            for counted, cut in zip(pair, (None, edges), strict=True):
                counted.update(panoptic_map(found, cut, labelled.categories), sample.truth)
    print(f"| {data.name} ({len(labelled.names[:limit])}) | mIoU | PQ, components | PQ, cut by our edges |")
    print("| --- | ---: | ---: | ---: |")
    for name, counted in pixels.items():
        values = [semantic_scores(counted).miou, *(each.compute().all.pq for each in quality[name])]
        print(f"| {name} | {' | '.join(f'{100 * (value or 0):.1f}' for value in values)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
