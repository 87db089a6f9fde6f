"""From a label map to the true edges that edge maps are scored against."""

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError


def instance_boundaries(
    labels: NDArray[np.integer], ignore: NDArray[np.bool_] | None = None, void: int | None = None
) -> NDArray[np.bool_]:
    """The true edges of a label map: pixels that differ from their right or bottom neighbour.

    One-sided, so a border is one pixel wide, in steps where it is slanted (a two-sided border counts every edge twice
    and cannot be matched one to one). The frame of the image is never an edge. All labels are alike: 0 is a segment as
    any other unless ``void`` says otherwise.

    Args:
        labels: (H, W) integers.
        ignore: (H, W) bool: a border with an ignored pixel on either side is no truth.
        void: the label of pixels nobody labelled; a border with it is no truth either.

    Returns:
        (H, W) bool.

    Raises:
        DataError: labels that are not (H, W) integers, or an ignore map of another shape.

    >>> instance_boundaries(np.array([[1, 1, 2], [1, 1, 2]])).astype(int)
    array([[0, 1, 0],
           [0, 1, 0]])
    """
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels must be (H, W) integers, got {labels.dtype} {labels.shape}.")
    unknown = np.zeros(labels.shape, bool) if void is None else labels == void
    if ignore is not None:
        if ignore.shape != labels.shape:
            raise DataError(f"labels {labels.shape} and ignore {ignore.shape} must have one shape.")
        unknown = unknown | ignore.astype(bool)
    edges = np.zeros(labels.shape, bool)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        edges[here] |= (labels[here] != labels[there]) & ~unknown[here] & ~unknown[there]
    return edges
