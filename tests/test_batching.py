"""Batches: one bad image takes no other down, and too little memory means smaller batches."""

import contextlib
import errno
import signal
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tracedge.batching import Failure, Prediction, attempt, predict_in_parts
from tracedge.errors import ImageError, MissingExtraError, RunError, TooManyPixelsError
from tracedge.interrupts import signals_raise


def images_of(values: list[int]) -> list[np.ndarray]:
    return [np.full((1, 1, 3), value, np.uint8) for value in values]


class SmallMemory:
    """Has room for `room` images at a time, and none for the value 99."""

    def __init__(self, room: int, error: BaseException) -> None:
        self.batches: list[list[int]] = []
        self.room = room
        self.error = error

    def __call__(self, images: list[np.ndarray]) -> list[float]:
        self.batches.append([int(image.mean()) for image in images])
        if len(images) > self.room or 99 in self.batches[-1]:
            raise self.error
        return [float(value) for value in self.batches[-1]]


MEMORY_ERRORS = {
    "MemoryError": MemoryError,
    "torch": lambda: torch.OutOfMemoryError("CUDA: no room"),
    "torch on a CPU": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
}


@pytest.mark.parametrize("error", MEMORY_ERRORS)
def test_a_batch_that_lacks_memory_is_halved_and_keeps_its_order(error):
    predict = SmallMemory(2, MEMORY_ERRORS[error]())
    outcomes, size = predict_in_parts(predict, images_of([0, 1, 2, 3, 4]))
    assert [outcome.result for outcome in outcomes] == [0, 1, 2, 3, 4]
    assert predict.batches == [[0, 1, 2, 3, 4], [0, 1], [2, 3], [4]]
    assert size == 2


def test_a_single_image_that_lacks_memory_fails_alone():
    outcomes, size = predict_in_parts(SmallMemory(9, MemoryError("all gone")), images_of([1, 99, 3, 4]))
    assert outcomes[1] == Failure("MemoryError: all gone", out_of_memory=True, lasting=False)
    assert [outcome.result for outcome in outcomes if isinstance(outcome, Prediction)] == [1, 3, 4]
    assert size == 1


def test_another_failure_keeps_the_batch_size():
    outcomes, size = predict_in_parts(SmallMemory(9, ValueError("bad")), images_of([1, 99, 3, 4]))
    assert outcomes[1] == Failure("ValueError: bad")
    assert size == 4


def truncated() -> None:
    try:
        raise OSError("image file is truncated")  # Pillow's, without a number
    except OSError as error:
        raise ImageError("damaged") from error


def unreadable() -> None:
    try:
        raise OSError(errno.EIO, "Input/output error")
    except OSError as error:
        raise ImageError("cannot be opened") from error


def raising(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


@pytest.mark.parametrize("step", [truncated, raising(ValueError("bad")), raising(ZeroDivisionError())])
def test_what_lies_with_the_image_lasts(step):
    assert attempt(step).lasting


PASSING = [
    OSError(errno.EIO, "Input/output error"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError("encoder error -2 when writing image file"),
    MemoryError(),
    torch.OutOfMemoryError("CUDA: no room"),
    torch.AcceleratorError("device-side assert"),
    MissingExtraError("pip install it"),
    RunError("a link leads there"),
    TooManyPixelsError("more than the limit"),
]


@pytest.mark.parametrize("step", [unreadable, *map(raising, PASSING)])
def test_what_lies_with_the_machine_or_the_limits_passes(step):
    assert not attempt(step).lasting


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_ends_the_run(number):
    with pytest.raises(OSError, match="no room"):
        attempt(raising(OSError(number, "no room")))


def test_interrupts_are_not_taken_for_failures():
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            attempt(lambda error=error: (_ for _ in ()).throw(error()))


SIGNALS = [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]


@pytest.mark.parametrize(("number", "interrupt"), SIGNALS)
def test_an_interrupt_is_no_failure_of_an_image_though_tidying_up_fails_after_it(number, interrupt):
    def step():
        try:
            signal.raise_signal(number)
        finally:
            raise RuntimeError("trying to pop from empty mode stack")

    with pytest.raises(interrupt), signals_raise():
        attempt(step)


@pytest.mark.parametrize(("number", "interrupt"), SIGNALS)
def test_an_interrupt_that_a_library_made_an_error_or_a_result_of_is_neither(number, interrupt):
    def error():
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        raise TypeError("Cannot compare structured arrays unless they have a common dtype.")

    def result():
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        return 0

    for step in (error, result):
        with pytest.raises(interrupt), signals_raise():
            attempt(step)


def test_keys_in_addresses_are_not_kept():
    def fetch() -> None:
        raise OSError("403, message='Forbidden', url='https://h/a.png?X-Signature=secret#x' (https://h/b?key=secret).")

    failed = attempt(fetch)
    assert failed.error == "OSError: 403, message='Forbidden', url='https://h/a.png' (https://h/b)."
