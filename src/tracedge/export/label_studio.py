"""Predictions for Label Studio: masks as brush regions, ready to be imported and corrected."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.atomic import atomic_path
from tracedge.errors import DataError
from tracedge.instances import Instances

_CHANNELS = 4  # a brush region is a picture: red, green, blue, alpha, of which the last counts
_VALUE_BITS = 8
_RUN_BITS = (4, 8, 12, 16)  # the four lengths that a run's length may have; 16 is the most that the format knows


@dataclass(frozen=True)
class BrushTags:
    """The names in the project's labelling configuration, which for the defaults is:

        <View>
          <Image name="image" value="$image"/>
          <BrushLabels name="tag" toName="image"><Label value="object"/></BrushLabels>
        </View>

    from_name: of the BrushLabels tag. to_name: of the Image tag. label: one of the labels. data_key: what follows the dollar
    sign in the Image tag's value.
    """

    from_name: str = "tag"
    to_name: str = "image"
    label: str = "object"
    data_key: str = "image"


_DEFAULT = BrushTags()


def write_label_studio(
    path: str | os.PathLike[str], images: Iterable[tuple[str, Instances]], tags: BrushTags = _DEFAULT
) -> None:
    """Write the JSON file that Label Studio imports, whole or not at all; equal input gives equal bytes.

    Args:
        path: where; a folder that is not there is made.
        images: (where Label Studio finds the image, its instances), taken one at a time, see `label_studio_task`.
        tags: names of the project.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as stream:
        between = "["
        for image, instances in images:
            task = label_studio_task(instances, image, tags)
            stream.write(between + json.dumps(task, sort_keys=True, separators=(",", ":"), allow_nan=False))
            between = ",\n"
        stream.write("[]\n" if between == "[" else "]\n")


def label_studio_task(
    instances: Instances, image: str, tags: BrushTags = _DEFAULT, *, model_version: str = "tracedge"
) -> dict[str, Any]:
    """One image with its instances as a prediction: a brush region each, which the annotator may correct or remove.

    Args:
        instances: the masks and their scores; the prediction's own score is the mean of them.
        image: a URL, or "/data/local-files/?d=..." of Label Studio's local storage.
        tags: names of the project.
        model_version: what the prediction is listed under.
    """
    instances = instances.seen()
    height, width = instances.shape
    shared = {
        "type": "brushlabels",
        "from_name": tags.from_name,
        "to_name": tags.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    scores = instances.scores.tolist()
    result = [
        {
            **shared,
            "id": f"instance-{number}",
            "score": score,
            "value": {"format": "rle", "rle": brush_rle(mask), "brushlabels": [tags.label]},
        }
        for number, (mask, score) in enumerate(zip(instances.masks, scores, strict=True), start=1)
    ]
    prediction: dict[str, Any] = {"model_version": model_version, "result": result}
    if scores:
        prediction["score"] = round(float(np.mean(scores)), 6)
    return {"data": {tags.data_key: image}, "predictions": [prediction]}


def brush_rle(mask: NDArray[np.bool_]) -> list[int]:
    """A mask, bool (H, W), in Label Studio's brush format: a string of bits, as a list of its bytes.

    The string codes the values of the mask's picture (H, W, 4), uint8, 255 inside, in reading order. It begins with their number
    (32 bits), the bits of a value less 1 (5) and four lengths less 1 (4 each); then come the runs: a 1 (the value repeats), which
    of the four lengths (2), the run's values less 1 (of that length), and the value. The last byte is filled with 0.

    Raises:
        DataError: no bool array (H, W), or more values than 32 bits count.

    >>> brush_rle(np.array([[True]]))
    [0, 0, 0, 4, 57, 189, 252, 63, 240]
    """
    if mask.dtype != bool or mask.ndim != 2 or not 0 < mask.size * _CHANNELS < 1 << 32:
        raise DataError(
            f"a brush region is a bool array (H, W) of fewer than 2^30 pixels, got {mask.dtype} {mask.shape}."
        )
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    lengths = np.diff(starts) * _CHANNELS
    header = f"{flat.size * _CHANNELS:032b}{_VALUE_BITS - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in _RUN_BITS)
    values = np.where(flat[starts[:-1]], 255, 0)
    bits = header + "".join(map(_run, lengths.tolist(), values.tolist()))
    return np.packbits(np.frombuffer(bits.encode(), np.uint8) - ord("0")).tolist()


def _run(length: int, value: int) -> str:
    """A run of `length` values, as several where it is longer than one can be."""
    most = 1 << _RUN_BITS[-1]
    full, rest = divmod(length - 1, most)
    return _one_run(most, value) * full + _one_run(rest + 1, value)


def _one_run(length: int, value: int) -> str:
    which = next(number for number, bits in enumerate(_RUN_BITS) if length <= 1 << bits)
    return f"1{which:02b}{length - 1:0{_RUN_BITS[which]}b}{value:0{_VALUE_BITS}b}"
