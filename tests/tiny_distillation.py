"""A distillation of seconds: its config, its model, and labels of squares."""

import json

import numpy as np

from tracedge.backbones import load_backbone
from tracedge.export.png import write_png8, write_png16
from tracedge.student.pseudo_labels import PseudoLabels
from tracedge.student.training import DistillConfig

TINY = DistillConfig(px=16, rank=2, width=8, steps=6, batch=2, warmup=2, seed=1)


def mini():
    return load_backbone("mini", device="cpu")


def square_labels(folder):
    """Squares of one colour, with their outlines as the teacher's edges, in a folder that is there."""
    rng = np.random.default_rng(0)
    for number in range(4):
        image = np.full((40, 48, 3), rng.integers(0, 100, 3), np.uint8)
        image[10:30, 12:36] = rng.integers(150, 256, 3)
        edges = np.zeros((40, 48), np.float32)
        edges[[10, 30], 12:36] = edges[10:31, [[12], [36]]] = 0.9
        write_png8(folder / f"{number}.image.png", image)
        write_png16(folder / f"{number}.edges.png", edges)
    provenance = {"predictor": "teacher", "taught_px": 48, "size": 24, "backbone": mini().settings}
    (folder / "settings.json").write_text(json.dumps(provenance))
    return [PseudoLabels(folder)]
