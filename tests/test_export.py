"""Maps on disk: what was written is read back, and nothing half-written ever has a final name."""

import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from tracedge.atomic import atomic_path, is_temporary
from tracedge.errors import DataError
from tracedge.export.npz import read_npz, write_npz
from tracedge.export.png import read_not_black, read_png16, write_png8, write_png16
from tracedge.maps import EdgeMap

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
unit_maps = st_numpy.arrays(
    np.float32, st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1, width=32)
)


def edge_map() -> EdgeMap:
    edges = np.random.default_rng(0).random((4, 6), dtype=np.float32)
    return EdgeMap(edges, 200.0, 0.25, (0.0, 200.0), (0.1, 0.35), {"model": "mini", "größe": 512})


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --- whole or not there -----------------------------------------------------------------------------------------------


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    final = tmp_path / "a.png"
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        assert not final.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert is_temporary(temporary.name)
        temporary.write_bytes(b"whole")
    assert names(tmp_path) == ["a.png"]
    assert final.read_bytes() == b"whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    final = tmp_path / "a.txt"
    final.write_text("old")

    def write() -> None:
        with atomic_path(final) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == ["a.txt"]
    assert final.read_text() == "old"


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_folders_are_made_and_the_longest_names_work(tmp_path):
    final = tmp_path / "deep" / "er" / ("n" * 251 + ".txt")
    with atomic_path(final) as temporary:
        temporary.write_text("x")
    assert final.read_text() == "x"


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.b c", "a.verylongsuffix", ".hidden"])
def test_every_temporary_name_is_known_as_one(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        temporary.touch()
        assert is_temporary(temporary.name)


@pytest.mark.parametrize("name", ["a.tmp", ".tracedge.lock", ".tracedge-12.tmp", "x.tracedge-0123456789abcdef.tmp"])
def test_other_names_are_not_taken_for_temporary_ones(name):
    assert not is_temporary(name)


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
@pytest.mark.parametrize("write", [write_png16, write_png8])
def test_the_mode_of_a_file_is_what_the_umask_says(tmp_path, write):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.png", np.zeros((2, 2), np.float32))
        write_npz(tmp_path / "a.npz", edge_map())
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(tmp_path.iterdir())] == [0o640, 0o640]


# --- png --------------------------------------------------------------------------------------------------------------


@in_one_folder
@given(unit_maps)
def test_a_16_bit_png_comes_back_within_half_a_step(tmp_path, values):
    write_png16(tmp_path / "a.png", values)
    back = read_png16(tmp_path / "a.png")
    assert back.dtype == np.float32
    assert back.shape == values.shape
    assert np.abs(back.astype(np.float64) - values).max() <= 0.5 / 65535 + 2**-24
    assert back.min() >= 0
    assert back.max() <= 1


def test_other_programs_read_the_same_16_bits(tmp_path):
    write_png16(tmp_path / "a.png", np.array([[0, 0.5, 1]]))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        assert np.asarray(image).tolist() == [[0, 32768, 65535]]


def test_other_programs_read_the_same_8_bits(tmp_path):
    write_png8(tmp_path / "a.png", np.array([[0, 0.01, 0.5, 0.99, 1]], np.float32))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        assert np.asarray(image).tolist() == [[0, 3, 128, 252, 255]]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)])
def test_8_bit_pictures_are_written_as_they_are(tmp_path, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_png8(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), picture)


@pytest.mark.parametrize("write", [write_png16, write_png8])
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 2, 1), np.float32),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 2), np.int64),
        np.zeros((0, 2), np.uint8),
        np.zeros((0, 2), np.float32),
        np.full((2, 2), 1.5),
        np.full((2, 2), -0.5),
        np.full((2, 2), np.nan),
    ],
)
def test_what_is_no_unit_map_is_not_written(tmp_path, write, wrong):
    with pytest.raises(DataError, match="expected a"):
        write(tmp_path / "a.png", wrong)
    assert names(tmp_path) == []


def test_an_8_bit_png_is_not_taken_for_a_16_bit_one(tmp_path):
    write_png8(tmp_path / "a.png", np.zeros((2, 2), np.float32))
    with pytest.raises(DataError, match="mode L, expected 16-bit grey"):
        read_png16(tmp_path / "a.png")


def test_a_missing_a_foreign_and_a_truncated_png_are_named(tmp_path):
    write_png16(tmp_path / "cut.png", np.random.default_rng(0).random((20, 20)))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:300])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("cut.png", "text.png", "missing.png"):
        with pytest.raises(DataError, match=rf"{name} cannot be read as a PNG"):
            read_png16(tmp_path / name)


