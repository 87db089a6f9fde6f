"""Instances side by side: every image once, nothing read twice, no model longer than it is needed."""

import weakref
from functools import partial

import numpy as np
import pytest
from PIL import Image

from dataset_roots import coco_in_folders
from tracedge.cli.instance_methods import FromFile, readied
from tracedge.datasets.coco import open_coco
from tracedge.datasets.layouts import open_dataset
from tracedge.errors import DataError, RunError, SettingsError
from tracedge.evaluation.instance_pictures import instance_pictures
from tracedge.evaluation.instances import (
    LabelledInstances,
    evaluate_instances,
    image_scores,
    instances_json,
    labelled_set,
)
from tracedge.evaluation.journal import journal_beside
from tracedge.instances import Instances

NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def root(tmp_path):
    """Four photos of one box."""
    for number, name in enumerate(NAMES):
        labels = np.zeros((40, 50), np.uint8)
        labels[5:20, 5 : 20 + number] = 1
        for folder, picture in (("images", np.repeat(labels[..., None] * 99, 3, axis=2)), ("masks", labels)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "data" / folder / name)
    return tmp_path / "data"


def right(image):
    return {"right": Instances(image.objects.masks)}


class Alternating:
    """Right and wrong in turn, all of one score, so that the order of images decides AP; fails on b.png if the file is there."""

    def __init__(self, fails):
        self.fails = fails

    def __call__(self, image):
        if image.name == "b.png" and self.fails.exists():
            raise RunError("no luck")
        masks = image.objects.masks if image.name in ("a.png", "c.png") else np.roll(image.objects.masks, 20, axis=1)
        return {"alternating": Instances(masks)}


def opened(root):
    return labelled_set(open_dataset(root).instances())


def test_images_of_one_name_in_several_folders_are_all_counted(tmp_path):
    samples = labelled_set(open_coco(coco_in_folders(tmp_path), "val2017").instances())
    assert samples.names == ("a/1.jpg", "b/1.jpg", "c/1.jpg", "d/1.jpg")
    with journal_beside(tmp_path / "r.json", {}) as journal:
        (row,) = evaluate_instances(samples, lambda: right, "set", journal=journal)
        assert set(image_scores(journal, row)) == set(samples.names)
    (alone,) = evaluate_instances(samples, lambda: right, "set")
    assert alone == row and row.figures.images == 4 and row.figures.objects == 8


def test_two_images_of_one_name_are_refused(root):
    (image, *_) = opened(root)
    with pytest.raises(DataError, match="name of two images"):
        evaluate_instances([image, image], lambda: right)


def test_photos_that_the_journal_knows_are_not_decoded_again(root, tmp_path, monkeypatch):
    from tracedge.datasets import samples

    decoded, load = [], samples.load_image
    monkeypatch.setattr(samples, "load_image", lambda path, **more: decoded.append(path.name) or load(path, **more))

    def killed(image):
        if image.name == "c.png":
            raise KeyboardInterrupt
        return right(image)

    with pytest.raises(KeyboardInterrupt), journal_beside(tmp_path / "r.json", {}) as journal:
        evaluate_instances(opened(root), lambda: killed, "set", journal=journal)
    decoded.clear()
    told = []
    with journal_beside(tmp_path / "r.json", {}) as journal:
        (row,) = evaluate_instances(opened(root), lambda: right, "set", lambda: told.append(1), journal=journal)
        assert decoded == ["c.png", "d.png"] and len(told) == 4 and row.figures.ap == 1
        decoded.clear()
        journal.put([["right", _worst(journal)]], "set", "d.png", of=None)
        pictures = instance_pictures(opened(root), lambda: right, row, journal, "set")
    names = [each.name for each in pictures]
    assert names == ["best-1-set-a", "best-2-set-b", "worst-1-set-d"]  # c scores as the best do
    assert decoded == ["a.png", "b.png", "d.png"]


def _worst(journal):
    ((_, counts), *_) = journal.items("set")
    return counts[0][1] | {"mean_best_iou": 0.0}


@pytest.mark.parametrize("changed", ["masks", "images"])
def test_another_truth_or_photo_is_refused(root, tmp_path, changed):
    with pytest.raises(KeyboardInterrupt), journal_beside(tmp_path / "r.json", {}) as journal:
        evaluate_instances(opened(root), lambda: right, "set", journal=journal)
        raise KeyboardInterrupt
    path = root / changed / "b.png"
    Image.fromarray(np.roll(np.array(Image.open(path)), 20, axis=1)).save(path)
    with (
        pytest.raises(RunError, match=r"b\.png of set is not what it was"),
        journal_beside(tmp_path / "r.json", {}) as journal,
    ):
        evaluate_instances(opened(root), lambda: right, "set", journal=journal)


def test_a_truth_in_a_file_is_known_again(tmp_path):
    path = coco_in_folders(tmp_path) / "annotations" / "instances_val2017.json"
    first, second = ([image.fingerprint for image in open_dataset(path).instances()] for _ in range(2))
    assert first == second and len(first) == 4


def test_after_a_failure_equal_scores_are_ranked_in_the_order_of_the_data_set(root, tmp_path):
    """b fails while another process has c and d; they stand in the journal before b, and the figures are as if they did not."""
    fails = tmp_path / "fails"
    make = partial(Alternating, fails)
    (whole,) = evaluate_instances(opened(root), make, "set")
    fails.touch()
    with pytest.raises(RunError, match=r"'b\.png'.* no luck"), journal_beside(tmp_path / "r.json", {}) as journal:
        evaluate_instances(opened(root), make, "set", workers=2, journal=journal)
    fails.unlink()
    with journal_beside(tmp_path / "r.json", {}) as journal:
        assert [key for key, _ in journal.items("set")] == [("a.png",), ("c.png",), ("d.png",)]
        (row,) = evaluate_instances(opened(root), make, "set", journal=journal)
    assert row == whole and 0 < row.figures.ap < 1


@pytest.mark.parametrize("fails", [False, True])
def test_methods_are_let_go(root, fails):
    kept = []

    class Method:
        def __call__(self, image):
            if fails:
                raise RunError("no luck")
            return right(image)

    def make():
        method = Method()
        kept.append(weakref.ref(method))
        return method

    try:
        evaluate_instances(opened(root), make)
    except RunError:
        assert fails
    assert kept[0]() is None


def test_several_processes_need_no_model_in_this_one(root, monkeypatch):
    ways = FromFile(pred=root / "masks", image_ids=None, max_pixels=10**6)
    here = readied(ways, NAMES, False, workers=1)
    monkeypatch.setattr(FromFile, "looked_at", lambda *_: pytest.fail("loaded in this process"))
    there = readied(ways, NAMES, False, workers=2)
    assert there.depends_on == here.depends_on
    with pytest.raises(SettingsError, match=r"no masks of 1 of the 5 images of the truth \(e\.png\)"):
        readied(ways, (*NAMES, "e.png"), False, workers=2)


def test_json_of_an_unknown_headline_is_refused(root):
    rows = evaluate_instances(opened(root), lambda: right)
    assert '"ap": 1.0' in instances_json(rows, {}, "right")
    with pytest.raises(SettingsError, match="No row is called 'wrong'; there are right"):
        instances_json(rows, {}, "wrong")


def test_what_is_read_already_is_its_own_fingerprint():
    objects = Instances(np.ones((1, 4, 5), bool))
    one, two = (LabelledInstances("a", None, objects, classes, None) for classes in ((1,), (2,)))
    assert one.load() is one and one.fingerprint != two.fingerprint
