"""Columns of tables as people and their tools write them: categories, names that are missing, upper-case names of files."""

import pytest

from fake_runs import photo
from test_sources import png, read, table
from tracedge.sources import Columns

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def test_a_table_of_an_upper_case_name_is_a_table(tmp_path):
    path = table(tmp_path / "B.PARQUET", {"photo": [png(1)], "id": ["x"]})
    assert read(path, columns=Columns("photo", "id")) == {"B/x": 1}


def test_categories_are_read_as_what_they_stand_for(tmp_path):
    photo(tmp_path / "x.png", 5)
    cells = {"path": ["x.png", "x.png", None], "jpg": [png(1), png(2), png(1)], "id": ["q", "r", "q"]}
    columns = {name: pa.array(values).dictionary_encode() for name, values in cells.items()}
    pq.write_table(pa.table(columns), path := tmp_path / "a.parquet")
    assert pa.types.is_dictionary(pq.read_schema(path).field("path").type)
    assert read(path, columns=Columns("jpg", "id")) == {"a/q": 1, "a/r": 2, "a/q~2": 1}
    by_path = read(path, columns=Columns("path"))
    assert by_path == {"a/00000000": 5, "a/00000001": 5, "a/00000002": f"{path}, row 2 holds no image."}


def test_categories_of_pandas_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    photo(tmp_path / "x.png", 5)
    frame = pandas.DataFrame({"path": ["x.png", "x.png"], "id": ["q", None]}, dtype="category")
    frame.to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", columns=Columns(name="id")) == {"a/q": 5, "a/00000001": 5}


def test_a_row_without_a_name_is_called_by_its_number(tmp_path):
    named = {"image": [png(n) for n in range(5)], "id": ["a", None, "", " ", "00000001"]}
    path = table(tmp_path / "a.parquet", named, row_group_size=2)
    expected = {"a/a": 0, "a/00000001": 1, "a/00000002": 2, "a/00000003": 3, "a/00000001~2": 4}
    assert read(path, columns=Columns("image", "id")) == expected


@pytest.mark.parametrize(("cell", "called"), [(b"caf\xc3\xa9.png", "café"), (b"\xff", "\ufffd"), (7, "7")])
def test_names_may_be_bytes_and_numbers(tmp_path, cell, called):
    path = table(tmp_path / "a.parquet", {"image": [png(1)], "id": [cell]})
    assert read(path, columns=Columns("image", "id")) == {f"a/{called}": 1}
