"""Label maps and npz files that strangers wrote: read as they are meant, or refused by a sentence."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_files import saved
from instance_masks import a_few, blobs, two
from tracedge.errors import DataError
from tracedge.export.labels import read_instances, read_labels, write_instances, write_labels
from tracedge.instances import Instances

# --- label maps -------------------------------------------------------------------------------------------------------


def test_label_maps_of_every_depth_are_read(tmp_path):
    labels = np.array([[0, 3, 3], [1, 0, 255]], np.uint8)
    palette = Image.fromarray(labels).convert("L")
    palette = Image.frombytes("P", palette.size, labels.tobytes())
    palette.putpalette(list(range(256)) * 3)
    for name, picture in (("a", Image.fromarray(labels)), ("b", palette), ("c", Image.fromarray(labels.astype("u2")))):
        saved(tmp_path / f"{name}.png", picture)
        assert read_labels(tmp_path / f"{name}.png").areas.tolist() == [1, 2, 1]
    saved(tmp_path / "d.png", Image.fromarray(labels > 0))
    assert read_labels(tmp_path / "d.png").areas.tolist() == [4]


def test_pictures_that_are_no_label_maps_are_refused(tmp_path):
    saved(tmp_path / "rgb.png", np.zeros((2, 3, 3), np.uint8))
    saved(tmp_path / "a.jpg", np.zeros((2, 3), np.uint8)).rename(tmp_path / "jpeg.png")
    write_labels(tmp_path / "cut.png", blobs(3))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    with pytest.raises(DataError, match=r"rgb\.png is a PNG of mode RGB, expected one channel of labels"):
        read_labels(tmp_path / "rgb.png")
    for name in ("jpeg.png", "cut.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a PNG"):
            read_labels(tmp_path / name)
    write_labels(tmp_path / "large.png", blobs(1))
    with pytest.raises(DataError, match="90 x 61 pixels, more than the limit of 100"):
        read_labels(tmp_path / "large.png", max_pixels=100)


# --- npz --------------------------------------------------------------------------------------------------------------


def plain(path, **arrays):
    np.savez(path, **arrays)
    return path


def ours(path, **change):
    fields = {
        "packed_masks": np.array([[0b10100000]], np.uint8),
        "shape": np.array([1, 1, 3]),
        "scores": np.ones(1, np.float32),
        "settings": "{}",
    }
    return plain(path, **{name: value for name, value in {**fields, **change}.items() if value is not None})


def test_a_plain_array_of_another_tool_is_read(tmp_path):
    masks = np.insert(two().masks, 1, False, axis=0)  # the second has no pixel
    found = read_instances(plain(tmp_path / "a.npz", masks=masks))
    np.testing.assert_array_equal(found.masks, two().masks)
    found = read_instances(plain(tmp_path / "a.npz", masks=masks.astype(np.uint8), scores=np.array([0.5, 1, 0.25])))
    assert found.scores.tolist() == [0.5, 0.25]
    assert read_instances(plain(tmp_path / "a.npz", masks=masks[:0])).shape == (7, 10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scores": None}, r"holds \['packed_masks', 'settings', 'shape'\], expected"),
        ({"more": 1}, "expected"),
        ({"shape": np.array([1, 3])}, "three whole numbers"),
        ({"shape": np.array([1.0, 1, 3])}, "three whole numbers"),
        ({"shape": np.array([1, -1, 3])}, "of at least one pixel"),
        ({"shape": np.array([1, 0, 3])}, "of at least one pixel"),
        ({"shape": np.array([70_000, 1, 3])}, r"expected 0\.\.65535"),
        ({"shape": np.array([1, 10**5, 10**5])}, "more than the limit of 100000000 pixels"),
        ({"shape": np.array([60_000, 10**4, 10**4])}, "more than 16 GiB"),
        ({"shape": np.array([2, 1, 3])}, r"expected uint8 \(2, 1\)"),
        ({"packed_masks": np.array([[1.0]])}, "expected uint8"),
        ({"packed_masks": np.zeros(50_000, np.uint8)}, "take 50128 bytes, expected at most 1"),
        ({"packed_masks": np.zeros((1, 1), np.uint8)}, "not empty"),
        ({"scores": np.array([2.0])}, "finite scores"),
        ({"scores": np.array(["x"])}, "numbers as scores"),
        ({"settings": "[]"}, "settings are list"),
        ({"settings": "{"}, "cannot be read as instances"),
        ({"packed_masks": np.array([[{}]], object)}, "no plain array of numbers or text"),
    ],
)
def test_npz_files_that_hold_something_else_are_refused(tmp_path, change, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read_instances(ours(tmp_path / "a.npz", **change))
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"masks": np.zeros((2, 3), bool)}, r"masks are bool \(2, 3\), expected"),
        ({"masks": np.zeros((1, 0, 3), bool)}, "expected bool or uint8"),
        ({"masks": np.ones((1, 2, 3))}, "float64"),
        ({"masks": np.full((1, 2, 3), 255, np.uint8)}, "uint8 up to 255, expected 0 and 1"),
        ({"masks": np.ones((1, 2, 3), bool), "scores": np.ones(2)}, "one for each of 1 masks"),
        ({"edges": np.ones((2, 3))}, r"holds \['edges'\], expected"),
    ],
)
def test_plain_arrays_of_another_kind_are_refused(tmp_path, arrays, sentence):
    with pytest.raises(DataError, match=sentence):
        read_instances(plain(tmp_path / "a.npz", **arrays))


def test_an_array_that_claims_more_than_there_is_takes_no_memory(tmp_path):
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += b"{'descr': '|b1', 'fortran_order': False, 'shape': (900000, 900000, 9000)}".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("masks.npy", header)
    with pytest.raises(DataError, match=r"a\.npz cannot be read as instances"):
        read_instances(tmp_path / "a.npz")


def test_missing_foreign_and_truncated_npz_files_are_named(tmp_path):
    write_instances(tmp_path / "cut.npz", two())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("cut.npz", "text.npz", "missing.npz", "one.npy"):
        with pytest.raises(DataError, match=rf"{name} (cannot be read as|holds no) instances"):
            read_instances(tmp_path / name)


@settings(a_few, max_examples=25)
@given(st.data())
def test_damaged_bytes_give_instances_or_a_data_error(tmp_path, data):
    write_instances(tmp_path / "a.npz", two())
    blob = bytearray((tmp_path / "a.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.npz").write_bytes(blob)
    try:
        assert isinstance(read_instances(tmp_path / "a.npz"), Instances)
    except DataError as error:
        assert "a.npz" in str(error)