def test_not_black_is_seen_in_a_png_of_any_mode(tmp_path):
    expected = np.array([[False, True, True]])
    grey = np.array([[0, 1, 200]], np.uint8)
    palette = Image.fromarray(np.array([[1, 0, 2]], np.uint8))
    palette.putpalette([255, 255, 255, 0, 0, 0, 0, 9, 0])  # index 0 is white, 1 is black
    pictures = [
        Image.fromarray(values) for values in (expected, grey, grey.astype(np.uint16), np.stack([grey] * 3, -1))
    ]
    pictures += [palette, pictures[1].convert("LA"), pictures[3].convert("RGBA")]
    for picture in pictures:
        picture.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_not_black(tmp_path / "a.png"), expected, err_msg=picture.mode)
    with pytest.raises(DataError, match=r"a\.png is 3 x 1 pixels, more than the limit of 2"):
        read_not_black(tmp_path / "a.png", max_pixels=2)


def test_a_png_that_claims_a_huge_size_is_refused_unread(tmp_path):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**16, 2**16, 16, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="65536 x 65536 pixels, more than the limit of 100000000"):
        read_png16(tmp_path / "a.png")


# --- npz --------------------------------------------------------------------------------------------------------------


def assert_same(one: EdgeMap, other: EdgeMap) -> None:
    np.testing.assert_array_equal(one.edges, other.edges)
    for name in ("timestep", "margin", "timesteps", "divergences", "settings", "settings_hash"):
        assert getattr(one, name) == getattr(other, name), name


def test_an_edge_map_comes_back_equal_in_every_field(tmp_path):
    write_npz(tmp_path / "a.npz", edge_map())
    assert_same(read_npz(tmp_path / "a.npz"), edge_map())


def test_an_edge_map_without_a_history_comes_back_without_one(tmp_path):
    write_npz(tmp_path / "a.npz", EdgeMap(edge_map().edges))
    assert_same(read_npz(tmp_path / "a.npz"), EdgeMap(edge_map().edges))


@in_one_folder
@given(
    unit_maps, st.none() | st.floats(0, 1000), st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1e6)), max_size=4)
)
def test_any_edge_map_comes_back(tmp_path, values, timestep, curve):
    found = EdgeMap(values, timestep, None, tuple(t for t, _ in curve), tuple(d for _, d in curve))
    write_npz(tmp_path / "a.npz", found)
    assert_same(read_npz(tmp_path / "a.npz"), found)


def test_numpy_alone_reads_the_file_without_pickle(tmp_path):
    write_npz(tmp_path / "a.npz", edge_map())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {"edges", "timestep", "margin", "timesteps", "divergences", "settings"}
        assert arrays["edges"].dtype == np.float32
        assert float(arrays["timestep"]) == 200
        assert str(arrays["settings"]) == '{"gr\\u00f6\\u00dfe":512,"model":"mini"}'


def test_the_name_is_the_one_given(tmp_path):
    write_npz(tmp_path / "a.edges", edge_map())
    assert names(tmp_path) == ["a.edges"]


def saved(path: Path, **change: object) -> Path:
    fields = {
        "edges": edge_map().edges,
        "timestep": np.nan,
        "margin": np.nan,
        "timesteps": np.zeros(0),
        "divergences": np.zeros(0),
        "settings": "{}",
    }
    np.savez(path, **{name: value for name, value in {**fields, **change}.items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"margin": None}, "cannot be read as an edge map: it holds"),
        ({"more": 1}, "cannot be read as an edge map: it holds"),
        ({"edges": np.full((2, 2), 2, np.float32)}, r"finite edges in \[0, 1\]"),
        ({"edges": np.zeros((2, 2))}, "got float64"),
        ({"settings": "[]"}, "settings are list"),
        ({"settings": "{"}, "cannot be read as an edge map"),
        ({"timestep": np.zeros(3)}, "cannot be read as an edge map"),
        ({"timesteps": np.array(["x"])}, "cannot be read as an edge map"),
        ({"timesteps": np.array(3.0)}, "cannot be read as an edge map"),
        ({"edges": np.array([{}], dtype=object)}, "no plain array of numbers or text"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, change, sentence):
    with pytest.raises(DataError, match=sentence):
        read_npz(saved(tmp_path / "a.npz", **change))


def test_a_missing_a_foreign_and_a_truncated_npz_are_named(tmp_path):
    write_npz(tmp_path / "cut.npz", edge_map())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("cut.npz", "text.npz", "empty.npz", "missing.npz", "one.npy"):
        with pytest.raises(DataError, match=rf"{name} (cannot be read as|is not) an edge map"):
            read_npz(tmp_path / name)


@in_one_folder
@given(st.data())
def test_damaged_bytes_give_an_edge_map_or_a_data_error(tmp_path, data):
    write_npz(tmp_path / "a.npz", edge_map())
    blob = bytearray((tmp_path / "a.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.npz").write_bytes(blob)
    try:
        assert isinstance(read_npz(tmp_path / "a.npz"), EdgeMap)
    except DataError as error:
        assert "a.npz" in str(error)
