"""webdataset shards: tar archives of images, read from front to back and never unpacked.

Of a sample's files (`0001.jpg`, `0001.json`) only the images count. Links by the name of an image are failures. What is
torn off or damaged is a failure of the archive itself, after all the members before it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Literal, Self

from tracedge.errors import DataError
from tracedge.images import EncodedImage
from tracedge.sources.member import MAX_BYTES, Member, held, torn, unreadable
from tracedge.sources.names import Names, image_suffix
from tracedge.sources.stores import opened, without_query

SUFFIXES = (".tar", ".tar.gz", ".tgz")
LONGEST_HEADER = 2**20  # bytes of a long name or of extended fields; they are read into memory

_WITHOUT_LINKS = "pack the files themselves, by tar --dereference --hard-dereference"
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


@dataclass(frozen=True)
class Shard:
    """A `Part`: one archive. name: its path or URL. prefix: where the outputs of its members go."""

    name: str
    prefix: PurePosixPath

    def tasks(self) -> Iterator[Member]:
        """Its images in the order of the archive."""
        names, images = Names(self.prefix), 0
        try:
            with opened(self.name) as stream:
                for member, source in _images(stream, self.name):
                    yield Member(source, names.of(member), image_suffix(member))
                    images += 1
        except Exception as error:  # of tarfile, of a decompressor, of a store
            yield Member(torn(self.name, images, error), self.prefix, _suffix(self.name))


class _Header(tarfile.TarInfo):
    """A header that says so when it is not there: `tarfile` takes a torn archive for one that has ended."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise DataError(f"a header at byte {archive.offset} is damaged or cut off ({error})") from error

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _LONG and header.size > LONGEST_HEADER):
            raise tarfile.HeaderError(f"it claims {header.size} bytes")
        return header


def _images(stream: IO[bytes], archive: str) -> Iterator[tuple[str, EncodedImage]]:
    mode: Literal["r:", "r:gz"] = "r:" if _suffix(archive) == ".tar" else "r:gz"
    # Not tarfile's streams ("r|"): those walk to the end of what a header claims, be it terabytes.
    with tarfile.open(fileobj=stream, mode=mode, tarinfo=_Header) as tar:
        before = -1
        while (header := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would remember them all
            if header.size < 0 or header.offset <= before:  # by an extended header: it would go round for ever
                raise DataError(f"the header at byte {header.offset} claims {header.size} bytes")
            before = header.offset
            is_link = header.issym() or header.islnk()
            if not (header.isreg() or is_link) or not _is_wanted(header.name):
                continue
            name = f"{archive}/{header.name}"
            if is_link:  # it may lead back to what was read, or out of the archive
                error = DataError(f"{name} is a link to {header.linkname}, which is not followed: {_WITHOUT_LINKS}.")
                yield header.name, unreadable(name, error)
                continue
            if header.size > MAX_BYTES:
                error = DataError(f"{name} has {header.size} bytes, expected an encoded image of at most {MAX_BYTES}.")
                yield header.name, unreadable(name, error)
                continue
            content = tar.extractfile(header)
            assert content is not None  # a regular member has content
            yield header.name, held(name, content.read())


def _is_wanted(name: str) -> bool:
    """By the rules of folders: the suffix of an image, and not hidden."""
    hidden = any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
    return bool(image_suffix(name)) and not hidden


def _suffix(name: str) -> str:
    return next(suffix for suffix in SUFFIXES if without_query(name).lower().endswith(suffix))
