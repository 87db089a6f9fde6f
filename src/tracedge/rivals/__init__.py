"""What instance edges and masks are compared with; importing this loads no torch.

Sobel, Canny and folders of other detectors' edges (`edges`); DiffSeg and DiffCut on any backbone of ours (`zero_shot`).
"""

from __future__ import annotations

from tracedge.rivals.edges import CANNY_LEVELS, FolderOfEdges, canny_edges, sobel_edges

ZERO_SHOT = ("diffseg", "diffcut")
"""Segmentation without labels or training from the same networks: names that `tracedge.rivals.zero_shot` makes."""

__all__ = ["CANNY_LEVELS", "ZERO_SHOT", "FolderOfEdges", "canny_edges", "sobel_edges"]
