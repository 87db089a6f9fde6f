"""Two nodes: instance edges, and instances.

As everywhere in ComfyUI, images are float32 (B, H, W, C) in [0, 1], and masks float32 (N, H, W) in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .models import model_names, predictor_of

KINDS = ["soft", "nms", "thin", "binary"]


class TracedgeEdges:
    """Instance edges of each image of a batch: white on black, and as masks."""

    CATEGORY = "tracedge"
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("edges", "mask")
    DESCRIPTION = "Contours of objects, also between touching objects of one kind, and not of texture."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (model_names(), {"tooltip": "mini ships with tracedge; others lie in models/tracedge"}),
                "kind": (
                    KINDS,
                    {"tooltip": "soft; nms: ridges alone; thin: lines a pixel wide; binary: black and white"},
                ),
            }
        }

    def run(self, image: torch.Tensor, model: str, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
        """edges (B, H, W, 3) and the same as masks (B, H, W)."""
        from tracedge.edges import as_kind

        found = predictor_of(model)(pictures(image))
        mask = torch.stack([torch.from_numpy(as_kind(one.edges, kind).copy()) for one in found])  # (B, H, W)
        return mask[..., None].expand(-1, -1, -1, 3).contiguous(), mask


class TracedgeInstances:
    """Instances of each image of a batch: a mask for each, and the images with them laid over."""

    CATEGORY = "tracedge"
    FUNCTION = "run"
    RETURN_TYPES = ("MASK", "IMAGE", "INT")
    RETURN_NAMES = ("masks", "overlay", "count")
    DESCRIPTION = (
        "Objects without labels. One mask for each, best first, those of all images of the batch one after the other."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (model_names(), {"tooltip": "mini ships with tracedge; others lie in models/tracedge"}),
                "min_score": ("FLOAT", {"default": 0.14, "min": 0.0, "max": 1.0, "step": 0.01}),
                "largest": (
                    "INT",
                    {"default": 0, "min": 0, "max": 1000, "tooltip": "keep so many of each image; 0: all"},
                ),
            }
        }

    def run(
        self, image: torch.Tensor, model: str, min_score: float, largest: int
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """masks (K, H, W) of all images, one empty mask where there is none; overlay (B, H, W, 3); K."""
        from tracedge.segmentation import Segmenter, SegmentSettings
        from tracedge.visualize import instances_overlay

        images = pictures(image)
        found = Segmenter(predictor_of(model), settings=SegmentSettings(min_score=min_score))(images)
        if largest:
            found = [one[np.sort(np.argsort(-one.areas, kind="stable")[:largest])] for one in found]
        overlays = [instances_overlay(picture, one) for picture, one in zip(images, found, strict=True)]
        masks = np.concatenate([one.masks for one in found]).astype(np.float32)
        count = len(masks)
        if not count:
            masks = np.zeros((1, *images[0].shape[:2]), np.float32)  # other nodes cannot take none
        return torch.from_numpy(masks), torch.from_numpy(np.stack(overlays).astype(np.float32) / 255), count


def pictures(image: torch.Tensor) -> list[np.ndarray]:
    """A batch (B, H, W, C) in [0, 1] as uint8 (H, W, 3) each; of four channels, the last is left out."""
    values = (image[..., :3].detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return [one.numpy() for one in values]


NODE_CLASS_MAPPINGS = {"TracedgeEdges": TracedgeEdges, "TracedgeInstances": TracedgeInstances}
NODE_DISPLAY_NAME_MAPPINGS = {"TracedgeEdges": "Instance Edges (tracedge)", "TracedgeInstances": "Instances (tracedge)"}
