"""A round of self-training: what was found is the label, pseudo masks fill in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_maps import CAT, SEA, SKY, panoptic
from tracedge.detector.relabelling import relabelled, relabelled_panoptic
from tracedge.errors import DataError
from tracedge.instances import Instances, pairwise_iou


def box(rows, columns, hw=(20, 30)):
    mask = np.zeros(hw, bool)
    mask[rows, columns] = True
    return mask


FOUND = box(slice(0, 10), slice(0, 10))


def test_pseudo_masks_like_one_that_was_found_give_way_and_others_stay():
    like, other = box(slice(0, 9), slice(0, 10)), box(slice(12, 18), slice(20, 28))
    new = relabelled(Instances(FOUND[None], [0.9]), Instances(np.stack([like, other]), [0.8, 0.3]))
    assert [np.array_equal(mask, wanted) for mask, wanted in zip(new.masks, (FOUND, other), strict=True)] == [
        True,
        True,
    ]
    assert new.scores.tolist() == [0.9, 0.3]


def test_where_nothing_was_found_or_known_the_other_side_stays():
    some = Instances(FOUND[None], [0.4])
    none = Instances.empty(FOUND.shape)
    for new in (relabelled(none, some), relabelled(some, none)):
        np.testing.assert_array_equal(new.masks, some.masks)
    assert len(relabelled(none, none)) == 0


@given(st.integers(0, 1000), st.floats(0, 1))
def test_all_that_was_found_stays_and_no_pseudo_mask_is_too_like_it(seed, alike):
    rng = np.random.default_rng(seed)
    found, pseudo = (Instances(rng.random((4, 9, 9)) < 0.5) for _ in range(2))
    new = relabelled(found, pseudo, alike=alike)
    np.testing.assert_array_equal(new.masks[:4], found.masks)
    kept = {mask.tobytes() for mask in new.masks[4:]}
    for mask, most in zip(pseudo.masks, pairwise_iou(pseudo.masks, found.masks).max(axis=1), strict=True):
        assert (mask.tobytes() in kept) == (most <= alike)


def test_images_of_two_sizes_are_refused():
    with pytest.raises(DataError, match="one image"):
        relabelled(Instances.empty((3, 4)), Instances.empty((4, 3)))
    with pytest.raises(DataError, match="one image"):
        relabelled_panoptic(panoptic(np.zeros((3, 4), int), {}), panoptic(np.zeros((4, 3), int), {}))


def test_segments_fill_what_was_void_and_stuff_joins_its_class():
    found = panoptic(np.array([[1, 1, 0, 0, 0, 0], [2, 2, 0, 0, 0, 0]]), {1: CAT, 2: SKY})
    ids = np.array([[4, 4, 4, 5, 5, 5], [6, 6, 6, 6, 7, 7]])
    pseudo = panoptic(ids, {4: CAT, 5: CAT, 6: SKY, 7: SEA})
    new = relabelled_panoptic(found, pseudo)
    # 4 is mostly under what was found; 6 is of the class of 2.
    assert new.ids.tolist() == [[1, 1, 0, 3, 3, 3], [2, 2, 2, 2, 4, 4]]
    assert [one.category_id for one in new.segments] == [CAT.id, SKY.id, CAT.id, SEA.id]
