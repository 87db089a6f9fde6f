"""VOC 2012: indices of palettes, void, classes, and background as the one kind of stuff."""

import numpy as np
import pytest
from PIL import Image

from dataset_roots import save_palette, voc, voc_objects
from tracedge.categories import VOC_PANOPTIC, by_id
from tracedge.datasets.layouts import open_dataset
from tracedge.datasets.selection import Selection
from tracedge.datasets.voc import open_voc
from tracedge.errors import DataError, SettingsError
from tracedge.evaluation.edges import true_boundaries
from tracedge.metrics.edges import score_image


def test_the_folder_may_be_any_of_three(tmp_path):
    root = voc(tmp_path)
    for path in (root, root / "VOCdevkit", root / "VOCdevkit" / "VOC2012"):
        dataset = open_dataset(path)
        assert (dataset.layout, dataset.split) == ("VOC", "val")
        assert dataset.names == ("2007_000033.jpg", "2008_000002.jpg")
    assert open_dataset(root, "train").names == ("2007_000033.jpg",)


def test_instances_are_indices_and_void_is_no_crowd(tmp_path):
    sample = next(iter(open_voc(voc(tmp_path)).instances()))
    truth, objects = sample.truth, voc_objects()
    np.testing.assert_array_equal(truth.objects.masks, [objects == 1, objects == 3])
    assert [by_id(VOC_PANOPTIC)[number].name for number in truth.classes] == ["person", "chair"]
    assert truth.crowds.shape == (0, *objects.shape)


def test_the_class_of_an_object_is_that_of_most_of_its_pixels(tmp_path):
    base = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    path = base / "SegmentationClass" / "2007_000033.png"
    classes = np.array(Image.open(path))
    classes[10, 10:15], classes[11, 10:15] = 20, 0
    save_palette(path, classes)
    assert next(iter(open_voc(tmp_path).instances())).truth.classes == (15, 9)
    classes[10:14, 10:15] = 77  # of no class, and the most
    save_palette(path, classes)
    assert next(iter(open_voc(tmp_path).instances())).truth.classes == (15, 9)
    classes[voc_objects() == 1] = 0
    save_palette(path, classes)
    with pytest.raises(DataError, match=r"gives no class of 1\.\.20 to object 1"):
        _ = next(iter(open_voc(tmp_path).instances())).truth


def test_the_edge_of_an_object_lies_in_the_middle_of_its_void_belt(tmp_path):
    sample = next(iter(open_voc(voc(tmp_path)).edges()))
    edges = true_boundaries(sample)
    rows = np.flatnonzero(edges[:, 12])
    assert len(rows) == 2 and abs(rows[0] - 7) <= 1 and abs(rows[1] - 17) <= 1
    assert edges[24, :9].all()
    assert sample.void is None
    assert not edges[:, 29:].any() and sample.ignore[:, 31:].all() and not sample.ignore[:, :30].any()


def test_void_goes_to_a_label_at_most_five_pixels_away_and_the_rest_stays_unknown(tmp_path):
    (sample, _) = open_voc(voc(tmp_path)).edges()
    objects = voc_objects().astype(int)
    known = np.argwhere(objects != 255)
    for row, column in np.ndindex(objects.shape):
        distance = np.hypot(*(known - (row, column)).T)
        nearest = {objects[tuple(at)] for at in known[distance == distance.min()]}
        assert sample.ignore[row, column] == (distance.min() > 5)
        assert sample.labels[row, column] in ({255} if distance.min() > 5 else nearest)


def test_a_label_map_that_does_not_fit_is_refused(tmp_path):
    base = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    save_palette(base / "SegmentationClass" / "2007_000033.png", np.zeros((40, 30)))
    with pytest.raises(DataError, match=r"SegmentationObject.* is \(30, 40\) and .*SegmentationClass.* is \(40, 30\)"):
        _ = next(iter(open_voc(tmp_path).instances())).truth
    save_palette(base / "SegmentationObject" / "2007_000033.png", np.zeros((60, 80)))
    with pytest.raises(DataError, match=r"SegmentationObject.*limit of 1200"):
        _ = next(iter(open_voc(tmp_path, max_pixels=1200).edges())).ignore
    (base / "ImageSets" / "Segmentation" / "trainval.txt").write_text(" \n")
    with pytest.raises(DataError, match=r"trainval.txt names no image"):
        open_voc(tmp_path, "trainval")


def test_background_is_the_one_stuff_class(tmp_path):
    truth = next(iter(open_voc(voc(tmp_path)).panoptic())).truth
    objects = voc_objects()
    np.testing.assert_array_equal(truth.map.ids == 0, objects == 255)
    np.testing.assert_array_equal(truth.map.ids == 256, objects == 0)
    assert [(one.id, one.category_id, one.isthing) for one in truth.map.segments] == [
        (1, 15, True),
        (3, 9, True),
        (256, 0, False),
    ]
    assert len(VOC_PANOPTIC) == 21 and [one.name for one in VOC_PANOPTIC if not one.isthing] == ["background"]


def test_an_image_that_is_void_or_background_throughout_is_read(tmp_path):
    base = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    for value in (0, 255):
        for folder in ("SegmentationObject", "SegmentationClass"):
            save_palette(base / folder / "2007_000033.png", np.full((30, 40), value))
        dataset = open_voc(tmp_path, "train")
        assert not true_boundaries(next(iter(dataset.edges()))).any()
        assert len(next(iter(dataset.instances())).truth.objects) == 0
        assert len(next(iter(dataset.panoptic())).truth.map.segments) == (value == 0)


def test_nothing_is_known_of_an_image_that_is_void_throughout(tmp_path):
    """No pixel is near a label, so whatever is predicted is no false alarm, and an image of void weighs nothing."""
    base = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    for folder in ("SegmentationObject", "SegmentationClass"):
        save_palette(base / folder / "2007_000033.png", np.full((30, 40), 255))
    dataset = open_voc(tmp_path, "train")
    (sample,) = dataset.edges()
    assert sample.ignore.all() and (sample.labels == 255).all()
    counts = score_image(np.ones((30, 40), np.float32), true_boundaries(sample), sample.ignore)
    assert (counts.truth, counts.predicted.max(), counts.skeleton.max()) == (0, 0, 0)
    (sample,) = dataset.instances()
    assert not len(sample.truth.objects) and not len(sample.truth.crowds)


def test_colours_instead_of_indices_are_refused(tmp_path):
    path = voc(tmp_path) / "VOCdevkit" / "VOC2012" / "SegmentationObject" / "2007_000033.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(DataError, match="a palette whose indices are labels"):
        _ = next(iter(open_voc(tmp_path).instances())).truth


def test_what_is_missing_is_named(tmp_path):
    base = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    with pytest.raises(SettingsError, match=r"VOC has the splits val, train, trainval; got 'test'"):
        open_voc(tmp_path, "test")
    with pytest.raises(DataError, match=r"trainval.txt cannot be read"):
        open_voc(tmp_path, "trainval")
    with pytest.raises(SettingsError, match="are for COCO"):
        open_voc(tmp_path).edges(void_edges=True)
    (base / "SegmentationClass" / "2008_000002.png").unlink()
    with pytest.raises(DataError, match="1 of 2 images have no class labels: 2008_000002"):
        open_voc(tmp_path)
    assert len(open_voc(tmp_path, selection=Selection(limit=1)).names) == 1
