"""Stand-ins for SAM whose answers are known, and a scene on which they are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.ndimage import label

from tracedge.instances import Instances
from tracedge.sam.model import Answer
from tracedge.sam.prompts import WITHIN, Prompts

HW = (60, 90)


def scene():
    """Objects of one colour each on grey ground: (photo, instances); two of them touch."""
    labels = np.zeros(HW, int)
    labels[5:30, 5:25] = 1
    labels[5:30, 25:50] = 2
    labels[35:55, 10:60] = 3
    rows, columns = np.indices(HW)
    labels[(rows - 25) ** 2 + (columns - 70) ** 2 < 150] = 4
    colours = np.array([[90, 90, 90], [250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]], np.uint8)
    return colours[labels], Instances.from_labels(labels, [0.9, 0.8, 0.7, 0.6])


class OneColour:
    """A stand-in for SAM that knows what it sees: the connected region of one colour on which a point lies.

    Without points it is the region that covers most of the box, or of the mask. Its three masks are a part (the upper half), the
    region, and one that is everything but unstable. It is sure of regions, except of the one in the first corner: the ground.
    """

    provenance = {"name": "one colour"}  # noqa: RUF012
    confident = 0.88

    def __init__(self) -> None:
        self.looks = 0

    def look(self, image: np.ndarray) -> Any:
        self.looks += 1
        colours = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)[1].reshape(image.shape[:2])
        regions = np.zeros(colours.shape, int)
        for colour in range(colours.max() + 1):
            pieces, _ = label(colours == colour)
            regions[pieces > 0] = pieces[pieces > 0] + regions.max()
        return lambda prompts: self._answers(regions, prompts)

    def _answers(self, regions: np.ndarray, prompts: Prompts) -> Iterator[Answer]:
        for number in range(len(prompts)):
            wanted = self._wanted(regions, prompts[number : number + 1])
            region = regions == wanted
            part = region & (np.arange(len(regions)) < np.flatnonzero(region.any(axis=1)).mean())[:, None]
            hard = [np.where(mask, 9.0, -9.0).astype(np.float32) for mask in (part, region)]
            soft = np.where(part, 2.0, np.where(region, 0.5, -0.5)).astype(np.float32)
            yield Answer(
                np.array([0.4, 0.3 if wanted == regions[0, 0] else 0.97, 0.9]), lambda m, all=(*hard, soft): all[m]
            )

    def _wanted(self, regions: np.ndarray, prompt: Prompts) -> int:
        if prompt.points is not None:
            (x, y), said = prompt.points[0, 0], prompt.labels[0, 0]
            assert said == WITHIN
            return int(regions[int(y), int(x)])
        if prompt.boxes is not None:
            left, top, right, bottom = prompt.boxes[0].astype(int)
            return int(np.bincount(regions[top : bottom + 1, left : right + 1].ravel()).argmax())
        return int(np.bincount(regions[prompt.masks[0]]).argmax())


class Fixed:
    """Answers every prompt alike."""

    provenance, confident = {"name": "fixed"}, 0.5

    def __init__(self, masks, ious):
        self.answer = Answer(np.array(ious), lambda m: np.where(masks[m], 9, -9).astype(np.float32))

    def look(self, image):
        return lambda prompts: iter([self.answer] * len(prompts))
