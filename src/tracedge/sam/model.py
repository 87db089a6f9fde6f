"""SAM and SAM 2 with one face: a picture is encoded once, then asked as often as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.backbones.loading import Place
from tracedge.backbones.vision.files import VisionFiles
from tracedge.backbones.vision.pixels import IMAGENET, pixels_of
from tracedge.backbones.vision.weights import load_network
from tracedge.sam import MODEL_TYPES
from tracedge.sam.frame import Frame
from tracedge.sam.prompts import Prompts

AT_ONCE = 16
"""Prompts in a batch, at most: at SAM's own size each takes 8 MiB in the decoder's largest tensor."""


@dataclass(frozen=True)
class Answer:
    """What SAM makes of one prompt: M masks, since a point can mean a part, an object or a whole.

    ious: float64 (M,), how well it expects each to fit. logits: number of a mask -> float32 (H, W), above 0 inside; made when
    asked for, so that large pictures never stand in memory several times.
    """

    ious: NDArray[np.float64]
    logits: Callable[[int], NDArray[np.float32]]


Ask: TypeAlias = Callable[[Prompts], Iterator[Answer]]
"""One answer for each of K prompts for a picture that was looked at, in order."""


class PromptedModel(Protocol):
    """`Sam`, or whatever answers to prompts. confident: the predicted IoU above which its automatic masks were published."""

    @property
    def provenance(self) -> dict[str, Any]: ...
    @property
    def confident(self) -> float: ...
    def look(self, image: NDArray[np.uint8], /) -> Ask: ...


class Sam:
    """SAM or SAM 2 of transformers. `load_sam` makes it.

    px: side of the square that it sees. second: whether it is SAM 2. pixels: what it is given for a pixel.
    """

    def __init__(self, network: Any, files: VisionFiles) -> None:
        self.network = network.eval().requires_grad_(False)
        self.second = files.model_type != "sam"
        self.confident = 0.8 if self.second else 0.88
        self.pixels = pixels_of(files.processing, files.source, IMAGENET)
        config = network.config.prompt_encoder_config
        self.px = int(config.image_size)
        self._mask_side = 4 * self.px // int(config.patch_size)
        self.provenance: dict[str, Any] = files.settings | {"pixels": self.pixels.settings, "px": self.px}

    @torch.no_grad()
    def look(self, image: NDArray[np.uint8]) -> Ask:
        """Encode a picture, uint8 (H, W, 3); what comes back answers prompts for it."""
        frame = Frame((image.shape[0], image.shape[1]), self.px, self.second)
        pixels = frame.pixels(image, self.pixels).to(self.network.device, self.network.dtype)
        return partial(self._answers, frame, self.network.get_image_embeddings(pixels))

    def _answers(self, frame: Frame, seen: Tensor | list[Tensor], prompts: Prompts) -> Iterator[Answer]:
        for batch in prompts.batches(AT_ONCE):
            ious, logits = self._decode(frame, seen, batch)
            for number in range(len(ious)):
                yield Answer(ious[number].double().cpu().numpy(), partial(_enlarged, frame, logits[number]))

    @torch.no_grad()
    def _decode(self, frame: Frame, seen: Tensor | list[Tensor], prompts: Prompts) -> tuple[Tensor, Tensor]:
        """(K, M) predicted IoUs and (K, M, h, w) logits of the whole square. The batch is of pictures, not of prompts for one:
        only so can each prompt have a mask of its own."""
        count, device = len(prompts), self.network.device
        given: dict[str, Tensor] = {}
        if prompts.points is not None:
            assert prompts.labels is not None
            given["input_points"] = frame.coordinates(prompts.points)[:, None].to(device)  # (K, 1, P, 2)
            given["input_labels"] = torch.from_numpy(prompts.labels.astype(np.int64))[:, None].to(device)
        if prompts.boxes is not None:
            corners = frame.coordinates(prompts.boxes.reshape(count, 2, 2))
            given["input_boxes"] = corners.reshape(count, 1, 4).to(device)
        if prompts.masks is not None:
            given["input_masks"] = frame.logits_of(prompts.masks, self._mask_side).to(device, self.network.dtype)
        maps = [level.expand(count, -1, -1, -1) for level in (seen if isinstance(seen, list) else [seen])]
        found = self.network(image_embeddings=maps if isinstance(seen, list) else maps[0], **given)
        return found.iou_scores[:, 0], found.pred_masks[:, 0]


def open_sam(files: VisionFiles, where: Place) -> Sam:
    """The network of files that `tracedge.sam.sam_files` found.

    Raises:
        BackboneError: it cannot be loaded, or its weights do not fit its config.
    """
    network = load_network(MODEL_TYPES[str(files.model_type)], files, "SAM", dtype=where.dtype)
    return Sam(network.to(where.device), files)


def _enlarged(frame: Frame, logits: Tensor, number: int) -> NDArray[np.float32]:
    return frame.enlarged(logits[number])
