"""The one way into data sets: layouts, which images are chosen, and the commands that take them."""

import hashlib
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dataset_roots import (
    bsds,
    coco_2014,
    coco_2017,
    coco_in_folders,
    image,
    save,
    save_json,
    save_photo,
    segments,
    voc,
    voc_objects,
)
from instance_masks import a_few
from tracedge.cli import app
from tracedge.datasets.layouts import open_dataset, provenance
from tracedge.datasets.selection import Selection, Wanted, read_ids
from tracedge.errors import DataError, SettingsError, TracedgeError
from tracedge.export.coco_reader import read_coco
from tracedge.export.json_lists import lists_of

# --- layouts ----------------------------------------------------------------------------------------------------------


def labelled(root, stems=("a", "b", "c")):
    for stem in stems:
        save_photo(root / "images" / f"{stem}.png")
        save(root / "masks" / f"{stem}.png", np.minimum(segments(), 300).astype(np.uint16))
    return root


def test_a_labelled_folder_is_one_of_the_layouts(tmp_path):
    dataset = open_dataset(labelled(tmp_path), selection=Selection(limit=2))
    assert (dataset.layout, dataset.split, dataset.names) == ("folder", None, ("a.png", "b.png"))
    assert [sample.stem for sample in dataset.edges()] == ["a", "b"]
    assert [len(sample.truth.objects) for sample in dataset.instances()] == [3, 3]
    with pytest.raises(SettingsError, match="which has no splits"):
        open_dataset(tmp_path, "val")
    with pytest.raises(SettingsError, match="are for COCO"):
        dataset.edges(void_edges=True)
    with pytest.raises(DataError, match=r"looked for panoptic.json and panoptic/"):
        dataset.panoptic()
    save_json(tmp_path / "panoptic.json", {})
    with pytest.raises(DataError, match=r"looked for panoptic.json and panoptic/"):
        dataset.panoptic()


def test_a_labelled_folder_with_panoptic_json_has_segments(tmp_path):
    labelled(tmp_path / "set", ["000000000007"])
    coco = coco_2017(tmp_path / "coco", [7, 8])
    (coco / "annotations" / "panoptic_val2017.json").rename(tmp_path / "set" / "panoptic.json")
    (coco / "annotations" / "panoptic_val2017").rename(tmp_path / "set" / "panoptic")
    (sample,) = open_dataset(tmp_path / "set").panoptic()
    np.testing.assert_array_equal(sample.truth.map.ids, segments())
    labelled(tmp_path / "set", ["000000000009"])
    save(tmp_path / "set" / "panoptic" / "000000000009.png", np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(DataError, match="1 of 2 images have no panoptic segments: 000000000009"):
        open_dataset(tmp_path / "set").panoptic()


def test_a_labelled_folder_says_classes_and_what_is_ignored(tmp_path):
    root, ignore = labelled(tmp_path, ["a", "b"]), segments() == 0
    save(root / "ignore" / "a.png", ignore)
    for stem in "ab":
        save(root / "panoptic" / f"{stem}.png", np.zeros((6, 8, 3), np.uint8))  # instances are of masks/ all the same
    entries = [{"label": 300, "category": "leaf"}, {"label": 2, "category": "nut"}, {"label": 5, "category": "leaf"}]
    known = [{"file": f"{stem}.png", "instances": entries} for stem in "ab"]
    save_json(root / "instances.json", known)
    first, second = (sample.truth for sample in open_dataset(root).instances())
    labels = np.minimum(segments(), 300)
    np.testing.assert_array_equal(first.objects.masks, [labels == 2, labels == 5, labels == 300])
    assert first.classes == second.classes == ("nut", "leaf", "leaf")
    np.testing.assert_array_equal(first.crowds, [ignore])
    assert not len(second.crowds)
    save_json(root / "instances.json", [{"file": "a.png", "instances": entries[:2]}])
    with pytest.raises(DataError, match="does not say the class of object 5"):
        _ = next(iter(open_dataset(root).instances())).truth
    save_json(root / "instances.json", known)
    save(root / "ignore" / "a.png", ignore.T)
    with pytest.raises(DataError, match=r"ignore/a\.png is 8 x 6 .*another size than .*masks"):
        _ = next(iter(open_dataset(root).instances())).truth
    for damaged in (
        [{"file": "a.png"}],
        [3],
        {"a": 1},
        [{"file": "a.png", "instances": [{"label": "x", "category": 1}]}],
    ):
        save_json(root / "instances.json", damaged)
        with pytest.raises(DataError, match=r"instances\.json does not say the classes"):
            open_dataset(root).instances()


def test_another_folder_is_told_what_was_looked_for(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="no data set of a layout that is known") as caught:
        open_dataset(tmp_path)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == ["COCO", "VOC", "BSDS", "labelled folder"]
    with pytest.raises(DataError, match="is not a folder"):
        open_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [voc, bsds, labelled, lambda root: coco_2017(root, [139])])
