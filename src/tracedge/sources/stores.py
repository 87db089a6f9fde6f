"""Files in stores that fsspec reaches: s3://, gs://, https://, memory:// and the like."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from tracedge.errors import DataError, MissingExtraError, SettingsError, TracedgeError
from tracedge.sources.member import MAX_BYTES, reason


def is_url(name: str) -> bool:
    """Whether a name is that of a store, and not a path of this machine.

    >>> is_url("s3://bucket/a.jpg"), is_url("photos/a.jpg")
    (True, False)
    """
    return "://" in name


def is_web(name: str) -> bool:
    """Whether a name is an address of the web: files alone, whose names hold any sign, and a query after them.

    >>> is_web("https://a.org/b.jpg?size=2"), is_web("s3://bucket/a.jpg")
    (True, False)
    """
    return name.lower().startswith(("http://", "https://"))


def is_pattern(name: str) -> bool:
    """Whether a name means several by `*`, `?` or `[`.

    >>> is_pattern("s3://bucket/*.jpg"), is_pattern("https://a.org/b.jpg?size=2")
    (True, False)
    """
    return glob.has_magic(name) and not is_web(name)


def without_query(name: str) -> str:
    """An address of the web without what follows its path; any other name as it is.

    >>> without_query("https://a.org/b.tar?by=c/d#e"), without_query("what?.tar")
    ('https://a.org/b.tar', 'what?.tar')
    """
    return re.split("[?#]", name, maxsplit=1)[0] if is_web(name) else name


def local_path(url: str) -> str:
    """The path that a file:// URL means; any other name is given back as it is.

    >>> local_path("file:///data/a%20b.jpg")
    '/data/a b.jpg'
    """
    return unquote(urlsplit(url).path) if url.startswith("file://") else url


def store(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        SettingsError: a chain of stores, or a protocol that fsspec does not know.
        MissingExtraError: the package that reaches this store is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(f"{url} needs fsspec: pip install 'tracedge[ray]'.") from error
    if "::" in url:
        raise SettingsError(f"{url} is a chain of stores: give the URL of the file itself.")
    try:
        with naming(url):
            system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"{url} cannot be reached: {error}.") from error
    return system, path


@contextmanager
def naming(url: str) -> Iterator[None]:
    """Within the block a store raises what it likes, often without saying where; here it is said.

    Raises:
        SettingsError: "URL cannot be reached: ...".
    """
    try:
        yield
    except (TracedgeError, ImportError):
        raise
    except Exception as error:
        raise SettingsError(f"{without_query(url)} cannot be reached: {reason(error)}.") from error


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """A file of this machine or of a store, to be read.

    Raises:
        DataError: it is no file. OSError: it cannot be opened.
    """
    if is_url(name):
        system, path = store(name)
        with system.open(path, "rb") as stream:
            yield stream
        return
    if not Path(name).is_file():  # a pipe would be waited for
        raise DataError(f"{name} is not a file.")
    with Path(name).open("rb") as stream:
        yield stream


def read_bytes(name: str) -> bytes:
    """All bytes of an image.

    Raises:
        DataError: it is no file, or of more than `MAX_BYTES`. OSError: it cannot be read.
    """
    with opened(name) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DataError(f"{name} has more than {MAX_BYTES} bytes, expected an encoded image.")
    return data
