"""The only place that draws: overlays, attention as colours, figures, and contact sheets of a run."""

from tracedge.visualize.attention import AttentionStep, attention_colours, attention_steps
from tracedge.visualize.figures import curves_picture, require_matplotlib, side_by_side
from tracedge.visualize.inspection import inspect_figure
from tracedge.visualize.overlays import (
    EDGE_COLOUR,
    instance_colours,
    instances_overlay,
    overlay,
    panoptic_overlay,
    semantic_overlay,
)

__all__ = [
    "EDGE_COLOUR",
    "AttentionStep",
    "attention_colours",
    "attention_steps",
    "curves_picture",
    "inspect_figure",
    "instance_colours",
    "instances_overlay",
    "overlay",
    "panoptic_overlay",
    "require_matplotlib",
    "semantic_overlay",
    "side_by_side",
]