def test_more_pixels_than_the_limit_are_refused_in_every_layout(tmp_path, make):
    root = make(tmp_path)
    assert next(iter(open_dataset(root, max_pixels=1200).edges())).ignore is not None  # 30 x 40 and 6 x 8
    with pytest.raises(TracedgeError, match="pixels"):
        _ = next(iter(open_dataset(root, max_pixels=47).edges())).ignore


def test_a_panoptic_png_larger_than_the_limit_is_refused_whatever_its_record_says(tmp_path):
    root = coco_2017(tmp_path, [139])
    save(root / "annotations" / "panoptic_val2017" / "000000000139.png", np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match="80 x 60 pixels, more than the limit of 100"):
        _ = next(iter(open_dataset(root, max_pixels=100).panoptic())).truth


@pytest.mark.parametrize(("make", "split"), [(voc, "train"), (bsds, "test"), (coco_2014, "val2014")])
def test_the_split_and_the_selection_reach_every_layout(tmp_path, make, split):
    dataset = open_dataset(make(tmp_path), split, Selection(limit=1))
    assert (dataset.split, len(dataset.names), dataset.selection.limit) == (split, 1, 1)
    said = provenance(dataset)
    assert (said["layout"], said["split"], said["images"], said["limit"]) == (dataset.layout, split, 1, 1)
    assert said["sample_seed"] is None  # no sample was drawn


# --- which images -----------------------------------------------------------------------------------------------------

stems = st.sets(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6), min_size=1, max_size=12)


@a_few
@given(stems, st.integers(0, 9), st.data())
def test_a_sample_is_sorted_of_its_size_and_part_of_every_larger_one(names, seed, data):
    larger = data.draw(st.integers(1, len(names)))
    smaller = data.draw(st.integers(1, larger))
    many = Selection(sample=larger, sample_seed=seed).choose(dict.fromkeys(names), "names")
    few = Selection(sample=smaller, sample_seed=seed).choose(dict.fromkeys(sorted(names, reverse=True)), "names")
    assert many == sorted(many) and len(many) == larger and len(few) == smaller and set(few) <= set(many)


def test_samples_are_the_same_on_every_machine_and_differ_by_seed():
    names = [f"{number:012d}" for number in range(1000)]
    first, second = (Selection(sample=3, sample_seed=seed).choose(dict.fromkeys(names), "names") for seed in (0, 1))
    assert first == ["000000000028", "000000000474", "000000000585"] != second


def test_ids_come_before_the_sample_and_the_limit_last(tmp_path):
    (tmp_path / "ids.txt").write_text("c.jpg\na\nd")
    chosen = Selection(tmp_path / "ids.txt", sample=2, sample_seed=1, limit=1).choose(dict.fromkeys("abcd"), "letters")
    assert len(chosen) == 1 and chosen[0] in "acd"
    assert Selection(tmp_path / "ids.txt").choose(dict.fromkeys("dcba"), "letters") == ["a", "c", "d"]
    with pytest.raises(DataError, match="A sample of 4 images was asked for, but there are 3 of letters"):
        Selection(tmp_path / "ids.txt", sample=4).choose(dict.fromkeys("abcd"), "letters")
    with pytest.raises(SettingsError, match="sample is a number of images"):
        Selection(sample=0)


