"""A COCO file as a data set, the same images of it as of a root, names in folders, and results scored by the root's own ids."""

import json

import pytest
from typer.testing import CliRunner

from dataset_roots import add_panoptic, coco_2017, save_json, save_photo
from tracedge.cli import app
from tracedge.datasets.layouts import images_of_ids, instances_file, open_dataset
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError, SettingsError
from tracedge.evaluation.instances import labelled_set


def a_root(root, numbers=(1, 2, 3)):
    """A COCO root whose file lists its images the other way round than their names; and that file."""
    path = coco_2017(root, list(numbers)) / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["images"].reverse()
    save_json(path, content)
    return root, path


@pytest.mark.parametrize("selection", [Selection(limit=2), Selection(sample=2), Selection(sample=2, limit=1)])
def test_a_file_and_its_root_choose_the_same_images(tmp_path, selection):
    root, path = a_root(tmp_path)
    chosen = open_dataset(root, selection=selection).names
    assert open_dataset(path, selection=selection).names == chosen
    assert [image.name for image in labelled_set(open_dataset(path, selection=selection).instances())] == list(chosen)
    if selection == Selection(limit=2):
        assert chosen == ("000000000001.jpg", "000000000002.jpg")


def test_a_file_has_instances_and_no_photos(tmp_path):
    dataset = open_dataset(a_root(tmp_path)[1])
    assert (dataset.layout, dataset.split) == ("COCO file", None)
    for sample in dataset.instances():
        assert sample.image is None and len(sample.truth.objects) == 2 and len(sample.truth.crowds) == 1
    with pytest.raises(DataError, match="without photos: it has no edges"):
        dataset.edges()
    with pytest.raises(DataError, match="without photos: it has no panoptic segments"):
        dataset.panoptic()
    with pytest.raises(SettingsError, match="its images are all one split"):
        open_dataset(a_root(tmp_path)[1], "val2017")


def test_photos_in_folders_keep_their_folders_in_their_names(tmp_path):
    root, path = a_root(tmp_path, (1, 2))
    for file in (path, root / "annotations" / "panoptic_val2017.json"):
        content = json.loads(file.read_text())
        for record in content["images"]:
            record["file_name"] = f"{'ab'[record['id'] - 1]}/7.jpg"
        save_json(file, content)
    for folder in "ab":
        save_photo(root / "val2017" / folder / "7.jpg")
    dataset = open_dataset(root)
    for samples in (dataset.edges(), dataset.instances(), dataset.panoptic(), open_dataset(path).instances()):
        assert [sample.name for sample in samples] == list(samples.names) == ["a/7.jpg", "b/7.jpg"]
    assert [sample.image_path for sample in dataset.edges()] == [root / "val2017" / name for name in dataset.names]
    assert [image.name for image in labelled_set(dataset.instances())] == ["a/7.jpg", "b/7.jpg"]


def test_the_file_that_knows_the_ids_is_that_of_the_root(tmp_path):
    root, path = a_root(tmp_path / "coco")
    assert instances_file(open_dataset(root)) == instances_file(open_dataset(path)) == path
    save_photo(tmp_path / "set" / "images" / "a.png")
    (tmp_path / "set" / "masks").mkdir()
    assert instances_file(open_dataset(tmp_path / "set")) is None


@pytest.mark.parametrize("of_root", [True, False])
def test_results_are_scored_against_a_root_without_image_ids(tmp_path, of_root):
    """As README has it: evaluate instances --truth COCO --split val2017 --pred results.json."""
    root, path = a_root(tmp_path)
    add_panoptic(root, "val2017", [1, 2, 3])
    wanted = [one for one in json.loads(path.read_text())["annotations"] if not one["iscrowd"]]
    results = [{"image_id": one["image_id"], "score": 0.5, "segmentation": one["segmentation"]} for one in wanted]
    save_json(tmp_path / "results.json", results)
    truth = [root, "--split", "val2017"] if of_root else [path]
    asked = ["--truth", *truth, "--pred", tmp_path / "results.json", "--json", tmp_path / "report.json"]
    done = CliRunner().invoke(app, ["evaluate", "instances", *map(str, asked)])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ap"] == pytest.approx(1) and report["images"] == 3


def evaluated(tmp_path, *truths):
    """`evaluate instances` of results that are the objects of all these files of a root."""
    contents = [json.loads(path.read_text()) for path in truths]
    wanted = [one for content in contents for one in content["annotations"] if not one["iscrowd"]]
    results = [{"image_id": one["image_id"], "score": 0.5, "segmentation": one["segmentation"]} for one in wanted]
    save_json(tmp_path / "results.json", results)
    asked = [part for path in truths for part in ("--truth", path)]
    asked += ["--pred", tmp_path / "results.json", "--json", tmp_path / "report.json"]
    return CliRunner().invoke(app, ["evaluate", "instances", *map(str, asked)])


def test_results_of_two_roots_are_scored_by_the_ids_of_both(tmp_path):
    first, second = a_root(tmp_path / "one", (1, 2))[1], a_root(tmp_path / "two", (2, 3, 4))[1]
    done = evaluated(tmp_path, first, second)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [(row["images"], row["ar100"]) for row in rows] == [(2, 1), (3, 1)]


@pytest.mark.parametrize(("change", "said"), [({"file_name": "x.jpg"}, "x.jpg"), ({"height": 7}, "000000000002.jpg")])
def test_results_of_two_roots_in_which_one_id_is_of_two_images_are_refused(tmp_path, change, said):
    first, second = a_root(tmp_path / "one", (1, 2))[1], a_root(tmp_path / "two", (2, 3))[1]
    content = json.loads(second.read_text())
    next(one for one in content["images"] if one["id"] == 2).update(change)
    save_json(second, content)
    with pytest.raises(DataError, match=rf"id 2 is 000000000002\.jpg .*in one data set and {said} .*in "):
        images_of_ids([open_dataset(first), open_dataset(second)])
    done = evaluated(tmp_path, first, second)
    assert isinstance(done.exception, DataError) and "image id 2 is" in str(done.exception)
    assert not (tmp_path / "report.json").exists()
