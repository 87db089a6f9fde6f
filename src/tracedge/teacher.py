"""EdgeTeacher: a photo in, instance edges out, training-free (IEP + ABDiv)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, overload

import torch
from numpy.typing import NDArray
from torch import Tensor

from tracedge.attention import fused_attention
from tracedge.backbones import load_backbone
from tracedge.backbones.inversion import invert
from tracedge.backbones.noise import image_noise
from tracedge.backbones.protocol import Backbone
from tracedge.batching import predict_by_size
from tracedge.criteria import criterion
from tracedge.emergence import RULES, Emergence, EmergenceTracker
from tracedge.errors import SettingsError
from tracedge.fit import Fit
from tracedge.from_attention import Look, Reading, read_edges
from tracedge.images import ImageSource, content_hash, load_image
from tracedge.maps import EdgeMap
from tracedge.settings import choose, given

Image = NDArray[Any]
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
    (`tracedge.placement`). early_stop: end the walk over timesteps as soon as no later one can change the choice (the curve
    then ends there too). inversion: climb to each timestep by the model's own predictions instead of adding noise (each step then
    needs the one before, and costs two forwards). seed: of the noise.
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
    early_stop: bool = True
    inversion: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        criterion(self.measure)
        choose("rule", self.rule, RULES)
        if not 1 <= self.stride <= 500:
            raise SettingsError(f"the stride must be from 1 to 500 of the 1000 timesteps, got {self.stride}")
        if self.timestep is not None and not 0 <= self.timestep < 1000:
            raise SettingsError(f"a timestep lies in [0, 1000), got {self.timestep}")
        if self.ensemble < 1 or (self.zoom is not None and not 1 <= self.zoom <= 16):
            raise SettingsError(
                f"ensemble must be at least 1 and zoom from 1 to 16, got {self.ensemble} and {self.zoom}"
            )
        if self.size is not None and not 16 <= self.size <= 4096:
            raise SettingsError(f"size must be from 16 to 4096 px, got {self.size}")
        if self.neighbours not in (4, 8):
            raise SettingsError(f"neighbours must be 4 or 8, got {self.neighbours}")


def _steps_in_a_batch(attention: Tensor) -> int:
    """How many timesteps share a forward: one on a CPU, where a batch gains nothing; on a GPU up to 4, 1 GiB of maps."""
    return 1 if attention.device.type == "cpu" else max(1, min(4, 2**28 // attention.numel()))


@dataclass(frozen=True)
class _View:
    """A picture, or a tile of one, as the model sees it: latents (1, C, h, w) and E draws of noise (E, C, h, w)."""

    image: Image
    name: str
    fit: Fit
    latents: Tensor
    noise: Tensor


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
        self.settings = given(TeacherSettings, settings, options)
        self.backbone: Backbone = (
            load_backbone(backbone, device=device, dtype=dtype, local_files_only=local_files_only)
            if isinstance(backbone, str)
            else backbone
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.backbone.device

    @property
    def provenance(self) -> dict[str, object]:
        """What the edges depend on, as JSON types: goes into every `EdgeMap` and every manifest."""
        settings = asdict(self.settings) | {"size": self.size, "predictor": "teacher"}
        return settings | {"backbone": self.backbone.settings, "dtype": str(self.backbone.dtype).removeprefix("torch.")}

    @property
    def size(self) -> int:
        return self.settings.size or self.backbone.px

    @overload
    def __call__(self, images: ImageSource) -> EdgeMap: ...
    @overload
    def __call__(self, images: list[Any]) -> list[EdgeMap]: ...
    def __call__(self, images: ImageSource | list[Any]) -> EdgeMap | list[EdgeMap]:
        """Edges of one image (path, PIL image or array), or of a list of them in one batch where their sizes agree.

        Returns an `EdgeMap` of exactly the image's size, or a list of them in the order given. The noise of an image
        follows from its pixels and the seed, so its edges do not depend on what else is in the list, up to rounding.
        """
        if not isinstance(images, list):
            return self([images])[0]
        return predict_by_size(self._edges_of_batch, [load_image(image) for image in images])

    @torch.no_grad()
    def _edges_of_batch(self, images: list[Image]) -> list[EdgeMap]:
        """Images of one size, (H, W, 3) uint8 each."""
        # 1. The whole picture, at the size the model was made for, and the noise of each.
        views = [self._view(image) for image in images]
        latents = torch.cat([view.latents for view in views])  # (B, C, h, w)

        # 2. Noise it step by step, and find where instances emerge.
        points, attention, grid_hw = self._emerge(latents, [view.noise for view in views])  # (B, N, N)

        # 3. Where the attention of opposite neighbours parts there is an edge; place it, scale it.
        return [
            self._edge_map(view, point, attention[index : index + 1], grid_hw)
            for index, (view, point) in enumerate(zip(views, points, strict=True))
        ]

    @torch.no_grad()
    def sweep(self, image: ImageSource) -> list[EdgeMap]:
        """The edges at every timestep of the stride, each with the whole curve: to study how the step is chosen."""
        view = self._view(load_image(image))
        tracker = EmergenceTracker(self.settings.rule, self.settings.measure)
        maps = []
        for timestep, attention, grid_hw in self._walk(view.latents, [view.noise]):
            tracker.update(timestep, attention, grid_hw)
            maps.append(self._edge_map(view, Emergence(0, (timestep,), (0.0,), 0.0), attention, grid_hw))
        curve = tracker.finish()[0][0]
        return [replace(found, timesteps=curve.timesteps, divergences=curve.divergences) for found in maps]

    @torch.no_grad()
    def curve_maps(self, image: ImageSource) -> Iterator[tuple[float, Tensor, tuple[int, int]]]:
        """Every step of the walk for one image: timestep, map (N, N), grid (h, w). For looking at: `tracedge inspect`."""
        view = self._view(load_image(image))
        for timestep, attention, grid_hw in self._walk(view.latents, [view.noise]):
            yield timestep, attention[0], grid_hw

    @torch.no_grad()
    def look(self, image: ImageSource) -> Look:
        """One image's map SA(X_t) at its emergence point, (1, N, N), rows sum to 1: what its edges are read from, before them."""
        view = self._view(load_image(image))
        _, attention, grid_hw = self._emerge(view.latents, [view.noise])
        return Look(view.fit, attention, grid_hw)

    def _view(self, image: Image) -> _View:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        fit = Fit(image.shape[:2], self.size, self.backbone.multiple_of)
        latents = self.backbone.encode(fit.apply(pixels))
        name = content_hash(image)
        return _View(image, name, fit, latents, self._noise(name, latents.shape[1:]))

    def _edge_map(self, view: _View, point: Emergence, attention: Tensor, grid_hw: tuple[int, int]) -> EdgeMap:
        """From the map (1, N, N) at the chosen timestep to the edges of one image."""

        def look(tile: Image) -> Look:
            seen = self._view(tile)
            return Look(seen.fit, *self._attention_at(seen.latents, [seen.noise], point.timestep))

        reading = Reading(self.settings.zoom, self.settings.neighbours, self.settings.symmetric, self.settings.snap)
        edges = read_edges(view.image, Look(view.fit, attention, grid_hw), look, self.size, reading)
        curve = (point.timesteps, point.divergences) if len(point.timesteps) > 1 else ((), ())
        margin = point.margin if len(point.timesteps) > 1 else None
        return EdgeMap(edges, point.timestep, margin, *curve, settings=self.provenance)

    def _noise(self, name: str, shape: Sequence[int]) -> Tensor:
        """(E, ...) noise of one image or tile, drawn on the CPU from the seed and the image alone."""
        return image_noise(self.settings.seed, name, (self.settings.ensemble, *shape))

    def _walk(self, latents: Tensor, noise: list[Tensor]) -> Iterator[tuple[float, Tensor, tuple[int, int]]]:
        """Timestep, maps (B, N, N) and grid, for each timestep of the stride, from the clean latents (B, C, h, w) upwards."""
        timesteps = self.backbone.process.timesteps(self.settings.stride)
        if self.settings.inversion:
            for timestep, noisy in invert(self.backbone, latents, timesteps):
                yield timestep, *fused_attention(self.backbone, noisy, torch.full((len(latents),), timestep))
            return
        # Forward noising makes the steps independent: the first alone tells the maps' size, the rest go in batches.
        attention, grid_hw = self._attention(latents, noise, timesteps[:1])
        yield float(timesteps[0]), attention, grid_hw
        for part in timesteps[1:].split(_steps_in_a_batch(attention)):
            attention, grid_hw = self._attention(latents, noise, part)
            for timestep, maps in zip(part.tolist(), attention.unflatten(0, (len(part), -1)), strict=True):
                yield timestep, maps, grid_hw

    def _attention_at(self, latents: Tensor, noise: list[Tensor], timestep: float) -> Attention:
        """Maps (B, N, N) of clean latents (B, C, h, w) at one timestep."""
        if not self.settings.inversion:
            return self._attention(latents, noise, torch.tensor([timestep]))
        below = [step for step in self.backbone.process.timesteps(self.settings.stride).tolist() if step < timestep]
        for _, noisy in invert(self.backbone, latents, torch.tensor([*below, timestep])):
            latents = noisy
        return fused_attention(self.backbone, latents, torch.full((len(latents),), timestep))

    def _attention(self, latents: Tensor, noise: list[Tensor], timesteps: Tensor) -> Attention:
        """Maps (T B, N, N), timestep by timestep, of latents (B, C, h, w) with noise added; averaged over the draws."""
        count = len(timesteps)
        timestep = timesteps.repeat_interleave(len(latents))  # (T B,)
        clean = latents.repeat(count, 1, 1, 1)
        total: Tensor | None = None
        draws = self.settings.ensemble if timesteps.any() else 1  # a clean latent has no noise to average over
        for draw in range(draws):
            drawn = torch.stack([each[draw] for each in noise]).to(latents).repeat(count, 1, 1, 1)
            attention, grid_hw = fused_attention(
                self.backbone, self.backbone.process.add_noise(clean, timestep, drawn), timestep
            )
            total = attention if total is None else total.add_(attention)
        assert total is not None
        return total.div_(draws), grid_hw

    def _emerge(self, latents: Tensor, noise: list[Tensor]) -> tuple[list[Emergence], Tensor, tuple[int, int]]:
        """The emergence point of each image, and the map there."""
        if self.settings.timestep is not None:
            fixed = float(self.settings.timestep)
            attention, grid_hw = self._attention_at(latents, noise, fixed)
            return [Emergence(0, (fixed,), (0.0,), 0.0)] * len(latents), attention, grid_hw
        tracker = EmergenceTracker(self.settings.rule, self.settings.measure)
        for timestep, attention, grid_hw in self._walk(latents, noise):
            tracker.update(timestep, attention, grid_hw)
            if self.settings.early_stop and tracker.is_settled(timestep + self.settings.stride):
                break
        points, best, is_choice = tracker.finish()
        for index in [i for i, right in enumerate(is_choice) if not right]:
            only = slice(index, index + 1)
            best[only], _ = self._attention_at(latents[only], noise[only], points[index].timestep)
        return points, best, grid_hw
