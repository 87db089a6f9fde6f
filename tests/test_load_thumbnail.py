"""Pictures made small on the way in: what `load_image` reads, and never larger than asked for."""

import numpy as np
import pytest
from PIL import Image

from tracedge.errors import ImageError
from tracedge.images import load_image, load_thumbnail


def smooth(width, height):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([255 * columns / width, 255 * rows / height, np.full((height, width), 80)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("size", [(640, 480), (120, 900), (900, 33), (20, 10)])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_thumbnail_is_the_picture_within_its_side(tmp_path, size, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth(*size)).save(path, quality=95)
    small = load_thumbnail(path, 64)
    assert small.mode == "RGB" and max(small.size) == min(64, max(size))
    assert (
        abs(small.width / small.height - size[0] / size[1]) < 0.5 * max(1, size[0] / size[1]) / min(small.size) + 0.05
    )
    expected = Image.fromarray(load_image(path)).resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(expected)).mean() < 4


def test_it_stands_upright_and_is_on_white(tmp_path):
    photo = Image.fromarray(smooth(640, 480))
    exif = photo.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo.save(tmp_path / "a.jpg", exif=exif)
    assert load_thumbnail(tmp_path / "a.jpg", 64).size == (48, 64)
    Image.new("RGBA", (100, 50), (9, 9, 9, 0)).save(tmp_path / "a.png")
    assert load_thumbnail(tmp_path / "a.png", 10).getpixel((3, 3)) == (255, 255, 255)


def test_a_large_picture_is_refused_before_it_is_decoded_and_a_damaged_one_said(tmp_path):
    Image.fromarray(smooth(640, 480)).save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="more than the limit of 100000"):
        load_thumbnail(tmp_path / "a.jpg", 64, max_pixels=100_000)  # an eighth of it would be below
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    with pytest.raises(ImageError, match="damaged"):
        load_thumbnail(tmp_path / "b.jpg", 64)
    with pytest.raises(ImageError, match="does not exist"):
        load_thumbnail(tmp_path / "c.jpg", 64)
