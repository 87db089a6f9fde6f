"""Which images of a data set are used: a list of ids, a seeded sample, the first so many."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tracedge.errors import DataError, SettingsError
from tracedge.export.coco_reader import read_coco_images
from tracedge.images import IMAGE_SUFFIXES

Key = TypeVar("Key", bound=Hashable)

_SUFFIXES = IMAGE_SUFFIXES | {".mat"}


@dataclass(frozen=True)
class Wanted:
    """An image that a list names: its stem, and its number where the list is a COCO file, else None."""

    stem: str
    number: int | None = None


@dataclass(frozen=True)
class Selection:
    """The images to use; what is left out is None. They are chosen in this order: `ids`, then `sample`, then `limit`.

    Attributes:
        ids: a file that names images; see `read_ids`.
        sample: this many of them, drawn at random by `sample_seed`: the images whose SHA-256 of "seed:stem" is smallest. So a
            sample is the same on every machine, and a smaller one is a part of a larger one.
        sample_seed: another number is another sample.
        limit: the first so many, in the order of the names.

    Raises:
        SettingsError: a number below 1.

    >>> Selection(sample=2).choose({"a": 1, "b": 2, "c": 3, "d": 4}, "letters")
    ['a', 'd']
    >>> Selection(sample=2, sample_seed=3).choose({"a": 1, "b": 2, "c": 3, "d": 4}, "letters")
    ['a', 'b']
    """

    ids: Path | None = None
    sample: int | None = None
    sample_seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("sample", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is a number of images, 1 or more; got {value}.")

    def choose(
        self, images: Mapping[str, Key], what: str, key_of: Callable[[Wanted], Key | None] | None = None
    ) -> list[str]:
        """The stems that are used, in the order of the stems.

        Args:
            images: stem -> its key, by which a line of `ids` that is no stem is looked up.
            what: the images, for messages: "val2014 of coco".
            key_of: a line of `ids` -> its key; None: lines are stems.

        Raises:
            DataError: a list that cannot be read, or one with images that are not there; a sample of more than there are.
        """
        stems = sorted(images)
        if self.ids is not None:
            stems = _listed(self.ids, images, what, key_of)
        if self.sample is not None:
            if self.sample > len(stems):
                raise DataError(
                    f"A sample of {self.sample} images was asked for, but there are {len(stems)} of {what}."
                )
            stems = sorted(sorted(stems, key=self._rank)[: self.sample])
        return stems[: self.limit]

    @property
    def provenance(self) -> dict[str, object]:
        """What was asked for, of JSON's types: the content of the list of ids, not where it lies."""
        if self.ids is None:
            ids = None
        else:
            ids = {"name": self.ids.name, "content": hashlib.sha256(self.ids.read_bytes()).hexdigest()[:16]}
        seed = self.sample_seed if self.sample is not None else None
        return {"ids": ids, "sample": self.sample, "sample_seed": seed, "limit": self.limit}

    def _rank(self, stem: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{self.sample_seed}:{stem}".encode()).digest(), stem


def read_ids(path: str | os.PathLike[str]) -> list[Wanted]:
    """The images that a file names, each once, in its order.

    A .json is a COCO file: its images. Any other file is text: an id, a stem or a file name a line (folders and suffixes are
    cut off); empty lines and those that begin with # are passed over.

    Raises:
        DataError: a file that cannot be read, or that names no image.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        wanted = [Wanted(_stem(image.file_name), number) for number, image in read_coco_images(path).items()]
    else:
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as a list of ids: {error}.") from error
        wanted = [Wanted(_stem(line)) for line in lines if line and not line.startswith("#")]
    if not wanted:
        raise DataError(f"{path} names no image: expected an id or a file name a line, or a COCO .json.")
    return list(dict.fromkeys(wanted))


def refuse_missing(missing: Sequence[str], of: int, what: str, looked_in: Sequence[object]) -> None:
    """Say how many of the chosen images lack a file or a record, where it was looked for, and the first of them.

    Raises:
        DataError: if any does.
    """
    if missing:
        places = " and ".join(map(str, looked_in))
        raise DataError(f"{len(missing)} of {of} images have no {what}: {missing[0]} is the first; looked in {places}.")


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return Path(last).stem if Path(last).suffix.lower() in _SUFFIXES else last


def _listed(
    path: Path, images: Mapping[str, Key], what: str, key_of: Callable[[Wanted], Key | None] | None
) -> list[str]:
    by_key = {key: stem for stem, key in images.items()}
    found, unknown = set(), []
    for wanted in read_ids(path):
        stem = wanted.stem if wanted.stem in images else None
        if stem is None and key_of is not None and (key := key_of(wanted)) is not None:
            stem = by_key.get(key)
        if stem is None:
            unknown.append(wanted.stem)
        else:
            found.add(stem)
    if unknown:
        listed = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise DataError(f"{path} names {len(unknown)} images that are not among the {len(images)} of {what}: {listed}.")
    return sorted(found)
