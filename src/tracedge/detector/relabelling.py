"""A round of self-training: what a detector is sure of becomes the label, and pseudo masks stay where it found nothing."""

from __future__ import annotations

import numpy as np

from tracedge.errors import DataError
from tracedge.instances import Instances, pairwise_iou
from tracedge.panoptic_map import PanopticMap, Segment


def relabelled(found: Instances, pseudo: Instances, *, alike: float = 0.5) -> Instances:
    """Instances that were found, and pseudo masks that are like none of them (as CutLER trains itself; Wang et al. 2023).

    Args:
        found: what a detector is sure of. pseudo: what it learnt from, of the same image.
        alike: pseudo masks with a larger intersection over union with one that was found are left out.

    Raises:
        DataError: of images of two sizes.
    """
    if found.shape != pseudo.shape:
        raise DataError(f"instances are of {found.shape}, pseudo masks of {pseudo.shape}: they must be of one image.")
    if not len(found):
        return Instances(pseudo.masks, pseudo.scores)
    new = pairwise_iou(pseudo.masks, found.masks).max(axis=1, initial=0) <= alike
    return Instances.merge([Instances(found.masks, found.scores), Instances(pseudo.masks[new], pseudo.scores[new])])


def relabelled_panoptic(found: PanopticMap, pseudo: PanopticMap, *, visible: float = 0.5) -> PanopticMap:
    """The segments that were found, and pseudo segments where nothing was.

    visible: of pseudo segments, those of which a smaller share lies outside of what was found are left out; those of a class of
    stuff that was found join it.

    Raises:
        DataError: of images of two sizes.
    """
    if found.shape != pseudo.shape:
        raise DataError(f"segments are of {found.shape}, pseudo segments of {pseudo.shape}: they must be of one image.")
    ids, segments = found.ids.copy(), [Segment(s.id, s.category_id, s.isthing, s.score) for s in found.segments]
    of_stuff = {segment.category_id: segment.id for segment in segments if not segment.isthing}
    free = found.ids == 0
    for segment in pseudo.segments:
        mask = pseudo.ids == segment.id
        left = mask & free
        known = None if segment.isthing else of_stuff.get(segment.category_id)
        if known is not None:
            ids[left] = known
        elif left.any() and left.sum() >= visible * mask.sum() and not segment.iscrowd:
            number = max((one.id for one in segments), default=0) + 1
            segments.append(Segment(number, segment.category_id, segment.isthing, segment.score))
            ids[left] = number
    return PanopticMap(np.ascontiguousarray(ids), tuple(segments))
