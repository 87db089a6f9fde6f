"""The way in: every kind of file that is no picture, and pictures that are too large."""

import io
import os
import threading
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from image_files import assert_rgb, picture, saved
from tracedge.errors import ImageError
from tracedge.images import FORMATS, load_image

# --- files that are no pictures ---------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"nothing\.png does not exist"):
        load_image(tmp_path / "nothing.png")


def test_a_folder_is_named(tmp_path):
    with pytest.raises(ImageError, match="is a folder, expected an image file"):
        load_image(tmp_path)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match=r"a\.png is empty \(0 bytes\)"):
        load_image(tmp_path / "a.png")


def test_a_text_file_is_named(tmp_path):
    (tmp_path / "a.png").write_text("this is no picture at all")
    with pytest.raises(ImageError, match=r"a\.png is not an image of a kind read here"):
        load_image(tmp_path / "a.png")


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(ImageError, match="does not exist"):
        load_image("a\0.png")
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image("a" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match="is not a regular file"):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_a_truncated_file_is_an_error_for_that_file(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ImageError, match=rf"a\.{suffix} .*damaged or cut short"):
        load_image(path)


def _encoded(format_name: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, format_name)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata; here only the kind of error counts
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), format_name=st.sampled_from(FORMATS))
def test_damaged_bytes_give_a_picture_or_an_image_error(tmp_path, data, format_name):
    blob = bytearray(_encoded(format_name))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a"
    path.write_bytes(blob[: data.draw(st.integers(1, len(blob)))])
    try:
        image = load_image(path, max_pixels=10_000)
    except ImageError as error:
        assert str(path) in str(error)
    else:
        assert_rgb(image, image.shape[:2])


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_refused_with_size_limit_and_option(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    assert_rgb(load_image(path, max_pixels=35))
    with pytest.raises(ImageError, match=r"a\.png is 7 x 5 = 35 pixels, .* limit of 34: .*--max-pixels"):
        load_image(path, max_pixels=34)


def test_the_limit_counts_for_arrays_and_pil_images_too():
    for source in (picture(), Image.fromarray(picture())):
        with pytest.raises(ImageError, match="--max-pixels"):
            load_image(source, max_pixels=34)


def test_a_large_file_is_refused_before_a_pixel_is_decoded(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.new("1", (20_000, 10_000)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="20000 x 10000 = 200000000 pixels"):
        load_image(path)


def test_the_callers_limit_replaces_pillows_own_and_no_warning_leaks(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", picture())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # 35 pixels: Pillow would warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_rgb(load_image(path))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow would refuse
    assert_rgb(load_image(path))
    assert Image.MAX_IMAGE_PIXELS == 10


def test_threads_with_different_limits_do_not_disturb_each_other(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    wrong = []

    def strict() -> None:
        for _ in range(50):
            try:
                load_image(path, max_pixels=34)
                wrong.append("accepted")
            except ImageError:
                pass

    def lenient() -> None:
        for _ in range(50):
            try:
                load_image(path, max_pixels=35)
            except ImageError as error:
                wrong.append(str(error))

    threads = [threading.Thread(target=work) for work in (strict, lenient, strict, lenient)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