def test_lists_of_ids_are_read_and_refused(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("# of ours\n 7 \n\nval/a.b.JPG\nb.v2\n7\n")
    assert read_ids(path) == [Wanted("7", 7), Wanted("val/a.b"), Wanted("b.v2")]
    for content in ("", "# nothing\n"):
        path.write_text(content)
        with pytest.raises(DataError, match="names no image"):
            read_ids(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as a list of ids"):
        read_ids(path)
    with pytest.raises(DataError, match="cannot be read as a list of ids"):
        read_ids(tmp_path / "nowhere.txt")


def test_paths_of_any_system_and_the_files_of_bsds_are_names(tmp_path):
    (tmp_path / "ids.txt").write_text("val\\a.jpg\ntest/b.mat\n./c.png\n")
    assert read_ids(tmp_path / "ids.txt") == [Wanted("val/a"), Wanted("test/b"), Wanted("c")]
    assert [wanted.stem for wanted in read_ids(tmp_path / "ids.txt")] == ["a", "b", "c"]


def chosen_of(tmp_path, images, *lines):
    (tmp_path / "ids.txt").write_text("\n".join(lines))
    return Selection(tmp_path / "ids.txt").choose(dict.fromkeys(images), "photos")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("a/1.jpg", "a/1"),
        ("b/1", "b/1"),
        ("2.png", "a/2"),
        ("2", "a/2"),
        ("train/b/1.jpg", "b/1"),
        ("c/d/3.jpg", "c/d/3"),
        ("d/3.jpg", "c/d/3"),
        ("4", "4"),
        ("sub/4.jpg", "4"),
    ],
)
def test_a_list_names_images_with_their_folders_or_without(tmp_path, line, name):
    assert chosen_of(tmp_path, ["a/1", "b/1", "a/2", "c/d/3", "4", "e/4"], line) == [name]


@pytest.mark.parametrize("line", ["c/1.jpg", "ba/1", "1/a", "b"])
def test_another_folder_is_another_image(tmp_path, line):
    with pytest.raises(DataError, match=r"names 1 images that are not among the 2 of photos: "):
        chosen_of(tmp_path, ["a/1", "b/1"], line)


def test_a_name_of_several_images_is_refused_and_they_are_named(tmp_path):
    said = re.escape(
        "names 1, but 4 of the 5 images of photos are called so (a/1, b/1, c/1, ...): give their folders too."
    )
    with pytest.raises(DataError, match=said):
        chosen_of(tmp_path, ["a/1", "b/1", "c/1", "d/1", "2"], "2", "1.jpg")


def test_ids_and_names_of_a_coco_root_whose_photos_lie_in_folders(tmp_path):
    root = coco_in_folders(tmp_path)
    (tmp_path / "ids.txt").write_text(
        "3\nb/1.jpg\n1\n"
    )  # a number and nothing else is an id, though four files are called so
    assert open_dataset(root, selection=Selection(tmp_path / "ids.txt")).names == ("a/1.jpg", "b/1.jpg", "c/1.jpg")
    save_json(tmp_path / "ids.json", {"images": [image(2, "b/1.jpg"), image(4, "elsewhere/7.jpg")]})
    assert open_dataset(root, selection=Selection(tmp_path / "ids.json")).names == ("b/1.jpg", "d/1.jpg")
    for line, said in (("x/1.jpg", "not among the 4 of val2017"), ("1.jpg", "4 of the 4 images of val2017")):
        (tmp_path / "ids.txt").write_text(line)
        with pytest.raises(DataError, match=said):
            open_dataset(root, selection=Selection(tmp_path / "ids.txt"))


def test_ids_that_are_not_there_are_counted_and_three_of_them_named(tmp_path):
    for unknown, said in (("x", ": x."), ("xyz", ": x, y, z."), ("wxyz", ": w, x, y, ....")):
        (tmp_path / "ids.txt").write_text("\n".join("a" + unknown))
        said = re.escape(f"names {len(unknown)} images that are not among the 4 of letters{said}")
        with pytest.raises(DataError, match=f"{said}$"):
            Selection(tmp_path / "ids.txt").choose(dict.fromkeys("abcd"), "letters")


def test_provenance_says_what_a_list_holds_and_not_where_it_lies(tmp_path):
    said = []
    for folder, content in (("one", "a\nb\n"), ("two", "a\nb\n"), ("three", "a\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ids.txt").write_text(content)
        said.append(Selection(tmp_path / folder / "ids.txt", sample_seed=3).provenance)
    assert said[0] == said[1] != said[2]
    assert said[0]["ids"]["content"] == hashlib.sha256(b"a\nb\n").hexdigest()[:16]
    assert said[0]["sample_seed"] is None  # no sample was drawn


# --- large files ------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=3
)


@a_few
@given(st.dictionaries(st.text(max_size=2), values, max_size=3), st.sampled_from([None, 2]))
def test_lists_are_read_as_json_reads_them(content, indent):
    text = json.dumps(content, indent=indent)
    assert {key: list(records) for key, records in lists_of(text)} == {
        key: value for key, value in content.items() if isinstance(value, list)
    }
    assert [key for key, _ in lists_of(text)] == [key for key, value in content.items() if isinstance(value, list)]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a"', '{"a": [', '{"a": [1', '{"a": [1,]}', '{"a": [NaN]}', "{1: []}"]
)
def test_damaged_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        _ = [list(records) for _, records in lists_of(text)]


