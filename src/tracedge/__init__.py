"""tracedge: instance edges read out of the self-attention of diffusion models, with no labels.

>>> import tracedge
>>> edges = tracedge.EdgeTeacher("mini")("photo.jpg")  # doctest: +SKIP

Importing this loads no torch: each public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracedge.backbones import load_backbone
    from tracedge.detector.detector import Detector
    from tracedge.detector.inference import DetectSettings
    from tracedge.errors import TracedgeError
    from tracedge.images import load_image
    from tracedge.instances import Instances
    from tracedge.maps import EdgeMap
    from tracedge.panoptic_map import PanopticMap, Segment
    from tracedge.sam.automatic import SamAutomatic
    from tracedge.sam.seeds import SamSeeds
    from tracedge.segmentation import Segmenter, segment
    from tracedge.student.predictor import EdgePredictor
    from tracedge.teacher import EdgeTeacher, TeacherSettings
    from tracedge.vision_edges import VisionEdges, VisionSettings

__version__ = "0.1.0"
__all__ = [
    "DetectSettings",
    "Detector",
    "EdgeMap",
    "EdgePredictor",
    "EdgeTeacher",
    "Instances",
    "PanopticMap",
    "SamAutomatic",
    "SamSeeds",
    "Segment",
    "Segmenter",
    "TeacherSettings",
    "TracedgeError",
    "VisionEdges",
    "VisionSettings",
    "load_backbone",
    "load_image",
    "segment",
]

_HOMES = {
    "DetectSettings": "tracedge.detector.inference",
    "Detector": "tracedge.detector.detector",
    "EdgeMap": "tracedge.maps",
    "EdgePredictor": "tracedge.student.predictor",
    "EdgeTeacher": "tracedge.teacher",
    "Instances": "tracedge.instances",
    "PanopticMap": "tracedge.panoptic_map",
    "SamAutomatic": "tracedge.sam.automatic",
    "SamSeeds": "tracedge.sam.seeds",
    "Segment": "tracedge.panoptic_map",
    "Segmenter": "tracedge.segmentation",
    "TeacherSettings": "tracedge.teacher",
    "TracedgeError": "tracedge.errors",
    "VisionEdges": "tracedge.vision_edges",
    "VisionSettings": "tracedge.vision_edges",
    "load_backbone": "tracedge.backbones",
    "load_image": "tracedge.images",
    "segment": "tracedge.segmentation",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tracedge' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
