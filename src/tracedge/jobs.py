"""What a folder run is to do: which images, and where under the output folder each result goes."""

from __future__ import annotations

import glob
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NoReturn, Protocol

from tracedge.errors import RunError, SettingsError
from tracedge.images import IMAGE_SUFFIXES

_LOOKED_FOR = f"looked for names ending in {', '.join(sorted(IMAGE_SUFFIXES))}"


class Task(Protocol):
    """What a folder run does one after the other: a photo (`Job`), or whatever else has a name and a content."""

    @property
    def source(self) -> Any:
        """What it is loaded from, and what it is called in sentences."""

    @property
    def relative(self) -> PurePosixPath:
        """Where its outputs go under the output folder, without a suffix."""

    @property
    def file(self) -> str:
        """Its name in the manifest."""

    def content_hash(self) -> str | None:
        """The same as long as its content is the same; None if there is none to be had: then loading it will say why."""


@dataclass(frozen=True)
class Job:
    """One image of a folder run.

    Args:
        source: the image file.
        relative: where its outputs go under the output folder, without a suffix: "trips/2024/beach".

    Raises:
        RunError: `relative` is empty, absolute or would leave the output folder.
    """

    source: Path
    relative: PurePosixPath

    def __post_init__(self) -> None:
        parts = self.relative.parts
        if not parts or self.relative.is_absolute() or ".." in parts or "\0" in str(self.relative):
            raise RunError(f"{self.source} would be written as {str(self.relative)!r}, outside of the output folder.")

    @property
    def file(self) -> str:
        """The name of the image in the manifest: `relative` with the suffix of the source."""
        return f"{self.relative}{self.source.suffix}"

    def content_hash(self) -> str | None:
        """SHA-256 of the file's bytes, None if there are none to read."""
        if not self.source.is_file():  # a pipe would be waited for
            return None
        try:
            with self.source.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            return None


def find_images(inputs: Iterable[str | os.PathLike[str]], *, output: str | os.PathLike[str] | None = None) -> list[Job]:
    """Find the images of a run and where their results go.

    - A file is taken whatever its suffix; its results are named by its stem.
    - A folder is searched through all its subfolders, in sorted order, for the suffixes of images; the tree of folders
      is mirrored in the output. Hidden files and folders are left out, linked folders are not entered, and
      a linked file counts only if it lies in the folder itself.
    - Anything else is a pattern of `Path.glob` ("photos/**/*.jpg"); its matches count as if its fixed part ("photos")
      were the folder.
    - A file found twice counts once, where it was found first.

    Args:
        inputs: files, folders and patterns.
        output: the output folder: left out of the search where it lies inside of an input folder.

    Returns:
        At least one job; no two write the same file, not even where upper and lower case are one.

    Raises:
        SettingsError: an input that does not exist, a pattern without a match, no image at all, or an input folder that
            is the output folder.
        RunError: two images whose results would have the same name, or a folder that cannot be listed.
    """
    entries = [Path(entry) for entry in inputs]
    left_out = Path(output).resolve() if output is not None else None
    jobs: dict[Path, Job] = {}
    for entry in entries:
        for job in _jobs_of(entry, left_out):
            jobs.setdefault(job.source.parent.resolve() / job.source.name, job)
    if not jobs:
        raise SettingsError(f"no images found in {', '.join(map(str, entries)) or 'no inputs'}: {_LOOKED_FOR}.")
    found = list(jobs.values())
    refuse_collisions(found, ("",))
    return found


def output_name(job: Task, suffix: str) -> str:
    """The name of an output below the output folder: `relative` and the suffix, in the folder that the suffix begins with.

    >>> output_name(Job(Path("in/a.jpg"), PurePosixPath("trips/a")), ".png")
    'trips/a.png'
    >>> output_name(Job(Path("in/a.jpg"), PurePosixPath("trips/a")), "labels/.txt")
    'labels/trips/a.txt'
    """
    folder, slash, ending = suffix.rpartition("/")
    return f"{folder}{slash}{job.relative}{ending}"


def is_suffix(output: str) -> bool:
    """Whether it says what the name of an output ends in: ".png", or "labels/.txt" in a folder of its own."""
    *folders, suffix = output.split("/")
    plain = not {"", ".", ".."} & set(folders) and not any(character in output for character in "\\\0")
    return plain and suffix.startswith(".") and len(suffix) > 1


def refuse_collisions(jobs: Iterable[Task], suffixes: Sequence[str]) -> None:
    """Raise `RunError` if two jobs would write one name, also where a file system ignores case or Unicode form."""
    owners: dict[str, Task] = {}
    for job in jobs:
        for suffix in suffixes:
            name = output_name(job, suffix)
            owner = owners.setdefault(folded(name), job)
            if owner is not job:
                raise RunError(
                    f"{owner.source} and {job.source} would both be written as {name}: "
                    "rename one, or run them into two output folders."
                )


def folded(name: str) -> str:
    """A name as the least careful file system sees it: two names that fold to one may be one file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _jobs_of(entry: Path, left_out: Path | None) -> list[Job]:
    if entry.is_dir():
        return _jobs_under(entry, _walk(entry), left_out)
    if entry.exists():
        return [Job(entry, PurePosixPath(entry.stem))]
    magic = [place for place, part in enumerate(entry.parts) if glob.has_magic(part)]
    if not magic:
        raise SettingsError(f"{entry} does not exist: expected an image file, a folder of images or a pattern.")
    folder, pattern = Path(*entry.parts[: magic[0]]), PurePath(*entry.parts[magic[0] :])
    jobs = _jobs_under(folder, folder.glob(str(pattern)), left_out)
    if not jobs:
        raise SettingsError(f"the pattern {entry} matches no image: {_LOOKED_FOR}.")
    return jobs


def _jobs_under(folder: Path, files: Iterable[Path], left_out: Path | None) -> list[Job]:
    root = folder.resolve()
    if root == left_out:
        raise SettingsError(f"{folder} is input and output at once: choose another output folder.")
    if left_out is not None and not left_out.is_relative_to(root):
        left_out = None  # an output folder above the images holds them, and leaves none of them out
    jobs = [
        Job(file, PurePosixPath(file.relative_to(folder).with_suffix("").as_posix()))
        for file in files
        if _is_wanted(file, file.relative_to(folder), root, left_out)
    ]
    return sorted(jobs, key=lambda job: (job.relative.parts, job.source.suffix))


def _walk(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder, onerror=_refuse_unreadable):
        yield from (Path(where, name) for name in names)


def _is_wanted(file: Path, relative: Path, root: Path, left_out: Path | None) -> bool:
    if file.suffix.lower() not in IMAGE_SUFFIXES or any(part.startswith(".") for part in relative.parts):
        return False
    if file.parent.resolve() != (root / relative).parent:  # by a linked folder, which may lead out or round in a circle
        return False
    target = file.resolve()
    inside = target.is_relative_to(root) and not (left_out is not None and target.is_relative_to(left_out))
    return inside and target.is_file()


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise RunError(f"the folder {error.filename} cannot be listed: {error.strerror}.") from error
