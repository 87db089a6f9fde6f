"""The names of images, relative to their folder with "/" and suffix: each its own, and said when something goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
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
    """A name for each path that no other has, for files: its last part, or as many of its last parts as tell it from the others.

    >>> short_names(["a/val", "b/val", "b/test"])
    {'a/val': 'a-val', 'b/val': 'b-val', 'b/test': 'test'}
    """
    parts = {path: PurePath(path).parts for path in paths}
    found: dict[str, str] = {}
    for path, own in parts.items():
        others = [other for name, other in parts.items() if name != path]
        most = next(
            (n for n in range(1, len(own)) if all(_end(own, n) != _end(other, n) for other in others)), len(own)
        )
        name = "-".join(part.strip("/\\:") for part in own[-most:]).strip("-") or "data"
        taken = {other.casefold() for other in found.values()}
        found[path] = next(each for each in _numbered(name) if each.casefold() not in taken)
    return found


def _end(parts: Sequence[str], most: int) -> list[str]:
    """The last parts, as the least careful file system sees them."""
    return [part.casefold() for part in parts[-most:]]


def _numbered(name: str) -> Iterator[str]:
    """The name, and the name with each number."""
    yield name
    yield from (f"{name}-{number}" for number in count(2))


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
