"""VisionEdges: a photo in, edges out, by ABDiv on the self-attention of a vision transformer that is no diffusion model.

The paper's comparison (4, backbones): such a model has no timesteps, so there is no emergence point, and it is seen once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.attention import BlockCall, FusedAttention, record_attention
from tracedge.backbones.protocol import VisionSource
from tracedge.backbones.vision import load_vision
from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.from_attention import Look, Reading, read_edges
from tracedge.images import ImageSource, load_image
from tracedge.maps import EdgeMap
from tracedge.settings import given

Image = NDArray[Any]


@dataclass(frozen=True)
class VisionSettings:
    """What the edges depend on, besides the model and the picture.

    blocks: numbers of the self-attention blocks whose maps are averaged, 0 the first and -1 the last of those that attend to
    the whole picture (None: all, as the teacher does). size, zoom, neighbours, symmetric, snap: as the teacher's, see
    `tracedge.teacher.TeacherSettings`.
    """

    blocks: tuple[int, ...] | None = None
    size: int | None = None
    zoom: int | None = None
    neighbours: int = 4
    symmetric: bool = False
    snap: bool = True

    def __post_init__(self) -> None:
        if self.blocks is not None and (not self.blocks or len(set(self.blocks)) != len(self.blocks)):
            raise SettingsError(f"blocks must be at least one number, each once, got {list(self.blocks)}")
        if self.zoom is not None and not 1 <= self.zoom <= 16:
            raise SettingsError(f"zoom must be from 1 to 16, got {self.zoom}")
        if self.size is not None and not 16 <= self.size <= 4096:
            raise SettingsError(f"size must be from 16 to 4096 px, got {self.size}")
        if self.neighbours not in (4, 8):
            raise SettingsError(f"neighbours must be 4 or 8, got {self.neighbours}")


class VisionEdges:
    """Edges of images, read out of a vision transformer's self-attention. No training, no labels; the same call as EdgeTeacher.

    Args:
        backbone: a `VisionSource`, or what `load_vision` takes: a name such as "dinov2-base", a folder, a hub id.
        settings: keyword arguments of `VisionSettings`, or `settings=VisionSettings(...)`.
        device, dtype, local_files_only: for `load_vision`.

    Raises:
        SettingsError: settings that make no sense, or blocks that the model does not have; and as `load_vision`.
    """

    def __init__(
        self,
        backbone: VisionSource | str | Path = "dinov2-base",
        *,
        settings: VisionSettings | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> None:
        self.settings = given(VisionSettings, settings, options)
        self.backbone: VisionSource = (
            load_vision(backbone, device=device, dtype=dtype, local_files_only=local_files_only)
            if isinstance(backbone, str | Path)
            else backbone
        )
        self.blocks = _chosen(self.backbone, self.settings.blocks)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.backbone.device

    @property
    def size(self) -> int:
        return self.settings.size or self.backbone.px

    @property
    def provenance(self) -> dict[str, object]:
        """What the edges depend on, as JSON types: goes into every `EdgeMap` and every manifest."""
        settings = asdict(self.settings) | {"size": self.size, "blocks": list(self.blocks), "predictor": "vision"}
        return settings | {"backbone": self.backbone.settings, "dtype": str(self.backbone.dtype).removeprefix("torch.")}

    @overload
    def __call__(self, images: ImageSource) -> EdgeMap: ...
    @overload
    def __call__(self, images: list[Any]) -> list[EdgeMap]: ...
    def __call__(self, images: ImageSource | list[Any]) -> EdgeMap | list[EdgeMap]:
        """Edges of one image (path, PIL image or array), or of a list of them, each by itself.

        Returns an `EdgeMap` of exactly the image's size without a timestep, or a list of them in the order given.
        """
        if not isinstance(images, list):
            return self([images])[0]
        return [self._edges_of(image) for image in [load_image(image) for image in images]]

    def _edges_of(self, image: Image) -> EdgeMap:
        reading = Reading(self.settings.zoom, self.settings.neighbours, self.settings.symmetric, self.settings.snap)
        edges = read_edges(image, self._look(image), self._look, self.size, reading)
        return EdgeMap(edges, settings=self.provenance)

    def _look(self, image: Image) -> Look:
        fit = Fit((image.shape[0], image.shape[1]), self.size, self.backbone.multiple_of)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        return Look(fit, *vision_attention(self.backbone, fit.apply(pixels), self.blocks))


def vision_attention(
    source: VisionSource, images: Tensor, blocks: tuple[str, ...] | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """The fused map of an image (1, 3, H, W) in [0, 1], sides multiples of `source.multiple_of`: (1, N, N) and its grid (h, w).

    Heads are averaged, CLS and registers cut off and rows renormalised, then `blocks` (names; None: all) are averaged.
    """
    image_hw = images.shape[-2], images.shape[-1]
    with torch.no_grad(), record_attention(source, image_hw, _Fused(blocks or source.attention_blocks)) as taken:
        source.forward(images)
    return taken.fused.result()


class _Fused:
    """The reduction `FusedAttention` over some of the blocks."""

    def __init__(self, blocks: tuple[str, ...]) -> None:
        self.fused = FusedAttention()
        self._blocks = blocks

    def add(self, call: BlockCall) -> None:
        if call.block in self._blocks:
            self.fused.add(call)


def _chosen(source: VisionSource, numbers: tuple[int, ...] | None) -> tuple[str, ...]:
    """The names of the blocks of these numbers, in the order of the forward pass."""
    names = source.attention_blocks
    if numbers is None:
        return names
    if wrong := [number for number in numbers if not -len(names) <= number < len(names)]:
        raise SettingsError(
            f"{source.name} has {len(names)} blocks that attend to the whole picture, 0 to {len(names) - 1}: there is no "
            f"block {wrong[0]}"
        )
    return tuple(names[index] for index in sorted({number % len(names) for number in numbers}))
