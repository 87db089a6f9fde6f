"""What a vision transformer is given for a pixel: mean and standard deviation, as the model's own files say them.

transformers' image processors write them to preprocessor_config.json, or into processor_config.json as its image_processor,
under the same keys for all families: image_mean, image_std, do_normalize, do_rescale, rescale_factor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tracedge.errors import BackboneError

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """mean, deviation: of red, green and blue in [0, 1], by which a picture is standardised."""

    mean: Colour
    deviation: Colour

    def standardised(self, images: Tensor) -> Tensor:
        """(images - mean) / deviation for each of the three channels of (B, 3, H, W) in [0, 1]."""
        mean, deviation = (
            torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.mean, self.deviation)
        )
        return (images - mean) / deviation

    @property
    def settings(self) -> dict[str, object]:
        """For the provenance, of JSON's types."""
        return {"mean": list(self.mean), "deviation": list(self.deviation)}


IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = Pixels((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def pixels_of(processing: Mapping[str, Any] | None, source: str, otherwise: Pixels) -> Pixels:
    """What the model's files say of its pixels.

    A processor gives (255 f x - image_mean) / image_std for x in [0, 1], with f its rescale_factor: 1 / 255 unless it says
    another one, 1 without do_rescale. Without do_normalize image_mean is 0 and image_std 1.

    Args:
        processing: what its image processor's file says; None: there is none.
        source: the model, for messages.
        otherwise: what its family was trained with, where there is no file.

    Raises:
        BackboneError: image_mean or image_std is missing or no three numbers (or one for all), or a value is of another kind.
    """
    if processing is None:
        return otherwise
    factor = 1.0
    if _switch(processing, "do_rescale", source):
        factor = processing.get("rescale_factor", 1 / 255)
        if type(factor) not in (int, float) or not 1e-9 < factor < 1e9:
            raise _wrong(source, "rescale_factor", factor, "a number above 0, and not a huge one")
    scale = 1.0 if math.isclose(255 * factor, 1) else 255 * factor
    if not _switch(processing, "do_normalize", source):
        return Pixels((0.0, 0.0, 0.0), _each(1 / scale))
    mean, deviation = (_colour(processing, key, source) for key in ("image_mean", "image_std"))
    if min(deviation) < 1e-9:
        raise _wrong(source, "image_std", list(deviation), "numbers above 0")
    if scale == 1:
        return Pixels(mean, deviation)
    return Pixels(*((red / scale, green / scale, blue / scale) for red, green, blue in (mean, deviation)))


def _switch(processing: Mapping[str, Any], key: str, source: str) -> bool:
    value = processing.get(key, True)
    if type(value) is not bool:
        raise _wrong(source, key, value, "true or false")
    return value


def _colour(processing: Mapping[str, Any], key: str, source: str) -> Colour:
    value: Any = processing.get(key)
    numbers: list[Any] = value if isinstance(value, list) else [value] * 3
    if len(numbers) != 3 or not all(type(one) in (int, float) and abs(one) < 1e9 for one in numbers):
        raise _wrong(source, key, value, "three finite numbers")
    red, green, blue = map(float, numbers)
    return red, green, blue


def _each(value: float) -> Colour:
    return value, value, value


def _wrong(source: str, key: str, value: object, expected: str) -> BackboneError:
    return BackboneError(f"{source}: its image processor has {key} {value!r:.60}, expected {expected}.")
