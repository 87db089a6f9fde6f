"""Semantic maps of other tools: what their values mean, by name or by a mapping file; what is wrong is said."""

import json

import numpy as np
import pytest
from PIL import Image

from tracedge.categories import COCO_PANOPTIC, VOC_PANOPTIC, by_id
from tracedge.errors import DataError
from tracedge.semantics.classes import classes_of, read_class_names, read_mapping
from tracedge.semantics.from_files import find_semantics

VOC_NAMES = {one.id: one.name for one in VOC_PANOPTIC}
DHR = ["background", "person", "cat", "sky"]


def dhr_classes(mapping=None):
    return classes_of(dict(enumerate(DHR)), COCO_PANOPTIC, mapping)


def save(path, values, palette=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values, np.uint8))
    if palette:
        picture = picture.convert("P")
        picture.putdata(np.asarray(values).ravel().tolist())
        picture.putpalette(list(range(256)) * 3)
    picture.save(path)


# --- classes ----------------------------------------------------------------------------------------------------------


def test_names_are_found_among_cocos_whatever_their_endings_and_case():
    names = ["Sky", "tree", "floor-other", "traffic_light", "tv", "aeroplane", "sofa", "Background"]
    found = classes_of(dict(enumerate(names)), COCO_PANOPTIC).of_value
    assert [found[value] for value in range(8)] == [187, 184, 190, 10, 72, 5, 63, -1]


def test_all_of_voc_is_known_in_voc_and_all_its_things_in_coco():
    assert classes_of(VOC_NAMES, VOC_PANOPTIC).of_value == {number: number for number in range(21)}
    in_coco = classes_of(VOC_NAMES, COCO_PANOPTIC).of_value
    assert in_coco[0] == -1
    assert all(by_id(COCO_PANOPTIC)[in_coco[number]].isthing for number in range(1, 21))
    assert len(set(in_coco.values())) == 21


def test_a_mapping_comes_before_names_and_null_is_unknown():
    found = dhr_classes({"sky": "wall-wood", "CAT": 18, "background": "sky", "person": None}).of_value
    assert found == {0: 187, 1: -1, 2: 18, 3: 177}


def test_a_class_that_is_nowhere_and_a_mapping_of_nothing_are_refused():
    with pytest.raises(DataError, match=r"1 classes of the list of classes are none .*: unicorn\. Say by a mapping"):
        classes_of({0: "unicorn"}, COCO_PANOPTIC)
    with pytest.raises(DataError, match=r"cat \(mapped to 'tiger'\)"):
        dhr_classes({"cat": "tiger"})
    with pytest.raises(DataError, match=r"cat \(mapped to 12\)"):
        dhr_classes({"cat": 12})  # one of COCO's holes
    with pytest.raises(DataError, match="'dog', which is none of the classes"):
        dhr_classes({"dog": None})


@pytest.mark.parametrize(
    "content", [DHR, {"names": DHR, "ignore": 255}, {str(at): name for at, name in enumerate(DHR)}]
)
def test_class_names_are_a_list_or_dhrs_object_or_a_table(tmp_path, content):
    (tmp_path / "names.json").write_text(json.dumps(content))
    assert read_class_names(tmp_path / "names.json") == dict(enumerate(DHR))


@pytest.mark.parametrize("content", [[], {}, [1], {"a": "b"}, {"names": 3}, "x"])
def test_what_names_no_classes_is_refused(tmp_path, content):
    path = tmp_path / "names.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="names no classes"):
        read_class_names(path)
    path.write_text(json.dumps([["a"]]))
    with pytest.raises(DataError, match="maps no classes"):
        read_mapping(path)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("palette", [True, False])
def test_values_of_a_palette_or_grey_png_are_classes(tmp_path, palette):
    save(tmp_path / "a" / "1.png", [[0, 1], [3, 255]], palette)
    found = find_semantics(tmp_path, dhr_classes())
    assert found.read("a/1", (2, 2)).classes.tolist() == [[-1, 1], [187, -1]]


def test_scores_give_the_best_class_of_each_pixel(tmp_path):
    masks = np.zeros((2, 1, 3), np.float16)
    masks[:, 0] = [[0.9, 0.2, 0.04], [0.1, 0.6, 0.01]]
    np.savez(tmp_path / "b.npz", keys=np.array([1, 3]), masks=masks)
    assert find_semantics(tmp_path, dhr_classes()).read("b", (1, 3)).classes.tolist() == [[1, 187, -1]]


def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path):
    save(tmp_path / "a.png", [[0, 9]])
    Image.new("RGB", (2, 1)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    np.savez(tmp_path / "d.npz", keys=np.array([1, 2]), masks=np.zeros((1, 1, 2)))
    np.savez(tmp_path / "e.npz", keys=np.array([1]), masks=np.full((1, 1, 2), np.nan))
    np.savez(tmp_path / "f.npz", scores=np.zeros(3))
    np.savez(tmp_path / "g.npz", keys=np.array([{}], object), masks=np.zeros((1, 1, 2)))
    (tmp_path / "h.npz").write_bytes(b"PK\x03\x04 torn")
    with (tmp_path / "i.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    np.savez(tmp_path / "j.npz", keys=np.array([1]), masks=np.full((1, 1, 2), "a"))
    found = find_semantics(tmp_path, dhr_classes())
    for stem, sentence in {
        "a": r"a\.png has the value 9, which is none of its 4 classes",
        "b": r"b\.png is a PNG of mode RGB, expected one channel",
        "c": r"c\.png cannot be read",
        "d": r"d\.npz .*it has keys",
        "e": r"e\.npz .*: scores of classes are finite",
        "f": r"f\.npz .*it has scores, expected keys and masks",
        "g": r"g\.npz cannot be read as scores",
        "h": r"h\.npz cannot be read as scores",
        "i": r"i\.npz cannot be read as scores",
        "j": r"j\.npz .*it has masks of <U1, expected scores as numbers",
        "z": r"has no map of 1 images, of z for one",
    }.items():
        with pytest.raises(DataError, match=sentence):
            found.read(stem, (1, 2))


def test_a_map_of_another_size_and_two_of_one_image_are_refused(tmp_path):
    save(tmp_path / "a.png", [[0, 1]])
    with pytest.raises(DataError, match=r"is 1 x 2 \(rows x columns\), but the image is 4 x 4"):
        find_semantics(tmp_path, dhr_classes()).read("a", (4, 4))
    np.savez(tmp_path / "a.npz", keys=np.array([1]), masks=np.zeros((1, 1, 2)))
    with pytest.raises(DataError, match="two maps of a"):
        find_semantics(tmp_path, dhr_classes())


def test_a_folder_without_maps_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for <stem>\.png"):
        find_semantics(tmp_path, dhr_classes())
    with pytest.raises(DataError, match="is no folder"):
        find_semantics(tmp_path / "nowhere", dhr_classes())


def test_provenance_follows_the_files_and_what_their_classes_are(tmp_path):
    save(tmp_path / "a.png", [[0, 1]])
    before = find_semantics(tmp_path, dhr_classes()).provenance
    assert find_semantics(tmp_path, dhr_classes()).provenance == before
    assert find_semantics(tmp_path, dhr_classes({"cat": "dog"})).provenance != before
    save(tmp_path / "a.png", [[1, 1]])
    assert find_semantics(tmp_path, dhr_classes()).provenance != before
