"""Sobel, Canny and edges from files."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2gray
from skimage.feature import canny

from tracedge.errors import DataError, SettingsError
from tracedge.rivals import CANNY_LEVELS, FolderOfEdges, canny_edges, sobel_edges


def picture(height: int = 60, width: int = 83) -> np.ndarray:
    """Two squares on grey, one bright and one faint, with a little noise."""
    values = np.random.default_rng(0).normal(100, 3, (height, width, 3))
    values[10:35, 10:35] += 120
    values[20:50, 50:75] += 25
    return values.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("edges_of", [sobel_edges, canny_edges])
@pytest.mark.parametrize("size", [(60, 83), (41, 40), (3, 3)])
def test_edges_have_the_size_of_the_image_and_lie_in_zero_to_one(edges_of, size: tuple[int, int]) -> None:
    edges = edges_of(picture(*size))
    assert edges.shape == size
    assert edges.dtype == np.float32
    assert edges.min() >= 0 and edges.max() <= 1


@pytest.mark.parametrize("edges_of", [sobel_edges, canny_edges])
@pytest.mark.parametrize("grey", [0, 7, 255])
def test_an_image_of_one_colour_has_no_edges(edges_of, grey: int) -> None:
    assert not edges_of(np.full((20, 30, 3), grey, np.uint8)).any()


def test_sobel_is_strongest_on_the_strongest_border() -> None:
    edges = sobel_edges(picture())
    assert edges.max() == 1
    row, column = np.unravel_index(edges.argmax(), edges.shape)
    assert min(abs(row - 10), abs(row - 34), abs(column - 10), abs(column - 34)) <= 1
    assert edges[30, 50] < edges[20, 10]


def test_cutting_canny_strength_gives_canny_at_one_threshold() -> None:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(60, 83)), 2)  # edges of every strength
    image = np.repeat((128 + 400 * noise).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    strength = canny_edges(image)
    assert len(np.unique(strength)) > 8
    for rank, high in enumerate(CANNY_LEVELS, start=1):
        once = canny(rgb2gray(image), sigma=2.0, low_threshold=0.4 * high, high_threshold=high, mode="nearest")
        np.testing.assert_array_equal(strength >= rank / 16, once)


@pytest.mark.parametrize("edges_of", [sobel_edges, canny_edges])
def test_what_is_no_image_is_refused(edges_of) -> None:
    for wrong in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3))):
        with pytest.raises(SettingsError, match="uint8"):
            edges_of(wrong)
    with pytest.raises(SettingsError, match="sigma"):
        edges_of(picture(), sigma=-1.0)


def save(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def test_edges_are_read_from_eight_sixteen_and_one_bit_files(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[0, 51, 255]], np.uint8))
    save(tmp_path / "b.png", np.array([[0, 13107, 65535]], np.uint16))
    save(tmp_path / "c.png", np.array([[False, True, True]]))
    folder = FolderOfEdges(tmp_path)
    for stem, middle in (("a", 0.2), ("b", 0.2), ("c", 1.0)):
        edges = folder.read(stem, (1, 3))
        assert edges.dtype == np.float32
        np.testing.assert_allclose(edges, [[0, middle, 1]], rtol=1e-6)


def test_the_name_with_edges_in_it_comes_first(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    save(tmp_path / "a.edges.png", np.full((2, 2), 255, np.uint8))
    assert FolderOfEdges(tmp_path).read("a", (2, 2)).all()


def test_files_that_cannot_be_edges_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        FolderOfEdges(tmp_path / "nowhere")
    folder = FolderOfEdges(tmp_path)
    with pytest.raises(DataError, match=r"neither cat\.edges\.png nor cat\.png"):
        folder.read("cat", (2, 3))
    save(tmp_path / "cat.png", np.zeros((3, 2), np.uint8))
    with pytest.raises(DataError, match=r"cat\.png is 3 x 2 .* is 2 x 3"):
        folder.read("cat", (2, 3))
    save(tmp_path / "cat.png", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(DataError, match="mode RGB"):
        folder.read("cat", (2, 3))
    (tmp_path / "cat.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match="cannot be read"):
        folder.read("cat", (2, 3))
    save(tmp_path / "cat.png", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    (tmp_path / "cat.png").write_bytes((tmp_path / "cat.png").read_bytes()[:900])
    with pytest.raises(DataError, match="cannot be read"):
        folder.read("cat", (64, 64))


def test_a_picture_that_claims_to_be_gigantic_is_refused_in_a_sentence(tmp_path: Path) -> None:
    save(tmp_path / "cat.png", np.zeros((2, 3), np.uint8))
    written = (tmp_path / "cat.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + written[24:29]
    (tmp_path / "cat.png").write_bytes(written[:12] + header + struct.pack(">I", zlib.crc32(header)) + written[33:])
    with pytest.raises(DataError, match=r"cat\.png is 60000 x 60000 pixels, more than the limit"):
        FolderOfEdges(tmp_path).read("cat", (2, 3))
