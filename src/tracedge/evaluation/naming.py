"""The names of images, relative to their folder with "/" and suffix: each its own, and said when something goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath, PurePosixPath

from tracedge.errors import DataError, RunError, TracedgeError


def without_suffix(name: str) -> str:
    """By which files about an image are looked up.

    >>> without_suffix("a/1.jpg")
    'a/1'
    """
    return PurePosixPath(name).with_suffix("").as_posix()


def file_stem(name: str) -> str:
    """The same for the name of one file.

    >>> file_stem("a/1.jpg")
    'a-1'
    """
    return without_suffix(name).replace("/", "-")


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """A name for each path that differs from the others: its last part, or all its parts where two have the same last one.

    >>> short_names(["a/val", "b/val", "b/test"])
    {'a/val': 'a-val', 'b/val': 'b-val', 'b/test': 'test'}
    """
    last = Counter(PurePath(path).name.casefold() for path in paths)
    found: dict[str, str] = {}
    for path in paths:
        parts = PurePath(path).parts
        alone = last[PurePath(path).name.casefold()] == 1
        wanted = PurePath(path).name if alone else "-".join(part.strip("/\\:.") for part in parts).strip("-")
        taken, number, name = {other.casefold() for other in found.values()}, 1, wanted or "data"
        while name.casefold() in taken:
            number += 1
            name = f"{wanted or 'data'}-{number}"
        found[path] = name
    return found


@contextmanager
def naming(image: str, doing: str) -> Iterator[None]:
    """Whatever goes wrong inside names the image on which it did.

    Raises:
        RunError: what is raised on purpose, or by the file system, as one sentence. Anything else is a fault of a program: it is
            passed on as it is, with its traceback and a note of the image.
    """
    try:
        yield
    except (TracedgeError, OSError) as error:
        raise RunError(f"Image {image!r}, {doing}: {str(error) or type(error).__name__}") from error
    except Exception as error:
        error.add_note(f"Image {image!r}, {doing}.")
        raise


def refuse_doubles(names: Iterable[str], what: str) -> None:
    """Every image of a data set has a name of its own, by which it is counted once.

    Raises:
        DataError: two images have one name.
    """
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        raise DataError(
            f"{len(doubles)} names of {what or 'the data set'} are those of several images: {doubles[0]!r} is the first; "
            "rename all but one of each."
        )
