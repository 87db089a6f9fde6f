"""Which images of a data set are used: a list of ids, a seeded sample, the first so many."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tracedge.errors import DataError, SettingsError
from tracedge.export.coco_reader import read_coco_images
from tracedge.images import IMAGE_SUFFIXES

Key = TypeVar("Key", bound=Hashable)

_SUFFIXES = IMAGE_SUFFIXES | {".mat"}
_NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Wanted:
    """An image that a list names.

    name: with its folders, "/" between them, and without its suffix. number: what a COCO file says, or a line that is nothing
    but a number; None of other lines.
    """

    name: str
    number: int | None = None

    @property
    def stem(self) -> str:
        """The name without folders."""
        return self.name.rsplit("/", 1)[-1]


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
        """The names that are used, in the order of the names.

        A line of `ids` is the image of that whole name; if there is none and it is a number, the image of that key; else the one
        image whose name ends as the line does, or the line as its name ("1" or "x/a/1" for "a/1"); else the image of its key.

        Args:
            images: name, relative and without suffix -> its key.
            what: the images, for messages: "val2014 of coco".
            key_of: a line of `ids` -> its key; None: images have none.

        Raises:
            DataError: a list that cannot be read, or one with images that are not there, or with a name that is that of several;
                a sample of more than there are.
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

    A .json is a COCO file: its images. Any other file is text: an id, or a file name with or without folders and suffix a line;
    empty lines and those that begin with # are passed over.

    Raises:
        DataError: a file that cannot be read, or that names no image.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        wanted = [Wanted(_without_suffix(image.file_name), number) for number, image in read_coco_images(path).items()]
    else:
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as a list of ids: {error}.") from error
        lines = [line for line in lines if line and not line.startswith("#")]
        wanted = [Wanted(_without_suffix(line), int(line) if _NUMBER.fullmatch(line) else None) for line in lines]
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


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path)


def _listed(
    path: Path, images: Mapping[str, Key], what: str, key_of: Callable[[Wanted], Key | None] | None
) -> list[str]:
    by_key = {key: name for name, key in images.items()}
    by_stem: dict[str, list[str]] = {}
    for each in images:
        by_stem.setdefault(each.rsplit("/", 1)[-1], []).append(each)

    def named_by_key(wanted: Wanted) -> str | None:
        key = None if key_of is None else key_of(wanted)
        return None if key is None else by_key.get(key)

    found: set[str] = set()
    unknown: list[str] = []
    for wanted in read_ids(path):
        name: str | None = wanted.name if wanted.name in images else None
        if name is None and wanted.number is not None:
            name = named_by_key(wanted)
        if name is None:
            alike = [one for one in by_stem.get(wanted.stem, ()) if ends_alike(one, wanted.name)]
            if len(alike) > 1:
                raise DataError(
                    f"{path} names {wanted.name}, but {len(alike)} of the {len(images)} images of {what} are called so "
                    f"({_first(alike)}): give their folders too."
                )
            name = alike[0] if alike else named_by_key(wanted)
        if name is None:
            unknown.append(wanted.name)
        else:
            found.add(name)
    if unknown:
        raise DataError(
            f"{path} names {len(unknown)} images that are not among the {len(images)} of {what}: {_first(unknown)}."
        )
    return sorted(found)


def ends_alike(one: str, other: str) -> bool:
    """Whether one of two names is the end of the other, folder by folder."""
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
