"""The way in: every kind of picture that users have."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_files import H, W, assert_rgb, picture, saved
from tracedge.errors import ImageError, TracedgeError
from tracedge.images import FORMATS, IMAGE_SUFFIXES, content_hash, load_image

# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_lossless_formats_come_back_exactly(tmp_path, suffix):
    image = load_image(saved(tmp_path / f"a.{suffix}", picture()))
    assert_rgb(image)
    np.testing.assert_array_equal(image, picture())


def test_lossless_webp_comes_back_exactly(tmp_path):
    np.testing.assert_array_equal(load_image(saved(tmp_path / "a.webp", picture(), lossless=True)), picture())


def test_a_jpeg_comes_back_nearly(tmp_path):
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    image = load_image(saved(tmp_path / "a.jpg", smooth, quality=95))
    assert_rgb(image, (16, 16))
    assert np.abs(image.astype(int) - smooth).max() <= 3


def test_the_format_is_known_by_the_bytes_and_not_by_the_name(tmp_path):
    np.testing.assert_array_equal(load_image(saved(tmp_path / "a.jpg", picture(), format="PNG")), picture())


def test_a_path_may_be_a_string(tmp_path):
    np.testing.assert_array_equal(load_image(str(saved(tmp_path / "a.png", picture()))), picture())


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif"])
def test_one_pixel_images_load(tmp_path, suffix):
    image = load_image(saved(tmp_path / f"a.{suffix}", np.full((1, 1, 3), 255, np.uint8)))
    assert_rgb(image, (1, 1))
    assert image.min() >= 250


@pytest.mark.parametrize("format_name", ["PPM", "TGA", "ICO", "PCX", "EPS", "PDF", "SGI"])
def test_other_formats_that_pillow_knows_are_refused(tmp_path, format_name):
    path = saved(tmp_path / "a.png", picture(), format=format_name)
    with pytest.raises(ImageError, match=r"a\.png is not an image of a kind read here: expected JPEG, PNG"):
        load_image(path)


def test_every_format_has_its_suffixes():
    assert {Image.registered_extensions()[suffix] for suffix in IMAGE_SUFFIXES} == set(FORMATS)


# --- orientation, transparency, colour --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, suffix, orientation, upright):
    blocks = np.zeros((16, 32, 3), np.uint8)
    blocks[:8, :16] = 255  # one bright corner survives JPEG
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(saved(tmp_path / f"a.{suffix}", blocks, exif=exif))
    expected = upright(blocks)
    assert_rgb(image, expected.shape[:2])
    assert np.abs(image.astype(int) - expected).max() < 40


def test_orientation_is_applied_to_16_bit_grey_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = load_image(saved(tmp_path / "a.png", np.array([[0, 65535]], np.uint16), exif=exif))
    assert image[:, 0, 0].tolist() == [0, 255]
    assert_rgb(image, (2, 1))


def test_rgba_is_composited_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = (0, 128, 255)
    assert load_image(saved(tmp_path / "a.png", rgba))[0, :, 0].tolist() == [255, 127, 0]


def test_grey_with_alpha_is_composited_on_white(tmp_path):
    image = Image.new("LA", (2, 1))
    image.putdata([(10, 255), (10, 0)])
    assert load_image(saved(tmp_path / "a.png", image))[0].tolist() == [[10] * 3, [255] * 3]


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_transparent_palette_entry_is_composited_on_white(tmp_path, suffix):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    assert load_image(saved(tmp_path / f"a.{suffix}", image, transparency=1))[0].tolist() == [[255, 0, 0], [255] * 3]


def test_palette_transparency_given_as_bytes_is_composited_on_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    path = saved(tmp_path / "a.png", image, transparency=bytes([255, 0]))
    assert load_image(path)[0].tolist() == [[255, 0, 0], [255] * 3]


def test_a_colour_key_is_composited_on_white(tmp_path):
    rgb = np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8)
    assert load_image(saved(tmp_path / "a.png", rgb, transparency=(1, 2, 3)))[0].tolist() == [[255] * 3, [9] * 3]


def test_an_opaque_palette_is_looked_up(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    assert load_image(saved(tmp_path / "a.png", image))[0].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_one_bit_images_become_black_and_white(tmp_path):
    image = Image.fromarray(np.array([[True, False]]))
    assert image.mode == "1"
    assert load_image(saved(tmp_path / "a.png", image))[0].tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_files_become_rgb(tmp_path, suffix):
    image = load_image(saved(tmp_path / f"a.{suffix}", Image.new("CMYK", (8, 8), (0, 255, 255, 0))))
    assert_rgb(image, (8, 8))
    assert np.abs(image.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "RGBa", "L", "LA", "La", "P", "PA", "1", "CMYK", "YCbCr"])
def test_every_colour_mode_of_pillow_becomes_rgb(mode):
    assert_rgb(load_image(Image.new(mode, (W, H))))


@pytest.mark.parametrize(
    ("mode", "colour"), [("YCbCr", (76, 85, 255)), ("LAB", (138, 209, 198)), ("HSV", (0, 255, 255))]
)
def test_red_in_other_colour_spaces_is_red(mode, colour):
    image = load_image(Image.new(mode, (1, 1), colour))
    assert np.abs(image[0, 0].astype(int) - (255, 0, 0)).max() <= 12


# --- more than eight bits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_divided_by_257(tmp_path, suffix):
    grey = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    assert load_image(saved(tmp_path / f"a.{suffix}", grey))[0, :, 1].tolist() == [0, 0, 1, 1, 128, 255]


def test_big_endian_16_bit_grey_is_the_same_picture(tmp_path):
    grey = np.array([[0, 257, 65535]], np.uint16)
    image = Image.frombytes("I;16B", (3, 1), grey.astype(">u2").tobytes())
    assert load_image(image)[0, :, 0].tolist() == [0, 1, 255]
    assert load_image(saved(tmp_path / "a.tif", image))[0, :, 0].tolist() == [0, 1, 255]


def test_32_bit_grey_within_16_bits_follows_the_same_rule(tmp_path):
    path = saved(tmp_path / "a.tif", np.array([[0, 257, 65535]], np.int32))
    assert load_image(path)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bit_grey_beyond_16_bits_is_refused(tmp_path, value):
    path = saved(tmp_path / "a.tif", np.array([[0, value]], np.int32))
    with pytest.raises(ImageError, match=r"a\.tif has integer values .* expected 0\.\.65535"):
        load_image(path)


def test_float_grey_in_the_unit_range_is_scaled(tmp_path):
    path = saved(tmp_path / "a.tif", np.array([[0.0, 0.5, 1.0]], np.float32))
    assert load_image(path)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [255.0, -0.5, np.nan, np.inf])
def test_float_grey_outside_the_unit_range_is_refused(tmp_path, value):
    path = saved(tmp_path / "a.tif", np.array([[0.0, value]], np.float32))
    with pytest.raises(ImageError, match=r"a\.tif has float values .* expected \[0, 1\]"):
        load_image(path)


def test_a_16_bit_rgb_png_keeps_its_high_bytes(tmp_path):
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = np.array([[[0, 0x1234, 0xFFFF], [0x80FF, 1, 2]]], ">u2")
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    body = zlib.compress(b"\0" + pixels.tobytes())
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    assert load_image(path)[0].tolist() == [[0, 0x12, 0xFF], [0x80, 0, 0]]


# --- several frames ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_several_frames_the_first_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    path = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(path) as several:
        assert several.n_frames == 3
    image = load_image(path)
    assert_rgb(image, (3, 4))
    assert np.abs(image.astype(int) - (255, 0, 0)).max() <= 3


# --- arrays and PIL images --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(H, W), (H, W, 1), (H, W, 3)])
def test_arrays_without_alpha_keep_their_values(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = load_image(array)
    assert_rgb(image)
    np.testing.assert_array_equal(image, np.broadcast_to(array.reshape(H, W, -1), (H, W, 3)))


def test_alpha_of_an_array_is_composited_on_white():
    rgba = np.zeros((1, 2, 4), np.uint8)
    rgba[0, 0, 3] = 255
    assert load_image(rgba)[0].tolist() == [[0] * 3, [255] * 3]
    assert load_image(rgba / 255.0)[0].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays_in_the_unit_range_are_scaled(dtype):
    assert load_image(np.array([[0, 0.5, 1]], dtype))[0, :, 0].tolist() == [0, 128, 255]


def test_the_rounding_of_an_earlier_resize_is_forgiven():
    assert load_image(np.array([[-1e-6, 1 + 1e-6]]))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("dtype", [np.uint16, ">u2"])
def test_uint16_arrays_are_divided_by_257(dtype):
    assert load_image(np.array([[0, 257, 65535]], dtype))[0, :, 0].tolist() == [0, 1, 255]


@given(st.integers(0, 255))
def test_8_bits_widened_to_16_come_back(value):
    assert load_image(np.full((1, 1), value * 257, np.uint16))[0, 0, 0] == value


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, H, W), np.uint8), r"channels come first.*np\.moveaxis"),
        (np.zeros((1, H, W, 3), np.uint8), "one by one"),
        (np.zeros((H, W, 2), np.uint8), r"expected \(H, W\), \(H, W, 1\)"),
        (np.zeros(H, np.uint8), r"expected \(H, W\)"),
        (np.zeros((0, W, 3), np.uint8), "no pixels"),
        (np.zeros((H, W), np.int64), "int64, expected uint8, uint16 or float"),
        (np.zeros((H, W), np.int32), "int32, expected uint8, uint16 or float"),
        (np.zeros((H, W), bool), "bool, expected uint8"),
        (np.zeros((H, W), complex), "complex128, expected uint8"),
        (np.zeros((H, W), object), "object, expected uint8"),
        (np.full((H, W), 255.0), r"float values in 255\.\.255, expected \[0, 1\]"),
        (np.full((H, W), np.nan), "float values in nan"),
    ],
)
def test_other_arrays_are_refused_with_a_hint(array, sentence):
    with pytest.raises(ImageError, match=sentence):
        load_image(array)


def test_what_is_no_image_at_all_is_refused():
    with pytest.raises(ImageError, match="expected a path, a PIL image or a numpy array, got bytes"):
        load_image(b"bytes")
    with pytest.raises(TracedgeError, match="got NoneType"):
        load_image(None)


def test_a_pil_image_without_pixels_is_refused():
    with pytest.raises(ImageError, match="at least one pixel"):
        load_image(Image.new("RGB", (0, 3)))


def test_the_callers_image_is_neither_changed_nor_shared():
    array = picture()
    load_image(array)[:] = 0
    np.testing.assert_array_equal(array, picture())
    image = Image.fromarray(picture())
    load_image(image)[:] = 0
    np.testing.assert_array_equal(np.asarray(image), picture())


def test_views_and_reversed_arrays_come_back_contiguous():
    assert_rgb(load_image(picture()[::-1, :, ::-1]))
    assert_rgb(load_image(np.asfortranarray(picture())))


# --- the hash, and the cost of importing ------------------------------------------------------------------------------


def test_the_hash_knows_the_shape_and_every_pixel():
    image = picture()
    changed = image.copy()
    changed[-1, -1, -1] ^= 1
    hashes = {content_hash(image), content_hash(changed), content_hash(image.reshape(W, H, 3))}
    assert len(hashes) == 3
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in hashes)


def test_the_hash_does_not_depend_on_memory_order():
    assert content_hash(np.asfortranarray(picture())) == content_hash(picture())


def test_the_hash_stays_the_same_from_release_to_release():
    assert content_hash(np.arange(6, dtype=np.uint8).reshape(1, 2, 3)).startswith("a170a118d97415b5")


def test_only_8_bit_images_are_hashed():
    with pytest.raises(ImageError, match="expected a uint8 image to hash"):
        content_hash(np.zeros((1, 1, 3)))


def test_loading_an_image_needs_no_torch():
    code = "import sys, tracedge.images, tracedge.maps; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
