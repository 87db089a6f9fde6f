"""Labelled folders: masks, panoptic maps, ignored pixels, and what is said when one is wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_files import header_only
from tracedge.datasets.labelled import open_labelled
from tracedge.datasets.layouts import open_dataset
from tracedge.datasets.samples import EdgeSample
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError
from tracedge.metrics.edges import instance_boundaries

SHARED = Path(__file__).parents[2] / "shared" / "data"


def save(path: Path, values: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def add_image(root: Path, stem: str, labels: np.ndarray | None = None, suffix: str = ".png") -> np.ndarray:
    labels = np.array([[0, 0, 1, 1], [0, 0, 300, 300], [0, 0, 300, 300]], np.uint16) if labels is None else labels
    save(root / "images" / f"{stem}{suffix}", np.full((*labels.shape, 3), 90, np.uint8))
    save(root / "masks" / f"{stem}.png", labels)
    return labels


def test_masks_are_read_with_background_as_a_segment(tmp_path: Path) -> None:
    labels = add_image(tmp_path, "a")
    (sample,) = open_labelled(tmp_path).edges()
    assert sample.stem == "a" and sample.void is None
    assert sample.image.shape == (3, 4, 3)
    assert sample.labels.dtype == np.int32
    np.testing.assert_array_equal(sample.labels, labels)
    assert sample.ignore.dtype == np.bool_ and not sample.ignore.any()
    assert instance_boundaries(sample.labels, sample.ignore, sample.void)[:, 1].all()


def test_samples_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for stem in ("b", "a10", "a2", "c"):
        add_image(tmp_path, stem, suffix=".jpg" if stem == "b" else ".PNG")
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    dataset = open_labelled(tmp_path).edges()
    assert len(dataset) == 4
    assert [sample.stem for sample in dataset] == ["a10", "a2", "b", "c"]
    assert [sample.stem for sample in open_labelled(tmp_path, selection=Selection(limit=2)).edges()] == ["a10", "a2"]
    assert len(open_labelled(tmp_path, selection=Selection(limit=2)).edges()) == 2


def test_ignore_maps_are_optional_for_each_image(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    add_image(tmp_path, "b")
    marked = np.zeros((3, 4), bool)
    marked[0, 3] = True
    save(tmp_path / "ignore" / "b.png", marked)
    plain, partly = open_labelled(tmp_path).edges()
    assert not plain.ignore.any()
    np.testing.assert_array_equal(partly.ignore, marked)


def test_panoptic_maps_come_before_masks_and_their_void_is_ignored(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    colours = np.zeros((3, 4, 3), np.uint8)
    colours[:, 1] = (7, 0, 0)
    colours[:, 2:] = (3, 2, 1)
    save(tmp_path / "panoptic" / "a.png", colours)
    (sample,) = open_labelled(tmp_path).edges()
    assert sample.void == 0
    assert sample.labels[0].tolist() == [0, 7, 3 + 2 * 256 + 65536, 3 + 2 * 256 + 65536]
    np.testing.assert_array_equal(sample.ignore, sample.labels == 0)
    assert np.flatnonzero(instance_boundaries(sample.labels, sample.ignore, sample.void)[0]).tolist() == [1]


def test_a_photo_lying_on_its_side_is_turned_before_its_size_is_compared(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to see it upright
    save(tmp_path / "images" / "a.png", np.zeros((4, 3, 3), np.uint8), exif=exif)
    (sample,) = open_labelled(tmp_path).edges()
    assert sample.image.shape[:2] == sample.labels.shape == (3, 4)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    save(tmp_path / "images" / "a.png", np.zeros((4, 3, 3), np.uint8))
    (sample,) = open_labelled(tmp_path).edges()
    with pytest.raises(DataError, match=r"truth of a\.png is 3 x 4 .*images/a\.png is 4 x 3"):
        _ = sample.labels


def test_an_ignore_map_of_another_size_is_refused(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    save(tmp_path / "ignore" / "a.png", np.zeros((4, 3), bool))
    (sample,) = open_labelled(tmp_path).edges()
    with pytest.raises(DataError, match=r"ignore/a\.png is 4 x 3 .*another size than .*masks/a\.png"):
        _ = sample.ignore


@pytest.mark.parametrize("kind", ["masks", "panoptic", "ignore"])
def test_a_label_map_larger_than_the_limit_is_refused_before_it_is_decoded(tmp_path: Path, kind: str) -> None:
    add_image(tmp_path, "a")
    huge = np.zeros((60, 80, 3) if kind == "panoptic" else (60, 80), np.uint8)
    save(tmp_path / kind / "a.png", huge)
    (sample,) = open_labelled(tmp_path, max_pixels=100).edges()
    with pytest.raises(DataError, match=f"{kind}/a.png is 80 x 60 pixels, more than the limit of 100"):
        _ = sample.ignore if kind == "ignore" else sample.labels
    if kind != "panoptic":
        (found,) = open_labelled(tmp_path, max_pixels=100).instances()
        with pytest.raises(DataError, match=f"{kind}/a.png is 80 x 60 pixels, more than the limit of 100"):
            _ = found.truth


def test_a_folder_that_is_no_data_set_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images is not a folder; a labelled folder has images/"):
        open_labelled(tmp_path).edges()
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"No image in .*images: looked for .*\.jpg"):
        open_labelled(tmp_path).edges()
    save(tmp_path / "images" / "a.png", np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(DataError, match="neither panoptic/ nor masks/"):
        open_labelled(tmp_path).edges()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match=r"1 of 1 images have no truth: .*a\.png is missing"):
        open_labelled(tmp_path).edges()


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    add_image(tmp_path, "a", suffix=".jpg")
    with pytest.raises(DataError, match=r"a\.jpg and a\.png .* one stem"):
        open_labelled(tmp_path).edges()


def test_truth_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    save(tmp_path / "masks" / "a.png", np.zeros((3, 4, 3), np.uint8))
    (sample,) = open_labelled(tmp_path).edges()
    with pytest.raises(DataError, match="mode RGB"):
        _ = sample.labels
    save(tmp_path / "panoptic" / "a.png", np.zeros((3, 4), np.uint8))
    (sample,) = open_labelled(tmp_path).edges()
    with pytest.raises(DataError, match="mode L"):
        _ = sample.labels
    (tmp_path / "panoptic" / "a.png").write_bytes(b"no picture")
    (sample,) = open_labelled(tmp_path).edges()
    with pytest.raises(DataError, match="cannot be read"):
        _ = sample.labels


@pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled photos are not beside this checkout")
@pytest.mark.parametrize(("name", "images"), [("coco_panoptic", 29), ("coco_instances", 66), ("nuts", 18)])
def test_the_shared_sets_can_be_read(name: str, images: int) -> None:
    dataset = open_labelled(SHARED / name).edges()
    assert len(dataset) == images
    sample = next(iter(dataset))
    assert sample.labels.shape == sample.image.shape[:2] == sample.ignore.shape
    assert instance_boundaries(sample.labels, sample.ignore, sample.void).any()


@pytest.mark.parametrize("kind", ["masks", "panoptic", "ignore"])
def test_a_truth_over_the_limit_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    add_image(tmp_path, "a")
    header_only(tmp_path / kind / "a.png", 20_000, 2 if kind == "panoptic" else 0)
    (sample,) = open_labelled(tmp_path).edges()
    with pytest.raises(DataError, match=rf"{kind}/a\.png is 20000 x 20000 pixels, more than the limit"):
        _ = sample.labels
    if kind != "panoptic":
        (sample,) = open_dataset(tmp_path).instances()
        with pytest.raises(DataError, match="20000 x 20000 pixels, more than the limit"):
            _ = sample.truth


@pytest.mark.parametrize("kind", ["masks", "panoptic", "ignore"])
def test_the_limit_that_is_given_reaches_every_file(tmp_path: Path, kind: str) -> None:
    add_image(tmp_path, "a")
    save(tmp_path / kind / "a.png", np.zeros((3, 4, 3) if kind == "panoptic" else (3, 4), np.uint8))
    for limit in (11, 12):
        (sample,) = open_labelled(tmp_path, max_pixels=limit).edges()
        if limit == 12:
            assert sample.labels.shape == (3, 4)
        else:
            with pytest.raises(DataError, match=r"(masks|panoptic)/a\.png is 4 x 3 pixels, more than the limit of 11"):
                _ = sample.labels
    if kind == "ignore":
        save(tmp_path / kind / "a.png", np.zeros((4, 5), np.uint8))
        (sample,) = open_labelled(tmp_path, max_pixels=12).edges()
        with pytest.raises(DataError, match=r"ignore/a\.png is 5 x 4 pixels, more than the limit of 12"):
            _ = sample.labels


def test_what_is_chosen_on_opening_is_what_is_given(tmp_path: Path) -> None:
    """The folder is looked through once: a photo that comes later has no part."""
    add_image(tmp_path, "b")
    dataset = open_dataset(tmp_path)
    save(tmp_path / "images" / "a.png", np.zeros((3, 4, 3), np.uint8))
    assert dataset.names == dataset.edges().names == dataset.instances().names == ("b.png",)
    assert [type(sample) for sample in dataset.edges()] == [EdgeSample]


def test_only_chosen_photos_need_a_truth(tmp_path: Path) -> None:
    add_image(tmp_path, "a")
    save(tmp_path / "images" / "b.png", np.zeros((3, 4, 3), np.uint8))
    assert open_labelled(tmp_path, selection=Selection(limit=1)).edges().names == ("a.png",)
    with pytest.raises(DataError, match=r"1 of 2 images have no truth: .*b\.png is missing"):
        open_labelled(tmp_path).edges()


def test_what_is_ignored_is_one_crowd_of_the_instances(tmp_path: Path) -> None:
    """Uncut, although it lies over object 300."""
    add_image(tmp_path, "a")
    add_image(tmp_path, "b")
    marked = np.zeros((3, 4), bool)
    marked[0, 0] = marked[2, 2:] = True
    save(tmp_path / "ignore" / "b.png", marked)
    plain, partly = open_dataset(tmp_path).instances()
    assert plain.truth.crowds.shape == (0, 3, 4)
    np.testing.assert_array_equal(partly.truth.crowds, [marked])
    assert partly.truth.objects.areas.tolist() == [2, 4]
