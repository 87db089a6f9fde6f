"""Detector: a photo in, instances or a panoptic map out, by a Mask2Former trained on pseudo masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray

from tracedge.backbones.loading import place
from tracedge.batching import predict_by_size
from tracedge.detector.files import DetectorCard, read_detector
from tracedge.detector.inference import DetectSettings, Queries, instances_of, panoptic_of
from tracedge.detector.network import Mask2Former
from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.images import ImageSource, load_image
from tracedge.instances import Instances
from tracedge.panoptic_map import PanopticMap

Found = TypeVar("Found", Instances, PanopticMap)
_MULTIPLE = 32  # of the coarsest features


class Detector:
    """Instances of photos, or panoptic maps. Made by `Detector.from_pretrained`."""

    def __init__(self, model: Mask2Former, card: DetectorCard, settings: DetectSettings | None = None) -> None:
        model.network.eval().requires_grad_(False)
        self.model, self.card, self.settings = model, card, settings or DetectSettings()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        settings: DetectSettings | None = None,
        device: str | None = None,
        local_files_only: bool = False,
    ) -> Detector:
        """Load a detector.

        Args:
            name: a folder that `tracedge detect train` wrote; or a folder or hub id of any Mask2Former of transformers whose
                classes are COCO's, such as facebook/mask2former-swin-tiny-coco-panoptic.
            settings: which queries become masks.
            device: None takes the accelerator of this machine, or else the CPU.
            local_files_only: never ask the network.

        Raises:
            CheckpointError: it is no detector.
            SettingsError, GatedModelError, BackboneError: an unknown device, or files that are missing or do not fit.
        """
        where = place(device)
        model, card = read_detector(name, local_files_only=local_files_only)
        model.network.to(where.device)
        return cls(model, card, settings)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    @property
    def provenance(self) -> dict[str, Any]:
        """What its masks depend on, of JSON's types."""
        return {"detector": self.model.settings, "px": self.card.px, "detect": asdict(self.settings)}

    @overload
    def __call__(self, images: ImageSource) -> Instances: ...
    @overload
    def __call__(self, images: list[Any]) -> list[Instances]: ...
    def __call__(self, images: ImageSource | list[Any]) -> Instances | list[Instances]:
        """Instances of an image (path, PIL image or array), or of each of a list; of a panoptic detector its things."""
        return self._of(images, lambda queries: instances_of(queries, self.card.categories, self.settings))

    @overload
    def panoptic(self, images: ImageSource) -> PanopticMap: ...
    @overload
    def panoptic(self, images: list[Any]) -> list[PanopticMap]: ...
    def panoptic(self, images: ImageSource | list[Any]) -> PanopticMap | list[PanopticMap]:
        """Things and stuff of an image, or of each of a list.

        Raises:
            SettingsError: the detector was trained on instances of any class.
        """
        self.refuse_without_stuff()
        return self._of(images, lambda queries: panoptic_of(queries, self.card.categories, self.settings))

    def refuse_without_stuff(self) -> None:
        """A detector that was trained on instances makes no panoptic maps.

        Raises:
            SettingsError: it is one.
        """
        if not self.card.panoptic:
            raise SettingsError("this detector was trained on instances, and knows no stuff: ask it for instances.")

    def _of(self, images: ImageSource | list[Any], finish: Callable[[Queries], Found]) -> Any:
        if not isinstance(images, list):
            return self._of([images], finish)[0]
        return predict_by_size(
            lambda batch: [finish(one) for one in self._queries(batch)], [load_image(image) for image in images]
        )

    @torch.inference_mode()
    def _queries(self, images: list[NDArray[np.uint8]]) -> list[Queries]:
        """Images of one size, (H, W, 3) uint8 each."""
        height, width = images[0].shape[:2]
        fit = Fit((height, width), self.card.px, _MULTIPLE)
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255  # (B, 3, H, W)
        classes, masks = (part.cpu() for part in self.model(fit.apply(pixels)))
        return [Queries(one, mask, fit.undo, (height, width)) for one, mask in zip(classes, masks, strict=True)]
