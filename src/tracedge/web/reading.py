"""From a photo to all that the page shows of it: edges, objects, what edges do to other masks, and how the step is chosen."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracedge.emergence import EmergenceTracker
from tracedge.errors import SettingsError
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.propagation import PropagationSettings
from tracedge.proposals.features import BackboneFeatures
from tracedge.proposals.from_edges import FromEdgesSettings
from tracedge.proposals.from_features import propose
from tracedge.segmentation import SegmentSettings, segment
from tracedge.settings import check_types
from tracedge.student.predictor import EdgePredictor
from tracedge.teacher import EdgeTeacher
from tracedge.visualize import attention_colours
from tracedge.walk import walk_device

RGB = NDArray[np.uint8]
Report = Callable[[float, str], None]
"""Told of progress: how much is done, in [0, 1], and what is being done."""

DEFAULTS = SegmentSettings()
ZOOMS = (1, 2, 3)


@dataclass(frozen=True)
class Controls:
    """What a visitor may turn.

    strength: how strong, in [0, 1], the edge around an object must be at least. smallest: share of the photo that an object
    covers at least. zoom: above 1 the photo is also read in tiles, at so many times the size; the only one that needs the
    model anew.
    The defaults are those of `tracedge segment`.

    Raises:
        SettingsError: a value outside of the above.
    """

    strength: float = DEFAULTS.from_edges.min_contrast
    smallest: float = DEFAULTS.from_edges.min_area
    zoom: int = 1

    def __post_init__(self) -> None:
        check_types(self)
        if not (0.01 <= self.strength <= 1 and 0 <= self.smallest <= 0.5 and self.zoom in ZOOMS):
            raise SettingsError(
                f"the page takes a strength from 0.01 to 1, a smallest object from 0 to 0.5 and zooms {ZOOMS}, got {self}"
            )

    @property
    def of_masks(self) -> tuple[float, float]:
        """Those that need no model."""
        return self.strength, self.smallest

    def settings(self, image_hw: tuple[int, int]) -> SegmentSettings:
        """For masks of an image (H, W). Scores lie below the strength, so the least score moves with it."""
        return SegmentSettings(
            min_score=min(1.0, DEFAULTS.min_score * self.strength / DEFAULTS.from_edges.min_contrast),
            from_edges=FromEdgesSettings(min_area=self.smallest, min_contrast=self.strength),
            propagation=PropagationSettings(
                level=self.strength, min_area=round(self.smallest * image_hw[0] * image_hw[1])
            ),
        )


@dataclass(frozen=True, eq=False)
class Steps:
    """How the step is chosen: the curve of `tracedge.emergence.Emergence`, and attention as colours at each timestep.

    colours: a picture (H, W, 3) for each of the timesteps.
    """

    timesteps: tuple[float, ...]
    divergences: tuple[float, ...]
    chosen: float
    margin: float
    colours: tuple[RGB, ...]


class Reader:
    """The model of the page. One at a time may use it.

    Args:
        predictor: what makes the edges, a student or a teacher.
        teacher: of the same model, for the curve and for what MaskCut groups; a student's own weights will not do, since its
            adapters are merged into them. Its settings are those of the curve.
    """

    def __init__(self, predictor: EdgePredictor | EdgeTeacher, teacher: EdgeTeacher) -> None:
        self.predictor = predictor
        self.teacher = EdgeTeacher(
            teacher.backbone, settings=replace(teacher.settings, early_stop=False, timestep=None)
        )
        self._features = BackboneFeatures(teacher.backbone, px=teacher.settings.size)
        self._device = walk_device(predictor.device)

    def edges(self, image: RGB, zoom: int = 1) -> EdgeMap:
        """Edges of a photo (H, W, 3), as `tracedge edges --zoom` gives them."""
        found: EdgeMap = at_zoom(self.predictor, zoom)(image)
        return found

    def groups(self, image: RGB) -> Instances:
        """What looks alike in a photo, by MaskCut: masks that know of no edge, so that touching objects are one."""
        return propose(image, self._features)

    def steps(self, image: RGB, picture_hw: tuple[int, int], report: Report | None = None) -> Steps:
        """The whole curve of a photo, and pictures (H, W, 3) of the attention at each of its timesteps."""
        # 1. Colours as the walk comes by, since the maps are too large to be kept.
        settings = self.teacher.settings
        tracker, colours = EmergenceTracker(settings.rule, settings.measure), []
        every = self.teacher.backbone.process.timesteps(settings.stride).tolist()
        for timestep, attention, grid_hw in self.teacher.curve_maps(image):
            tracker.update(timestep, attention[None], grid_hw)
            colours.append(attention_colours(attention, grid_hw, picture_hw))
            if report is not None:
                report(len(colours) / len(every), f"Attention at noise level {timestep:g}")
        # 2. The choice.
        (point,), _, _ = tracker.finish()
        return Steps(point.timesteps, point.divergences, point.timestep, point.margin, tuple(colours))

    def objects(self, edges: EdgeMap, controls: Controls) -> Instances:
        """Objects straight from edges. Needs no model."""
        return segment(edges, settings=controls.settings(edges.shape), device=self._device)

    def refined(self, edges: EdgeMap, groups: Instances, controls: Controls) -> Instances:
        """The groups, cut, grown and merged by the edges (BGP). Needs no model."""
        return segment(edges, groups, controls.settings(edges.shape), device=self._device)


def at_zoom(predictor: EdgePredictor | EdgeTeacher, zoom: int) -> EdgePredictor | EdgeTeacher:
    """The same predictor, on the same weights, at another zoom."""
    if isinstance(predictor, EdgeTeacher):
        return EdgeTeacher(predictor.backbone, settings=replace(predictor.settings, zoom=zoom))
    other = copy(predictor)
    other.zoom = zoom
    return other
