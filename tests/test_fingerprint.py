"""Equal digits for equal photos and truths, and for no others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_roots import bsds, coco_2017, save, voc
from tracedge.datasets.fingerprint import fingerprint
from tracedge.datasets.layouts import open_dataset
from tracedge.instances import Instances

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=6,
)


@given(one=VALUES, two=VALUES)
def test_values_that_differ_have_other_digits(one, two):
    same = repr(one) == repr(two)  # True is 1, and is not written as it
    assert (fingerprint(one) == fingerprint(two)) == same


def test_arrays_are_told_apart_by_shape_type_and_values():
    values = np.arange(12, dtype=np.int32)
    others = [values.reshape(3, 4), values.reshape(4, 3), values.astype(np.int64), values[::-1], values > 0, values > 1]
    assert len({fingerprint(each) for each in [values, *others]}) == 7
    assert fingerprint(np.asfortranarray(values.reshape(3, 4))) == fingerprint(values.reshape(3, 4))


def test_instances_are_their_masks_and_a_file_its_bytes(tmp_path):
    labels = np.zeros((5, 6), int)
    labels[1:3, 2:4] = 1
    same, moved = Instances.from_labels(labels), Instances.from_labels(np.roll(labels, 1, axis=1))
    assert fingerprint(same) == fingerprint(Instances.from_labels(labels)) != fingerprint(moved)
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")


@pytest.mark.parametrize("form", ["edges", "instances", "panoptic"])
@pytest.mark.parametrize("make", [voc, lambda root: coco_2017(root, [1, 2])], ids=["VOC", "COCO"])
def test_every_truth_has_one_that_stays(tmp_path, make, form):
    dataset = open_dataset(make(tmp_path))
    of = [sample.fingerprint for sample in getattr(dataset, form)()]
    assert [sample.fingerprint for sample in getattr(open_dataset(tmp_path), form)()] == of
    photo = next(path for path in tmp_path.rglob("*.jpg"))
    save(photo, np.zeros((6, 8, 3), np.uint8))
    assert sum(a != b.fingerprint for a, b in zip(of, getattr(dataset, form)(), strict=True)) == 1


def test_drawn_boundaries_have_one_that_stays(tmp_path):
    first, second = ([sample.fingerprint for sample in open_dataset(bsds(tmp_path)).edges()] for _ in range(2))
    assert first == second
