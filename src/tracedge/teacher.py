"""EdgeTeacher: a photo in, instance edges out, training-free (IEP + ABDiv)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.attention import fused_attention
from tracedge.backbones import load_backbone
from tracedge.backbones.protocol import Backbone
from tracedge.criteria import criterion
from tracedge.divergence import attention_boundary_divergence
from tracedge.edges import normalise
from tracedge.emergence import RULES, Emergence, EmergenceTracker
from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.images import ImageSource, content_hash, load_image
from tracedge.maps import EdgeMap
from tracedge.placement import place_edges
from tracedge.tiling import blend_tiles, tiles

Image = NDArray[np.uint8]
Attention = tuple[Tensor, tuple[int, int]]


@dataclass(frozen=True)
class TeacherSettings:
    """What the teacher's edges depend on, besides the model and the picture.

    stride: distance of the timesteps tried, on the model's 0..999 scale. rule, measure: how the instance emergence point is
    chosen (`tracedge.emergence.RULES`, `tracedge.criteria.CRITERIA`). timestep: a fixed one instead. ensemble: noise draws
    whose attention is averaged. size: long side in pixels that the model sees (None: the model's own). zoom: at this
    many times `size` the picture is also read in overlapping tiles, at the chosen timestep, so that small objects are not
    lost (1: never; None: 2 for pictures at least twice as long as `size`). neighbours, symmetric: see
    `attention_boundary_divergence`. snap: place edges on the picture's own contours inside a token's width
    (`tracedge.placement`). seed: of the noise.
    """

    stride: int = 100
    rule: str = "first_peak"
    measure: str = "kl"
    timestep: float | None = None
    ensemble: int = 1
    size: int | None = None
    zoom: int | None = None
    neighbours: int = 4
    symmetric: bool = False
    snap: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        criterion(self.measure)
        if self.rule not in RULES:
            raise SettingsError(f"unknown rule {self.rule!r}: choose one of {', '.join(RULES)}")
        if not 1 <= self.stride <= 500:
            raise SettingsError(f"the stride must be from 1 to 500 of the 1000 timesteps, got {self.stride}")
        if self.timestep is not None and not 0 <= self.timestep < 1000:
            raise SettingsError(f"a timestep lies in [0, 1000), got {self.timestep}")
        if self.ensemble < 1 or (self.zoom is not None and not 1 <= self.zoom <= 16):
            raise SettingsError(f"ensemble must be at least 1 and zoom from 1 to 16, got {self.ensemble} and {self.zoom}")
        if self.size is not None and not 16 <= self.size <= 4096:
            raise SettingsError(f"size must be from 16 to 4096 px, got {self.size}")
        if self.neighbours not in (4, 8):
            raise SettingsError(f"neighbours must be 4 or 8, got {self.neighbours}")


class EdgeTeacher:
    """Instance edges of images, read out of a diffusion model's self-attention. No training, no labels.

    Args:
        backbone: a `Backbone`, or what `load_backbone` takes: a name such as "mini", a folder, a hub id.
        settings: keyword arguments of `TeacherSettings`, or `settings=TeacherSettings(...)`.
        device, dtype, local_files_only: for `load_backbone`.

    >>> import numpy as np
    >>> teacher = EdgeTeacher("mini", timestep=200, size=64)
    >>> teacher(np.zeros((48, 64, 3), np.uint8)).shape
    (48, 64)
    """

    def __init__(
        self,
        backbone: Backbone | str = "mini",
        *,
        settings: TeacherSettings | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> None:
        if settings is not None and options:
            raise SettingsError(f"give settings or single options, not both: got also {', '.join(options)}")
        try:
            self.settings = settings or TeacherSettings(**options)
        except TypeError as error:
            raise SettingsError(f"{error}; the options are those of TeacherSettings") from error
        self.backbone: Backbone = (
            load_backbone(backbone, device=device, dtype=dtype, local_files_only=local_files_only)
            if isinstance(backbone, str)
            else backbone
        )

    @property
    def provenance(self) -> dict[str, object]:
        """What the edges depend on, as JSON types: goes into every `EdgeMap` and every manifest."""
        settings = asdict(self.settings) | {"size": self.size, "predictor": "teacher"}
        return settings | {"backbone": self.backbone.settings, "dtype": str(self.backbone.dtype).removeprefix("torch.")}

    @property
    def size(self) -> int:
        return self.settings.size or self.backbone.px

    @overload
    def __call__(self, images: Sequence[ImageSource]) -> list[EdgeMap]: ...
    @overload
    def __call__(self, images: ImageSource) -> EdgeMap: ...
    def __call__(self, images: ImageSource | Sequence[ImageSource]) -> EdgeMap | list[EdgeMap]:
        """Edges of one image (path, PIL image or array), or of a list of them in one batch where their sizes agree.

        Returns an `EdgeMap` of exactly the image's size, or a list of them in the order given. The noise of an image
        follows from its pixels and the seed, so its edges do not depend on what else is in the list, up to rounding.
        """
        if not isinstance(images, (list, tuple)):
            return self([images])[0]
        loaded = [load_image(image) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(loaded):
            groups.setdefault(image.shape, []).append(index)
        found: dict[int, EdgeMap] = {}
        for group in groups.values():
            found |= zip(group, self._edges_of_batch([loaded[index] for index in group]), strict=True)
        return [found[index] for index in range(len(loaded))]

    @torch.no_grad()
    def _edges_of_batch(self, images: list[Image]) -> list[EdgeMap]:
        """Images of one size, (H, W, 3) uint8 each."""
        # 1. The whole picture, at the size the model was made for.
        hashes = [content_hash(image) for image in images]
        pixels = torch.stack([torch.from_numpy(image) for image in images]).permute(0, 3, 1, 2) / 255  # (B, 3, H, W)
        fit = Fit(tuple(pixels.shape[-2:]), self.size, self.backbone.multiple_of)
        latents = self.backbone.encode(fit.apply(pixels))  # (B, C, h, w)
        noise = [self._noise(name, latents.shape[1:]) for name in hashes]  # B x (E, C, h, w)

        # 2. Noise it step by step, and find where instances emerge.
        points, attention, grid_hw = self._emerge(latents, noise)

        # 3. Where the attention of opposite neighbours parts, there is an edge.
        coarse = fit.undo(self._divergence(attention, grid_hw)).numpy()  # (B, H, W)

        # 4. The same in tiles of a larger picture, at the timestep found, for what is small.
        fine = self._zoomed(pixels, points, hashes)

        # 5. Place the edges on the picture's own contours, and scale to [0, 1].
        maps = []
        for index, (image, point) in enumerate(zip(images, points, strict=True)):
            divergence = coarse[index] if fine is None else (coarse[index] + fine[index]) / 2
            token = max(image.shape[0] / grid_hw[0], image.shape[1] / grid_hw[1])
            edges = place_edges(image, divergence, token) if self.settings.snap else divergence
            curve = (point.timesteps, point.divergences) if len(point.timesteps) > 1 else ((), ())
            maps.append(EdgeMap(normalise(edges), point.timestep, point.margin, *curve, settings=self.provenance))
        return maps

    def curve_maps(self, image: ImageSource) -> Iterator[tuple[float, Tensor, tuple[int, int]]]:
        """Every step of the walk for one image: timestep, map (N, N), grid (h, w). For looking at, see `tracedge inspect`."""
        loaded = load_image(image)
        pixels = torch.from_numpy(loaded).permute(2, 0, 1)[None] / 255
        latents = self.backbone.encode(Fit(loaded.shape[:2], self.size, self.backbone.multiple_of).apply(pixels))
        noise = [self._noise(content_hash(loaded), latents.shape[1:])]
        for timestep in self.backbone.timesteps(self.settings.stride).tolist():
            attention, grid_hw = self._attention(latents, noise, [timestep])
            yield timestep, attention[0], grid_hw

    def _noise(self, name: str, shape: Sequence[int]) -> Tensor:
        """(E, ...) noise of one image, drawn on the CPU from the seed and the image alone."""
        generator = torch.Generator().manual_seed((int(name[:15], 16) + self.settings.seed * 0x9E3779B97F4A7C15) % 2**63)
        return torch.randn(self.settings.ensemble, *shape, generator=generator)

    def _attention(self, latents: Tensor, noise: list[Tensor], timesteps: list[float]) -> Attention:
        """Maps (B, N, N) of clean latents (B, C, h, w), each at its own timestep, averaged over the noise draws."""
        timestep = torch.tensor(timesteps * (len(latents) // len(timesteps)))
        total: Tensor | None = None
        draws = 1 if not timestep.any() else self.settings.ensemble  # a clean latent has no noise to average over
        for draw in range(draws):
            drawn = torch.stack([each[draw] for each in noise])
            attention, grid_hw = fused_attention(
                self.backbone, self.backbone.add_noise(latents, timestep, drawn.to(latents)), timestep
            )
            total = attention if total is None else total.add_(attention)
        assert total is not None
        return total.div_(draws), grid_hw

    def _emerge(self, latents: Tensor, noise: list[Tensor]) -> tuple[list[Emergence], Tensor, tuple[int, int]]:
        """The emergence point of each image, and the map there."""
        if self.settings.timestep is not None:
            fixed = float(self.settings.timestep)
            attention, grid_hw = self._attention(latents, noise, [fixed])
            return [Emergence(0, (fixed,), (0.0,), 0.0)] * len(latents), attention, grid_hw
        tracker = EmergenceTracker(self.settings.rule, self.settings.measure)
        for timestep in self.backbone.timesteps(self.settings.stride).tolist():
            attention, grid_hw = self._attention(latents, noise, [timestep])
            tracker.update(timestep, attention, grid_hw)
        points, best, is_choice = tracker.finish()
        for index in [i for i, right in enumerate(is_choice) if not right]:
            only = slice(index, index + 1)
            best[only], _ = self._attention(latents[only], noise[only], [points[index].timestep])
        return points, best, grid_hw

    def _divergence(self, attention: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        return attention_boundary_divergence(
            attention, grid_hw, neighbours=self.settings.neighbours, measure="kl", symmetric=self.settings.symmetric
        ).cpu()

    def _zoomed(self, pixels: Tensor, points: list[Emergence], hashes: list[str]) -> list[NDArray[np.float32]] | None:
        """ABDiv (H, W) of each image at `zoom` times the size, tile by tile; None where the picture is too small for it."""
        height, width = pixels.shape[-2:]
        zoom = self.settings.zoom or (2 if max(height, width) >= 2 * self.size else 1)
        if zoom == 1:
            return None
        side = -(-max(height, width) // zoom)  # a tile is seen at `size`, so the picture at zoom x size
        boxes = tiles((height, width), side, side // 4)
        found = []
        for index, (point, name) in enumerate(zip(points, hashes, strict=True)):
            parts = []
            for number, (top, left, bottom, right) in enumerate(boxes):
                fit = Fit((bottom - top, right - left), self.size, self.backbone.multiple_of)
                latents = self.backbone.encode(fit.apply(pixels[index : index + 1, :, top:bottom, left:right]))
                noise = [self._noise(content_hash(np.frombuffer(f"{name}{number}".encode(), np.uint8)), latents.shape[1:])]
                attention, grid_hw = self._attention(latents, noise, [point.timestep])
                parts.append(((top, left, bottom, right), fit.undo(self._divergence(attention, grid_hw))[0].numpy()))
            found.append(blend_tiles(parts))
        return found
