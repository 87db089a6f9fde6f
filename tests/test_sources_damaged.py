"""Archives that cannot be read, or not to their end: each fails alone, says so, and is no failure any more once it is mended."""

from pathlib import Path

import pytest

from fake_runs import lines, photo
from fake_work import SUFFIX, MeansWork
from test_sources import png, read, shard, table
from tracedge.errors import DataError, SettingsError
from tracedge.run_entries import read_entries
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
        "b": f"{tmp_path}/b.tar cannot be read to its end after 0 images: {tmp_path}/b.tar is not a file.",
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
    assert read(path) == {"a": f"{path} cannot be read to its end after 0 images: EOFError."}


def failures(output) -> dict[str, str]:
    return {entry.file: entry.error for entry in read_entries(output) if entry.error}


def torn(path, whole: bytes, end: int) -> Path:
    path.write_bytes(whole[:end])
    return path


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_torn_archive_that_was_mended_is_no_failure_on_a_sheet(tmp_path, batch_size):
    path, out = tmp_path / "a.tar", tmp_path / "out"
    whole = shard(path, {f"{n}.png": png(n) for n in range(9)}).read_bytes()
    for images in (6, 7):  # each is a header and a block of content
        run([torn(path, whole, images * 1024 + 300)], out, batch_size)
        assert f"a.tar cannot be read to its end after {images} images: a header" in failures(out)["a.tar"]
        assert len(read_entries(out)) == images + 1
    summary = run([torn(path, whole, len(whole))], out, batch_size)
    assert (summary.exit_code, summary.failed_before) == (0, ())
    assert not failures(out) and len(read_entries(out)) == 9
    run([torn(path, whole, 2048 + 300)], out, batch_size)
    assert "after 2 images" in failures(out)["a.tar"]


@pytest.mark.parametrize("images", [2, 3])  # a tear behind the last image, and one in it, after a run that had read all
def test_an_archive_that_is_mended_brings_no_image_that_was_not_there(tmp_path, images):
    path, out = tmp_path / "a.tar", tmp_path / "out"
    whole = shard(path, {f"{n}.png": png(n) for n in range(3)}).read_bytes()
    run([path], out)
    run([torn(path, whole, images * 1024 + 300)], out)
    assert list(failures(out)) == ["a.tar"]
    run([torn(path, whole, len(whole))], out)
    assert not failures(out) and len(read_entries(out)) == 3


def test_a_damaged_table_that_was_mended_is_no_failure_on_a_sheet(tmp_path):
    path, out = tmp_path / "a.parquet", tmp_path / "out"
    whole = table(path, {"image": [png(n) for n in range(40)]}, row_group_size=20, compression="none").read_bytes()
    photo(tmp_path / "b.png")
    inputs = [path, tmp_path / "b.png"]
    run([torn(path, whole, 500), inputs[1]], out)
    assert list(failures(out)) == ["a.parquet"]
    path.write_bytes(whole[:4] + bytes(200) + whole[204:])
    run(inputs, out)
    assert "after 0 images" in failures(out)["a/00000.parquet"]
    assert list(failures(out)) == ["a/00000.parquet"]
    path.write_bytes(whole)
    run(inputs, out)
    assert not failures(out) and len(read_entries(out)) == 41


def test_a_torn_archive_stays_a_failure_while_another_of_its_beginning_is_read(tmp_path):
    """Other archives and photos that are read afterwards say nothing of it."""
    path, out = tmp_path / "a.tar", tmp_path / "out"
    torn(path, shard(path, {"0.png": png(0), "1.png": png(1)}).read_bytes(), 1024 + 300)
    run([path, shard(tmp_path / "ab.tar", {"0.png": png(2), "1.png": png(3)})], out)
    assert list(failures(out)) == ["a.tar"]
