"""Inputs -> parts. What can be refused before any work is refused here."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tracedge.errors import DataError, RunError, SettingsError
from tracedge.jobs import Job, find_images, folded, refuse_collisions
from tracedge.sources import shards, tables
from tracedge.sources.braces import expanded, has_braces
from tracedge.sources.files import LocalFiles, StoredFiles
from tracedge.sources.member import Member, Part, Unreadable, unreadable
from tracedge.sources.names import image_suffix, safe_name
from tracedge.sources.stores import is_pattern, is_url, is_web, local_path, naming, store, without_query
from tracedge.sources.tables import Columns

FILES_AT_ONCE = 8
"""Most files of one part: few, so that all workers have some to the end."""


@dataclass(frozen=True)
class _Archive:
    """An archive, and where the outputs of its members go."""

    name: str
    prefix: PurePosixPath


def find_parts(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str] | None = None,
    columns: Columns | None = None,
    files_at_once: int = FILES_AT_ONCE,
) -> list[Part]:
    """Find what a run reads, and where its results go.

    - Files, folders and patterns of images, as `find_images` takes them; with s3://, gs://, https:// or memory:// in front
      those of a store.
    - Names and patterns that end in .tar, .tar.gz, .tgz: webdataset shards. The outputs of a.tar go to a/, named by its
      members; they are named as the member is, made safe (`names.py`).
    - Names and patterns that end in .parquet: tables. The outputs of a.parquet go to a/, named by the number of the row.
    - Braces stand for several names, "shards/{000..099}.tar"; the tree of folders is mirrored from the first pattern or
      brace on.

    Args:
        inputs: all of them in any mixture.
        output: the output folder: left out of the search where it lies inside of an input folder.
        columns: of parquet files.
        files_at_once: most files of one part.

    Returns:
        The parts; no two write the same file. A table that cannot be read is a part that fails, and the others go on.

    Raises:
        SettingsError: an input that does not exist or that means no file, columns without a table, or that a table lacks.
        DataError: no input can be read.
        RunError: two inputs whose results would have the same names.
    """
    names = [one for entry in inputs for one in _said(local_path(os.fspath(entry)))]
    archives = list(dict.fromkeys(archive for name, fixed in names for archive in _archives_of(name, fixed)))
    images = [name for name, _ in names if not _is_archive(name)]
    if columns not in (None, Columns()) and not any(_is_table(archive.name) for archive in archives):
        raise SettingsError("--image-column and --name-column are of parquet files: no input is one.")
    local = [name for name in images if not is_url(name)]
    jobs = find_images(local, output=output) if local or not (images or archives) else []
    stored = [file for name in images if is_url(name) for file in _stored(name)]
    _refuse_collisions(jobs, stored, archives)
    parts: list[Part] = [
        *(LocalFiles(tuple(jobs[at : at + files_at_once])) for at in range(0, len(jobs), files_at_once)),
        *(StoredFiles(tuple(stored[at : at + files_at_once])) for at in range(0, len(stored), files_at_once)),
        *_archive_parts(archives, columns or Columns()),
    ]
    _refuse_nothing_readable(parts)
    return parts


def _said(entry: str) -> Iterator[tuple[str, str]]:
    """The names that an input means, each with its fixed part: the folder above the first brace or pattern, with its "/"."""
    is_itself = not is_url(entry) and Path(entry).exists()
    several, path = has_braces(entry) and not is_itself, without_query(entry)
    signs = ("*?[" if is_pattern(entry) and not is_itself else "") + ("{" if several else "")
    first = min((path.find(sign) for sign in signs if sign in path), default=len(path))
    fixed = path[: path.rfind("/", 0, first) + 1]
    for name in expanded(entry) if several else [entry]:
        yield name, fixed


def _is_archive(name: str) -> bool:
    is_folder = not is_url(name) and Path(name).is_dir()
    return without_query(name).lower().endswith((*shards.SUFFIXES, *tables.SUFFIXES)) and not is_folder


def _is_table(name: str) -> bool:
    return without_query(name).lower().endswith(tables.SUFFIXES)


def _archives_of(name: str, fixed: str) -> list[_Archive]:
    if not _is_archive(name):
        return []
    if is_url(name):
        itself = (name, without_query(name).removeprefix(fixed))
        found = _stored_matches(name, fixed) if is_pattern(name) else [itself]
    else:
        found = [(match, match.removeprefix(fixed)) for match in _matches(name)]
    if not found:
        raise SettingsError(f"the pattern {name} matches no file.")
    return [_Archive(file, _prefix(relative)) for file, relative in found]


def _matches(name: str) -> list[str]:
    """The files of this machine that a name means, itself or a pattern; those that turn out unreadable fail later on."""
    if glob.has_magic(name) and not Path(name).exists():
        return [match for match in sorted(glob.glob(name, recursive=True)) if not Path(match).is_dir()]  # noqa: PTH207
    if not Path(name).is_file():
        raise SettingsError(f"{name} does not exist, expected a file.")
    return [name]


def _stored_matches(pattern: str, fixed: str) -> list[tuple[str, str]]:
    """The URLs of a store that fit a pattern, and their names below its fixed part."""
    system, path = store(pattern)
    above = store(fixed)[1].rstrip("/") + "/"
    with naming(pattern):
        matches = sorted(system.glob(path))
    return [(system.unstrip_protocol(found), found.removeprefix(above)) for found in matches]


def _prefix(name: str) -> PurePosixPath:
    suffix = next(suffix for suffix in (*shards.SUFFIXES, *tables.SUFFIXES) if name.lower().endswith(suffix))
    return safe_name(name[: -len(suffix)])


def _stored(name: str) -> list[tuple[str, PurePosixPath]]:
    """The images of a store that a name means, a folder, a pattern or one file, and where their outputs go."""
    system, path = store(name)
    with naming(name):
        if is_pattern(name):
            found, root = system.glob(path), path[: path.rfind("/", 0, min(map(path.find, filter(path.count, "*?["))))]
        elif (name.endswith("/") or not is_web(name)) and system.isdir(
            path
        ):  # the web would be asked for the whole file
            found, root = system.find(path), path.rstrip("/")
        else:
            return [(name, safe_name(_called(name)))]
    wanted = [one for one in sorted(found) if image_suffix(one) and not _is_hidden(one.removeprefix(root))]
    if not wanted:
        raise SettingsError(f"no images found in {name}.")
    return [(system.unstrip_protocol(one), safe_name(one.removeprefix(root))) for one in wanted]


def _called(url: str) -> str:
    """What a URL calls its file; where that is no image's name, its query belongs to it: image?id=1 and image?id=2 are two."""
    path = without_query(url)
    return (path if image_suffix(path) else url)[path.rfind("/") + 1 :].replace("/", "_")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _refuse_collisions(
    jobs: Sequence[Job], stored: Sequence[tuple[str, PurePosixPath]], archives: Sequence[_Archive]
) -> None:
    files: list[Job | Member] = [*jobs, *(Member(unreadable(url, OSError(url)), relative) for url, relative in stored)]
    refuse_collisions(files, ("",))
    refuse_collisions((Member(unreadable(one.name, OSError()), one.prefix) for one in archives), ("",))
    prefixes = {folded(str(archive.prefix)): archive for archive in archives}
    for file in files:
        for above in (file.relative, *file.relative.parents):
            if archive := prefixes.get(folded(str(above))):
                raise RunError(
                    f"{file.source} would be written into {archive.prefix}, the folder of {archive.name}: "
                    "rename one, or run them into two output folders."
                )
    for archive in archives:
        for above in archive.prefix.parents:
            if other := prefixes.get(folded(str(above))):
                raise RunError(f"{archive.name} would be written into the folder of {other.name}: rename one.")


def _archive_parts(archives: Sequence[_Archive], columns: Columns) -> Iterator[Part]:
    for archive in archives:
        if not _is_table(archive.name):
            yield shards.Shard(archive.name, archive.prefix)
            continue
        try:
            yield from tables.parts_of(archive.name, archive.prefix, columns)
        except DataError as error:
            yield Unreadable(archive.name, archive.prefix, ".parquet", str(error))


def _refuse_nothing_readable(parts: Sequence[Part]) -> None:
    reasons = [part.reason for part in parts if isinstance(part, Unreadable)]
    if reasons and len(reasons) == len(parts):
        several = f"none of the {len(reasons)} inputs can be read, the first of them: " if len(reasons) > 1 else ""
        raise DataError(f"{several}{reasons[0]}")
