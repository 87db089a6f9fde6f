"""Tags: of JSON, of VOC's XML, of the command line and of a truth; what is not known is said in a sentence."""

import json

import numpy as np
import pytest

from panoptic_maps import CAT, CATEGORIES, SKY, panoptic
from tracedge.categories import COCO_PANOPTIC, VOC_PANOPTIC
from tracedge.errors import DataError
from tracedge.semantics.prompts import BACKGROUND, background_phrases, spoken
from tracedge.semantics.tags import read_tags, tags_of

PERSON, A_CAT, A_DOG, THE_SKY = 1, 17, 18, 187


def xml(*names):
    return "<annotation>" + "".join(f"<object><name>{name}</name></object>" for name in names) + "</annotation>"


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "tags.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def test_a_list_is_of_every_image():
    tags = read_tags("dog, Cat,sky", COCO_PANOPTIC)
    assert tags.of("anything") == tags.of("a/b") == (A_CAT, A_DOG, THE_SKY)


def test_a_file_has_the_tags_of_each_image_by_its_name_with_suffix_or_without(file):
    tags = read_tags(file({"a/1.jpg": ["cat", "cat"], "v1.2": ["dog"], "3": []}), COCO_PANOPTIC)
    assert (tags.of("a/1"), tags.of("v1.2"), tags.of("3"), tags.of("deep/3")) == ((A_CAT,), (A_DOG,), (), ())
    with pytest.raises(DataError, match=r"has no tags of 4: add them, or an empty list"):
        tags.of("4")
    tags.require_any(["b/4", "b/3"])
    with pytest.raises(DataError, match="tags of 3 images, and of none of these 1, of which b/4"):
        tags.require_any(["b/4"])


@pytest.mark.parametrize("panoptic_file", [True, False])
def test_of_cocos_annotations_the_classes_alone_are_read(file, panoptic_file):
    found = [{"category_id": 5}, {"category_id": 6}]
    annotations = [{"image_id": 1, **one} for one in found]
    content = {
        "images": [{"id": 1, "file_name": "one.jpg"}, {"id": 2, "file_name": "two.jpg"}],
        "annotations": [{"image_id": 1, "segments_info": found}] if panoptic_file else annotations,
        "categories": [{"id": 5, "name": "dog"}, {"id": 6, "name": "person"}],
    }
    tags = read_tags(file(content), COCO_PANOPTIC)
    assert tags.of("one") == (PERSON, A_DOG) and tags.of("two") == ()
    with pytest.raises(DataError, match="an image or a category that it does not have"):
        read_tags(file(content | {"categories": []}), COCO_PANOPTIC)


def test_of_vocs_annotations_the_objects_names_are_read(tmp_path):
    (tmp_path / "2007_1.xml").write_text(xml("diningtable", "person", "person"))
    assert read_tags(str(tmp_path), VOC_PANOPTIC).of("2007_1") == (11, 15)
    (tmp_path / "2.xml").write_text("<!DOCTYPE a [<!ENTITY b 'c'>]>" + xml("cat"))
    with pytest.raises(DataError, match=r"2\.xml is no annotation of VOC"):
        read_tags(str(tmp_path), VOC_PANOPTIC)
    (tmp_path / "2.xml").write_text("<annotation>")
    with pytest.raises(DataError, match=r"2\.xml cannot be read as XML"):
        read_tags(str(tmp_path), VOC_PANOPTIC)


def test_the_tags_of_a_truth_are_its_classes_without_the_background():
    truth = panoptic(np.array([[1, 1, 2]]), {1: CAT, 2: SKY})
    assert tags_of(truth, CATEGORIES) == tuple(sorted({CAT.id, SKY.id}))
    voc = panoptic(np.array([[1, 2]]), {1: VOC_PANOPTIC[0], 2: VOC_PANOPTIC[8]})
    assert tags_of(voc, VOC_PANOPTIC) == (8,)
    assert read_tags("background,cat", VOC_PANOPTIC).of("a") == (8,)


def test_what_is_no_class_and_what_is_no_tags_is_said(file, tmp_path):
    with pytest.raises(DataError, match=r"1 classes of .*tags\.json are none of the 133 categories: unicorn"):
        read_tags(file({"a": ["unicorn"]}), COCO_PANOPTIC)
    assert read_tags(file({"a": ["unicorn"]}), COCO_PANOPTIC, {"unicorn": "horse"}).of("a") == (19,)
    with pytest.raises(DataError, match="the tags of a are 'cat', expected a list"):
        read_tags(file({"a": "cat"}), COCO_PANOPTIC)
    with pytest.raises(DataError, match="has tags of a twice"):
        read_tags(file({"a.jpg": ["cat"], "a.png": ["cat"]}), COCO_PANOPTIC)
    for nothing in ("", " , ", "no/such/file", str(tmp_path), file([])):
        with pytest.raises(DataError, match="expected a JSON file"):
            read_tags(nothing if nothing != str(tmp_path) else str(tmp_path / "none"), COCO_PANOPTIC)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"holds no \.xml files"):
        read_tags(str(empty), COCO_PANOPTIC)


def test_provenance_follows_the_tags(file):
    first, second = ({"a": ["cat"]}, {"a": ["dog"]})
    assert read_tags(file(first), COCO_PANOPTIC).provenance != read_tags(file(second), COCO_PANOPTIC).provenance
    assert read_tags("cat", COCO_PANOPTIC).provenance != read_tags("dog", COCO_PANOPTIC).provenance


def test_classes_are_asked_for_as_one_says_them():
    said = {one.name: spoken(one.name) for one in (*COCO_PANOPTIC, *VOC_PANOPTIC)}
    assert not [name for name in said.values() if "-" in name or "merged" in name]
    assert said["wall-brick"] == "brick wall" and said["pottedplant"] == "potted plant"


def test_a_phrase_of_the_background_that_is_tagged_is_none():
    assert set(BACKGROUND) - set(background_phrases(["brick wall", "sky"])) == {"wall", "sky"}


def test_a_list_longer_than_a_name_of_a_file_may_be_is_a_list():
    found = read_tags(",".join(category.name for category in COCO_PANOPTIC), COCO_PANOPTIC)
    assert len(found.of("any")) == len(COCO_PANOPTIC)
    for nothing in ("", " , "):
        with pytest.raises(DataError, match="is no tags"):
            read_tags(nothing, COCO_PANOPTIC)
