"""Archives that cannot be read, or not to their end: each fails alone, says so, and is no failure any more once it is mended."""

import pytest

from fake_runs import lines
from fake_work import SUFFIX, MeansWork
from test_sources import png, read, shard, table
from tracedge.errors import DataError, SettingsError
from tracedge.runs import FolderRun, RunSummary
from tracedge.sources import find_parts
from tracedge.work import Local

fsspec = pytest.importorskip("fsspec")


def run(inputs, output, batch_size=1) -> RunSummary:
    with Local() as by:
        settings = by.open(MeansWork(output.with_name("log")))
        with FolderRun(output, settings, (SUFFIX,)) as folder:
            return folder.process_parts(find_parts(list(map(str, inputs))), by, batch_size=batch_size)


def without_footer(path):
    path.write_bytes(path.read_bytes()[:-40])
    return path


def test_a_table_without_its_footer_is_a_failed_line_and_the_others_are_read(tmp_path):
    whole = table(tmp_path / "a.parquet", {"image": [png(1), png(2)]})
    damaged = without_footer(table(tmp_path / "b.parquet", {"image": [png(3)]}))
    summary = run([damaged, whole], tmp_path / "out")
    assert (summary.done, summary.exit_code) == (2, 1)
    ((source, error),) = summary.failed
    assert source == str(damaged) and error.startswith(f"DataError: {damaged} is not a readable parquet file: ")
    assert error.endswith("not a parquet file.")
    written = [(line["file"], line["status"]) for line in lines(tmp_path / "out")]
    assert written == [("b.parquet", "failed"), ("a/00000000", "ok"), ("a/00000001", "ok")]


def test_where_nothing_can_be_read_no_work_begins(tmp_path):
    tables = [without_footer(table(tmp_path / f"{name}.parquet", {"image": [png(1)]})) for name in "ab"]
    with pytest.raises(DataError, match=r"^\S+a\.parquet is not a readable parquet file: [^.].*[^.]\.$"):
        find_parts(tables[:1])
    with pytest.raises(DataError, match=r"^none of the 2 inputs can be read, the first of them: \S+a\.parquet is not"):
        find_parts(tables)


def test_what_a_pattern_finds_and_cannot_open_fails_alone(tmp_path):
    shard(tmp_path / "a.tar", {"x.png": png(1)})
    (tmp_path / "b.tar").symlink_to(tmp_path / "gone")
    (tmp_path / "c.tar").mkdir()
    assert read(tmp_path / "*.tar") == {
        "a/x": 1,
        "b": f"{tmp_path}/b.tar cannot be read to its end: {tmp_path}/b.tar is not a file.",
    }


def test_tables_of_a_store_that_are_not_there_are_said_and_damaged_ones_fail_alone(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/d/a.parquet", table(tmp_path / "a.parquet", {"image": [png(1)]}).read_bytes())
    memory.pipe("/d/b.parquet", b"no table")
    found = read("memory://d/*.parquet")
    assert found.pop("a/00000000") == 1
    assert list(found) == ["b"] and "memory://d/b.parquet is not a readable parquet file" in found["b"].replace(
        ":///", "://"
    )
    with pytest.raises(SettingsError, match=r"memory://d/c\.parquet does not exist"):
        find_parts(["memory://d/a.parquet", "memory://d/c.parquet"])
    memory.rm("/d", recursive=True)


def test_an_error_without_words_is_said_by_its_name(tmp_path, monkeypatch):
    def stop(*_):
        raise EOFError

    path = shard(tmp_path / "a.tar", {"x.png": png(1)})
    monkeypatch.setattr("tarfile.TarFile.next", stop)
    assert read(path) == {"a": f"{path} cannot be read to its end: EOFError."}
