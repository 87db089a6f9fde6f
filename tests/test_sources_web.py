"""Addresses of the web: a `?`, `*` or `[` in them is no pattern, and what follows the path says nothing of the file."""

import io
import re
import sys

import pytest

from test_sources import png, read, shard, table
from tracedge.errors import RunError, SettingsError
from tracedge.sources import Columns, find_parts

fsspec = pytest.importorskip("fsspec")
SIGNED = "?by=a/b.tar&key=x*[1]#top"


class Web(fsspec.AbstractFileSystem):
    """A server whose files are these, each under its whole address. It can list nothing."""

    protocol = "https"
    cachable = False
    files: dict[str, bytes] = {}  # noqa: RUF012  # as a server's they are the same for all who ask

    @classmethod
    def _strip_protocol(cls, path):
        return path

    def _open(self, path, mode="rb", **_):
        if path not in self.files:
            raise FileNotFoundError(path)
        return io.BytesIO(self.files[path])

    def ls(self, path, detail=True, **_):
        raise AssertionError(f"{path} is listed")


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(Web, "files", {})
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "https", Web)
    return Web.files


def names(*inputs):
    return [task.file for part in find_parts(list(inputs)) for task in part.tasks()]


@pytest.mark.parametrize("ending", ["", SIGNED])
def test_images_shards_and_tables_with_a_query_are_known_by_their_paths(web, tmp_path, ending):
    web[f"https://h/p/a.JPG{ending}"] = png(1)
    web[f"https://h/p/s.TAR.gz{ending}"] = shard(tmp_path / "s.tar.gz", {"x.png": png(2)}).read_bytes()
    cells = [f"https://h/p/a.JPG{ending}", "b.png"]
    web[f"https://h/p/t.parquet{ending}"] = table(tmp_path / "t.parquet", {"at": cells}).read_bytes()
    web["https://h/p/b.png"] = png(3)
    assert read(*web, columns=Columns("at")) == {"a": 1, "s/x": 2, "t/00000000": 1, "t/00000001": 3, "b": 3}
    assert names(f"https://h/p/a.JPG{ending}") == ["a.JPG"]


def test_signs_of_patterns_in_an_address_are_characters(web):
    web |= {"https://h/a[1].png": png(1), "https://h/*.png": png(2)}
    assert read(*web) == {"a[1]": 1, "_": 2}


def test_braces_in_an_address_mean_several_and_mirror_their_folders(web, tmp_path):
    for name in ("train/0", "train/1", "val/0"):
        web[f"https://h/{name}.tar{SIGNED}"] = shard(tmp_path / "a.tar", {"x.png": png(len(name))}).read_bytes()
    assert set(read(f"https://h/train/{{0..1}}.tar{SIGNED}")) == {"0/x", "1/x"}
    assert set(read(f"https://h/{{train,val}}/0.tar{SIGNED}")) == {"train/0/x", "val/0/x"}


def test_where_the_path_is_no_images_name_the_query_tells_files_apart(web):
    web |= {"https://h/image?id=1": png(1), "https://h/image?id=2&from=/a/b": png(2)}
    assert read(*web) == {"image_id=1": 1, "image_id=2&from=_a_b": 2}
    with pytest.raises(RunError, match="would both be written as a"):
        find_parts(["https://h/a.png?v=1", "https://h/a.png?v=2"])


def test_an_archive_that_is_not_there_is_said(web):
    assert read("https://h/s.tar") == {
        "s": "https://h/s.tar cannot be read to its end after 0 images: it is not there."
    }


def test_a_torn_shard_with_a_query_is_called_by_its_path(web, tmp_path):
    web[f"https://h/s.tar{SIGNED}"] = shard(tmp_path / "s.tar", {"x.png": png(2)}).read_bytes()[:700]
    assert names(f"https://h/s.tar{SIGNED}") == ["s/x.png", "s.tar"]


@pytest.mark.parametrize("name", ["s3://h/a.png", "s3://h/*.png", "s3://h/*.tar"])
def test_a_store_that_cannot_be_reached_is_named(monkeypatch, name):
    class Down(Web):
        protocol = "s3"

        def ls(self, path, detail=True, **_):
            raise OSError("Name or service not known")

        isdir = glob = ls

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", Down)
    with pytest.raises(SettingsError, match=rf"^{re.escape(name)} cannot be reached: Name or service not known\.$"):
        find_parts([name])
