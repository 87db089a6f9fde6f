"""The one comparison of ways to masks: what they share is made once an image, and each row is what its parts give alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tracedge.errors import DataError
from tracedge.evaluation.instance_methods import Comparison, Method, every_way
from tracedge.evaluation.instances import LabelledInstances
from tracedge.export.png import write_png16
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.rivals import FolderOfEdges
from tracedge.segmentation import SegmentSettings, segment

KEPT = SegmentSettings(overlapping=True, min_score=0.0)


def walls() -> np.ndarray:
    """Two boxes side by side."""
    found = np.zeros((48, 64), np.float32)
    found[8:40, [10, 30, 31, 52]] = found[[8, 39], 10:53] = 1
    return found


def both_boxes() -> Instances:
    mask = np.zeros((1, 48, 64), bool)
    mask[0, 9:39, 11:52] = True
    return Instances(mask)


def labelled(image: bool = True) -> LabelledInstances:
    photo = np.zeros((48, 64, 3), np.uint8) if image else None
    return LabelledInstances("a.png", photo, both_boxes(), None, None)


def test_every_row_is_what_its_edges_and_proposals_give_alone():
    found = Comparison(every_way(["our"], ["rough"]), {"our": lambda image: walls()}, {"rough": lambda _: both_boxes()})
    masks = found(labelled())
    assert list(masks) == ["rough", "rough + BGP, our edges", "straight from our edges"]
    np.testing.assert_array_equal(masks["rough"].masks, both_boxes().masks)
    for name, given in (("rough + BGP, our edges", both_boxes()), ("straight from our edges", None)):
        alone = segment(EdgeMap(walls()), given, KEPT)
        np.testing.assert_array_equal(masks[name].masks, alone.masks)
        np.testing.assert_array_equal(masks[name].scores, alone.scores)
    assert len(masks["rough"]) == 1 and len(masks["rough + BGP, our edges"]) == 2


def test_what_rows_share_is_made_once_an_image():
    asked: Counter[str] = Counter()

    def edges(image: np.ndarray) -> np.ndarray:
        asked["edges"] += 1
        return walls()

    def proposals(sample: LabelledInstances) -> Instances:
        asked["proposals"] += 1
        return both_boxes()

    ways = (
        Method("one", 7, "rough"),
        Method("two", 7, None),
        Method("three", None, "rough"),
        Method("four", 7, "rough"),
    )
    masks = Comparison(ways, {7: edges}, {"rough": proposals})(labelled())
    assert list(masks) == ["one", "two", "three", "four"]
    assert asked == {"edges": 1, "proposals": 1}
    np.testing.assert_array_equal(masks["one"].masks, masks["four"].masks)


def test_edges_of_another_detectors_files_are_looked_up_by_the_images_name(tmp_path: Path):
    write_png16(tmp_path / "a.edges.png", walls())
    ways = (Method("theirs", "files", None), Method("ours", "ours", None))
    both = Comparison(ways, {"files": FolderOfEdges(tmp_path), "ours": lambda _: walls()}, {})(labelled())
    np.testing.assert_array_equal(both["theirs"].masks, both["ours"].masks)


def test_unsure_masks_are_kept_whatever_the_settings_say():
    faint = walls() * np.linspace(0.05, 1, 64, dtype=np.float32)
    asked = SegmentSettings(min_score=1.0)
    (kept,) = Comparison(every_way(["our"], []), {"our": lambda _: faint}, {}, asked)(labelled()).values()
    assert len(segment(EdgeMap(faint), None, asked)) < len(kept)


def test_an_image_without_a_photo_is_refused_before_anything_is_asked():
    found = Comparison(every_way(["our"], []), {"our": lambda _: pytest.fail("asked")}, {})
    with pytest.raises(DataError, match="no image to predict from"):
        found(labelled(image=False))
