"""Where many images come from: webdataset shards and parquet tables, whose members name themselves."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from fuzz.containers import damaged_parquet, damaged_tar, damaged_tar_gz
from fuzz.contract import Reader, check_message
from tracedge.errors import TracedgeError
from tracedge.images import load_image
from tracedge.jobs import folded
from tracedge.sources import Columns, find_parts

MOST = 10_000


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((8, 6)).convert("RGB").save(stream, format=kind)
    return stream.getvalue()


def shards() -> list[bytes]:
    """As each kind of tar writes them: with names too long for a header, links, a folder, a file of holes."""
    long = "x" * 90 + "/" + "é" * 40 + ".png"
    members = {"0001.jpg": _picture("JPEG"), "0001.json": b"{}", long: _picture("PNG"), "sub/0002.png": _picture("PNG")}
    return [_tar(members, kind) for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)] + [
        _tar({"a.png": _picture("PNG")}, tarfile.USTAR_FORMAT)
    ]


def _tar(members: dict[str, bytes], kind: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
        header = tarfile.TarInfo("link.png")
        header.type, header.linkname = tarfile.LNKTYPE, "0001.jpg"
        tar.addfile(header)
    return stream.getvalue()


def tables() -> list[bytes]:
    """Bytes, structs, paths and categories, in one row group and in several, compressed and not."""
    png = _picture("PNG")
    cells = [png, _picture("JPEG"), None]
    names = ["a", None, "sub/b.png"]
    structs = [{"bytes": png, "path": "x.png"}, {"bytes": None, "path": "there.png"}, None]
    paths = ["there.png", "gone.png", "sub/../there.png"]
    return [
        _parquet({"image": cells, "id": names}, compression="none"),
        _parquet({"image": structs, "id": [1, 2, 3]}, row_group_size=2),
        _parquet({"image": pa.array(paths).dictionary_encode(), "id": pa.array(names).dictionary_encode()}),
        _parquet({"image": cells, "id": names}, data_page_version="2.0", compression="zstd", write_page_index=True),
    ]


def _parquet(columns: dict[str, object], **options: object) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream, **options)
    return stream.getvalue()


def _read(path: Path, columns: Columns | None = None) -> None:
    """Every image has a safe name of its own, and is read or says why not."""
    seen: set[str] = set()
    for part in find_parts([path], columns=columns):
        for task in part.tasks():
            assert task.relative.parts[0] == "a" and ".." not in task.relative.parts
            assert max(len(part.encode()) for part in task.relative.parts) < 255
            assert part.prefix is None or task.relative.is_relative_to(part.prefix)
            assert folded(str(task.relative)) not in seen, f"{task.relative} comes twice"
            seen.add(folded(str(task.relative)))
            _look_at(task.source, str(path.parent))


def _look_at(source: object, folder: str) -> None:
    try:
        assert load_image(source, max_pixels=MOST).shape[2] == 3
    except TracedgeError as error:
        check_message(str(error), (folder, "the picture"))


def _table(path: Path) -> None:
    _read(path)
    _read(path, Columns("image", "id"))


def _beside(folder: Path) -> None:
    (folder / "there.png").write_bytes(_picture("PNG"))


READERS = [
    Reader("tar shard", "a.tar", shards, damaged_tar, _read),
    Reader(
        "tar.gz shard", "a.tar.gz", lambda: [gzip.compress(one, mtime=0) for one in shards()], damaged_tar_gz, _read
    ),
    Reader("parquet table", "a.parquet", tables, damaged_parquet, _table, _beside),
]
