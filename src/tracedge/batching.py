"""Batches in which one bad image takes no other down, and too little memory means smaller batches."""

from __future__ import annotations

import errno
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tracedge.errors import RunError, TooManyPixelsError
from tracedge.interrupts import raise_again

R = TypeVar("R")

_QUERY = re.compile(r"(https?://[^\s?#'\"]+)[?#][^\s'\"]*?(?=[).,]*(?:[\s'\"]|$))", re.IGNORECASE)
"""What follows the path of an address: it may hold a key, and sentences are kept."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Failure:
    """Why a step failed: "TypeName: sentence" on one line, and whether memory was what it lacked.

    lasting: the image itself is at fault, so that the same bytes would fail again. Memory, the disk, permissions, the
    graphics card, the installation, the output folder and the limit of pixels are not the image's.

    It holds no exception: a traceback would keep alive the very tensors that memory ran out for.
    """

    error: str
    out_of_memory: bool = False
    lasting: bool = True


@dataclass(frozen=True)
class Prediction:
    """The result of one image, and its share of the seconds that its batch took."""

    result: Any
    seconds: float


def attempt(step: Callable[..., Any], *arguments: Any) -> Any | Failure:
    """Call a step; whatever it raises on account of its image becomes a `Failure`.

    This is the one place where every `Exception` is caught: a long run goes on past an image, and the manifest keeps
    the sentence. Interrupts and exits pass, those too that a library swallowed, and so does a full disk: all that comes after
    would be computed in vain.
    """
    try:
        result = step(*arguments)
    except Exception as error:
        raise_again()
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise
        sentence = _QUERY.sub(r"\1", " ".join(str(error).split()))[:1000]
        return Failure(f"{type(error).__name__}: {sentence}", _is_out_of_memory(error), _is_lasting(error))
    raise_again()
    return result


def predict_in_parts(
    predict_batch: Callable[[list[np.ndarray]], Sequence[Any]], images: Sequence[np.ndarray]
) -> tuple[list[Prediction | Failure], int]:
    """Predict a batch, in smaller parts if it fails whole.

    A part that lacks memory is halved, down to single images; a part that fails otherwise is tried again image by
    image, so that only the image at fault fails.

    Args:
        predict_batch: images, in order -> as many results.
        images: the batch, at least one.

    Returns:
        One outcome for each image, in order; and the batch size that memory allows, at most the batch's own.
    """
    outcomes: list[Prediction | Failure] = []
    size = len(images)
    parts = deque([list(images)])
    while parts:
        part = parts.popleft()
        start = time.monotonic()
        results = attempt(_predict_counted, predict_batch, part)
        if not isinstance(results, Failure):
            seconds = (time.monotonic() - start) / len(part)
            outcomes += [Prediction(result, seconds) for result in results]
        elif len(part) == 1:
            outcomes.append(results)
        else:
            step = len(part) // 2 if results.out_of_memory else 1
            size = min(size, step) if results.out_of_memory else size
            parts.extendleft(part[first : first + step] for first in reversed(range(0, len(part), step)))
    return outcomes, size


def _predict_counted(predict_batch: Callable[[list[np.ndarray]], Sequence[Any]], images: list[np.ndarray]) -> list[Any]:
    results = list(predict_batch(images))
    if len(results) != len(images):
        raise RunError(f"the predictor gave {len(results)} results for {len(images)} images, expected one for each.")
    return results


def _is_lasting(error: Exception) -> bool:
    """Whether the image is at fault. A decoder's OSError for damaged bytes has no number; the system's own have one."""
    if isinstance(error, (OSError, ImportError, RunError, TooManyPixelsError)) or _is_out_of_memory(error):
        return False
    accelerator = getattr(sys.modules.get("torch"), "AcceleratorError", ())
    system = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
    return not system and not isinstance(error, accelerator)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # if nobody imported it, the error is not torch's
    if torch is None or not isinstance(error, RuntimeError):
        return False
    # On a CPU, and on Apple's GPUs, torch has only a RuntimeError and this sentence.
    says_so = "out of memory" in str(error) or "can't allocate memory" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or says_so


def predict_by_size(predict_batch: Callable[[list[np.ndarray]], Sequence[R]], images: Sequence[np.ndarray]) -> list[R]:
    """One batch for each size that occurs; the results in the order of the images."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    found: dict[int, R] = {}
    for group in groups.values():
        found |= zip(group, predict_batch([images[index] for index in group]), strict=True)
    return [found[index] for index in range(len(images))]
