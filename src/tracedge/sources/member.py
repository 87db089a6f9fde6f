"""An image that is no file of this machine, as a task of a folder run; and the parts that a source is read in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NoReturn, Protocol

from tracedge.errors import DataError
from tracedge.images import EncodedImage
from tracedge.jobs import Task

MAX_BYTES = 2**30
"""An encoded image of more bytes than this is not read: no picture under the limit of pixels comes near it."""


class Part(Protocol):
    """What one process takes at a time: it is small, may be pickled, and reads its images only when they are asked for."""

    @property
    def prefix(self) -> PurePosixPath | None:
        """The folder that all its outputs go to; None: its tasks are known without reading, and `tasks` is cheap."""

    def tasks(self) -> Iterator[Task]:
        """Its images in a fixed order. What cannot be read is a task that fails, and no exception."""


@dataclass(frozen=True)
class Member:
    """A `Task` whose bytes come from an archive, a table or a store.

    source: its bytes and its name for people. relative: where its outputs go. suffix: that of its own name, or "".
    """

    source: EncodedImage
    relative: PurePosixPath
    suffix: str = ""

    @property
    def file(self) -> str:
        """Its name in the manifest."""
        return f"{self.relative}{self.suffix}"

    def content_hash(self) -> str | None:
        """SHA-256 of its bytes, None if they cannot be had: then loading it will say why."""
        try:
            return hashlib.sha256(self.source.read()).hexdigest()
        except Exception:  # a store raises what it likes
            return None


@dataclass(frozen=True)
class Unreadable:
    """A `Part`: an archive of which nothing can be read. It fails alone, as one that is torn later on does.

    name: its path or URL. relative: where the outputs of its images would go. suffix: of its name. reason: a sentence.
    """

    name: str
    relative: PurePosixPath
    suffix: str
    reason: str
    prefix: None = None

    def tasks(self) -> Iterator[Member]:
        """The archive itself, which fails."""
        yield Member(unreadable(self.name, DataError(self.reason)), self.relative, self.suffix)


def torn(name: str, images: int, error: Exception) -> EncodedImage:
    """An archive that fails after so many images that could be read of it."""
    failure = DataError(f"{name} cannot be read to its end after {images} image{'s' * (images != 1)}: {reason(error)}.")
    failure.__cause__ = error
    return unreadable(name, failure)


def reason(error: Exception) -> str:
    """What another library's error says, to stand within a sentence: one line, without the full stop at its end."""
    if isinstance(error, FileNotFoundError):  # stores say the name alone
        return "it is not there"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def held(name: str, data: bytes) -> EncodedImage:
    """An image whose bytes are at hand."""
    return EncodedImage(name, lambda: data)


def fetched(name: str, fetch: Callable[[], bytes]) -> EncodedImage:
    """An image whose bytes are fetched once, when they are first asked for."""
    kept: list[bytes] = []

    def read() -> bytes:
        if not kept:
            kept.append(fetch())
        return kept[0]

    return EncodedImage(name, read)


def unreadable(name: str, error: Exception) -> EncodedImage:
    """An image that fails with this error."""

    def fail() -> NoReturn:
        raise error

    return EncodedImage(name, fail)
