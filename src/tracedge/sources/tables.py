"""Parquet files: a column of encoded images, as Hugging Face's data sets keep them, or of their paths.

A cell is bytes; a struct of `bytes` and `path`, of which either may be missing; or text: a URL, or a path relative to the
file. Paths that are absolute or lead out of the folder of the file are failures: whoever made the table does not choose
what is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tracedge.errors import DataError, MissingExtraError, SettingsError, TracedgeError
from tracedge.images import EncodedImage
from tracedge.sources.member import Member, fetched, held, reason, torn, unreadable
from tracedge.sources.names import Names, image_suffix
from tracedge.sources.stores import is_url, opened, read_bytes, without_query

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".parquet",)
IMAGE_COLUMNS = (
    *("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes"),
    *("image_path", "path", "file_name", "file", "image_url", "url"),
)
ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Columns:
    """Which columns of a parquet file are read.

    image: of the images; None: the first of `IMAGE_COLUMNS` that there is. name: of the names of outputs; None, or where a
    row has none: the number of the row.
    """

    image: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Rows:
    """A `Part`: some row groups of one file. groups: which. first: the number of their first row in the file."""

    name: str
    prefix: PurePosixPath
    columns: Columns
    groups: tuple[int, ...]
    first: int

    def tasks(self) -> Iterator[Member]:
        """Its images, row by row."""
        names, images = Names(self.prefix), 0
        try:
            with opened(self.name) as stream:
                for number, row in enumerate(self._rows(stream), start=self.first):
                    source, path = _image_of(row[str(self.columns.image)], self.name, number)
                    called = _called(row[self.columns.name] if self.columns.name is not None else None, number)
                    yield Member(source, names.of(called), image_suffix(without_query(path) or called))
                    images += 1
        except Exception as error:  # of arrow, or of a store
            yield Member(torn(self.name, images, error), self.prefix, ".parquet")

    def _rows(self, stream: Any) -> Iterator[Mapping[str, Any]]:
        wanted = [name for name in (self.columns.image, self.columns.name) if name is not None]
        batches = _parquet().ParquetFile(stream).iter_batches(ROWS_AT_ONCE, row_groups=self.groups, columns=wanted)
        for batch in batches:
            yield from batch.to_pylist()


def parts_of(name: str, prefix: PurePosixPath, columns: Columns) -> list[Rows]:
    """The parts of a file, one for each row group; where a column names the outputs, the whole file, since a name may return.

    Raises:
        DataError: it cannot be read, or is no parquet file. SettingsError: it does not exist, it lacks a column, or it holds
        no images. MissingExtraError: pyarrow is not installed.
    """
    try:
        with opened(name) as stream:
            file = _parquet().ParquetFile(stream)
            schema, metadata = file.schema_arrow, file.metadata
    except TracedgeError:
        raise
    except FileNotFoundError as error:
        raise SettingsError(f"{name} does not exist, expected a file.") from error
    except Exception as error:  # of arrow, or of a store
        raise DataError(f"{name} is not a readable parquet file: {reason(error)}.") from error
    chosen = Columns(_image_column(schema, columns.image, name), columns.name)
    if chosen.name is not None and chosen.name not in schema.names:
        raise SettingsError(f"{name} has no column {chosen.name!r}, its columns are {', '.join(schema.names)}.")
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if chosen.name is not None:
        return [Rows(name, prefix, chosen, tuple(range(len(sizes))), 0)] if sizes else []
    if len(sizes) == 1:
        return [Rows(name, prefix, chosen, (0,), 0)]
    return [Rows(name, prefix / f"{group:05d}", chosen, (group,), sum(sizes[:group])) for group in range(len(sizes))]


def _image_column(schema: pyarrow.Schema, asked: str | None, file: str) -> str:
    column = asked or next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    listed = ", ".join(schema.names)
    if column is None:
        raise SettingsError(f"{file} has the columns {listed}: say which one holds the images by --image-column.")
    if column not in schema.names:
        raise SettingsError(f"{file} has no column {column!r}, its columns are {listed}.")
    kind = schema.field(column).type
    if not _holds_images(kind):
        raise SettingsError(f"the column {column!r} of {file} is of {kind}, expected bytes, text or both in a struct.")
    return column


def _holds_images(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):  # as pandas writes categories
        kind = kind.value_type
    if types.is_struct(kind):
        return {field.name for field in kind} >= {"bytes"} or {field.name for field in kind} >= {"path"}
    plain = (types.is_binary, types.is_large_binary, types.is_string, types.is_large_string)
    return any(is_it(kind) for is_it in plain)


def _called(cell: Any, number: int) -> str:
    """The name that a row gives its outputs: the number of the row where it says none."""
    name = cell.decode(errors="replace") if isinstance(cell, bytes) else "" if cell is None else str(cell)
    return name if name.strip() else f"{number:08d}"


def _image_of(cell: Any, file: str, number: int) -> tuple[EncodedImage, str]:
    """The image of a cell, and the path that it gives itself, or ""."""
    name = f"{file}, row {number}"
    path = ""
    if isinstance(cell, dict):
        path = cell.get("path") or ""
        cell = cell.get("bytes") or path
    if isinstance(cell, bytes) and cell:
        return held(name, cell), path
    if isinstance(cell, str) and cell:
        try:
            place = _place_of(cell, file)
        except DataError as error:
            return unreadable(name, error), cell
        return fetched(f"{cell} ({name})", lambda: read_bytes(place)), cell
    return unreadable(name, DataError(f"{name} holds no image.")), path


_STORES = frozenset(
    (
        "http",
        "https",
        "s3",
        "s3a",
        "gs",
        "gcs",
        "az",
        "abfs",
        "abfss",
        "hf",
        "oss",
        "hdfs",
        "webhdfs",
        "ftp",
        "sftp",
        "memory",
    )
)
"""What a row may name. Others reach files of this machine: file, local, dir, zip, and what is chained by "::"."""


def _place_of(path: str, file: str) -> str:
    """Where a path of a row leads.

    Raises:
        DataError: out of the folder of the file.
    """
    if is_url(path) and path.split("://")[0].lower() in _STORES and "::" not in path:
        return path
    parts = PurePosixPath(path).parts
    if is_url(path) or not parts or PurePosixPath(path).is_absolute() or Path(path).is_absolute() or ".." in parts:
        raise DataError(f"{path} leads out of the folder of {file}: write paths relative to it, or URLs of a store.")
    if is_url(file):
        return f"{without_query(file).rsplit('/', 1)[0]}/{path}"
    folder = Path(file).parent
    if not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path} leads out of the folder of {file} by a link.")
    return str(folder / path)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("parquet files need pyarrow: pip install 'tracedge[ray]'.") from error
    return parquet
