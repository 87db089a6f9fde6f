"""Files, of this machine or of a store, as parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from tracedge.jobs import Job
from tracedge.sources.member import Member, fetched
from tracedge.sources.names import image_suffix
from tracedge.sources.stores import read_bytes, without_query


@dataclass(frozen=True)
class LocalFiles:
    """A `Part`: some files of this machine, or of a file system that all workers share."""

    jobs: tuple[Job, ...]
    prefix: None = None

    def tasks(self) -> Iterator[Job]:
        """They themselves."""
        return iter(self.jobs)


@dataclass(frozen=True)
class StoredFiles:
    """A `Part`: some files of a store. files: the URL of each, and where its outputs go."""

    files: tuple[tuple[str, PurePosixPath], ...]
    prefix: None = None

    def tasks(self) -> Iterator[Member]:
        """Each is fetched when it is looked at."""
        for url, relative in self.files:
            yield Member(fetched(url, partial(read_bytes, url)), relative, image_suffix(without_query(url)))