def test_a_part_of_a_coco_file_is_what_the_whole_has_of_it(tmp_path):
    path = coco_2017(tmp_path, [1, 2, 3]) / "annotations" / "instances_val2017.json"
    whole, part = read_coco(path), read_coco(path, only=[3, 1])
    assert list(part.images.values()) == [whole.images[1], whole.images[3]]
    for number in (1, 3):
        np.testing.assert_array_equal(part.instances(number).masks, whole.instances(number).masks)
        assert part.truth(number)[1] == whole.truth(number)[1]
    with pytest.raises(DataError, match="1 of 2 images are not in it, the first of them 9"):
        read_coco(path, only=[1, 9])


# --- commands ---------------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def scored(report, *arguments):
    done = run("evaluate", *arguments, "--json", report)
    assert done.exit_code == 0, done.output
    return json.loads(report.read_text())


def test_edges_of_a_seeded_sample_of_val2014_are_scored_and_the_report_says_so(tmp_path):
    root, report = coco_2014(tmp_path), tmp_path / "report.json"
    (tmp_path / "ids.txt").write_text("9\n42\n139\n")
    asked = ["--split", "val2014", "--ids", tmp_path / "ids.txt", "--sample", 2, "--sample-seed", 5, "--void-edges"]
    found = scored(report, "edges", "--truth", root, *asked, "--thresholds", 3, "--workers", 1)
    assert {row["images"] for row in found["rows"]} == {2}
    said = found["provenance"]["data"][str(root)]
    assert said.pop("ids")["name"] == "ids.txt" and len(said.pop("fingerprint")) == 16
    assert said == {
        **{"layout": "COCO", "split": "val2014", "images": 2, "sample": 2, "sample_seed": 5, "limit": None},
        **{"void_edges": True, "crowd_edges": False},
    }


def test_edges_are_scored_on_what_annotators_drew(tmp_path):
    found = scored(tmp_path / "r.json", "edges", "--truth", bsds(tmp_path), "--bsds", "--thresholds", 3, "--workers", 1)
    assert {row["images"] for row in found["rows"]} == {2}


def test_instances_of_voc_are_scored_from_files(tmp_path):
    objects = voc_objects()
    objects[objects == 255] = 0
    for stem in ("2007_000033", "2008_000002"):
        save(tmp_path / "pred" / f"{stem}.png", objects)
    asked = ["--truth", voc(tmp_path / "set"), "--pred", tmp_path / "pred", "--split", "val"]
    found = scored(tmp_path / "r.json", "instances", *asked)
    assert found["ap"] == pytest.approx(1) and found["images"] == 2
    assert found["provenance"]["data"][str(tmp_path / "set")]["layout"] == "VOC"


def test_instances_of_a_coco_file_are_chosen_too(tmp_path):
    path = coco_2017(tmp_path, [1, 2, 3]) / "annotations" / "instances_val2017.json"
    found = scored(tmp_path / "r.json", "instances", "--truth", path, "--pred", path, "--sample", 2)
    assert found["ap"] == pytest.approx(1) and found["images"] == 2
    done = run("evaluate", "instances", "--truth", path, "--pred", path, "--split", "val2017")
    assert "--split is for a data set's folder" in str(done.exception)


def test_wrong_use_is_a_sentence_before_anything_is_scored(tmp_path):
    voc(tmp_path / "voc")
    bsds(tmp_path / "bsds")
    done = run("evaluate", "edges", "--truth", tmp_path / "voc", "--split", "val2017")
    assert "VOC has the splits" in str(done.exception)
    done = run("evaluate", "edges", "--truth", tmp_path / "voc", "--crowd-edges")
    assert "are for COCO" in str(done.exception)
    done = run("evaluate", "edges", "--truth", tmp_path / "voc", "--ids", tmp_path / "nowhere")
    assert "cannot be read as a list of ids" in str(done.exception)
    done = run("evaluate", "instances", "--truth", tmp_path / "bsds", "--pred", tmp_path)
    assert "it has no instances" in str(done.exception)
    save_json(tmp_path / "x" / "annotations" / "other.json", {})
    done = run("evaluate", "edges", "--truth", tmp_path / "x")
    assert isinstance(done.exception, DataError) and "looked there for" in str(done.exception)
