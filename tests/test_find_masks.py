"""Any tool's masks, by the name of the image: found, of the image's size, and refused where anything is wrong."""

import json

import numpy as np
import pytest

from image_files import saved
from instance_masks import assert_equal, two
from tracedge.errors import DataError
from tracedge.export.coco import write_coco, write_coco_results
from tracedge.export.labels import write_instances, write_labels
from tracedge.instances import Instances
from tracedge.proposals.from_files import find_masks


def binary(path, mask, high=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    return saved(path, mask.astype(np.uint8) * high)


def as_coco(root):
    write_coco(root / "masks.json", [(1, "a.jpg", two()), (2, "none.jpg", Instances.empty((7, 10)))])
    return root / "masks.json"


def as_labels(root):
    write_labels(root / "masks" / "a.png", two())
    write_labels(root / "masks" / "none.png", Instances.empty((7, 10)))
    return root / "masks"


def as_npz(root):
    write_instances(root / "masks" / "a.npz", two())
    write_instances(root / "masks" / "none.npz", Instances.empty((7, 10)))
    return root / "masks"


def as_folders(root):
    for number, mask in zip((2, 10), two().masks, strict=True):
        binary(root / "masks" / "a" / f"mask{number}.png", mask)
    (root / "masks" / "a" / "metadata.csv").write_text("id,area")
    (root / "masks" / "none").mkdir()
    return root / "masks"


@pytest.mark.parametrize("make", [as_coco, as_labels, as_npz, as_folders])
def test_masks_are_found_by_stem_and_by_file_name(tmp_path, make):
    source = find_masks(make(tmp_path))
    assert sorted(source.stems) == ["a", "none"]
    assert len(source) == 2
    for name in ("a", "a.jpg", "a.PNG", "photos/a.jpg"):
        found = source.read(name, (7, 10))
        assert found.shape == (7, 10)
        np.testing.assert_array_equal(found.to_labels() > 0, two().masks.any(axis=0))
    assert len(source.read("none.jpg", (7, 10))) == 0
    with pytest.raises(DataError, match=r"has no masks of b\.jpg; it has those of 2 images, such as a"):
        source.read("b.jpg", (7, 10))


@pytest.mark.parametrize("make", [as_coco, as_labels, as_npz, as_folders])
def test_masks_that_do_not_fit_the_image_are_refused(tmp_path, make):
    with pytest.raises(DataError, match=r"7 x 10 \(rows x columns\).* but the image is 10 x 7"):
        find_masks(make(tmp_path)).read("a", (10, 7))


def test_order_and_scores_are_those_of_the_files(tmp_path):
    for make in (as_coco, as_folders, as_npz):
        (tmp_path / make.__name__).mkdir()
        np.testing.assert_array_equal(find_masks(make(tmp_path / make.__name__)).read("a", (7, 10)).masks, two().masks)
    assert find_masks(tmp_path / "as_coco" / "masks.json").read("a", (7, 10)).scores.tolist() == pytest.approx(
        [0.25, 0.9]
    )


def test_single_files_stand_for_one_image(tmp_path):
    write_labels(tmp_path / "a.instances.png", two())
    write_instances(tmp_path / "b.npz", two())
    assert find_masks(tmp_path / "a.instances.png").stems == ("a",)
    assert_equal(find_masks(tmp_path / "b.npz").read("b.jpg", (7, 10)), two())


def test_our_own_output_folder_is_read_with_its_folders_and_past_its_other_files(tmp_path):
    for stem in ("trips/a", "home/a", "home/b.c"):
        write_labels(tmp_path / f"{stem}.instances.png", two())
        saved(tmp_path / f"{stem}.edges.png", np.zeros((7, 10), np.uint8))
    saved(tmp_path / "over.png", np.zeros((7, 10, 3), np.uint8))
    (tmp_path / ".tracedge-0123456789abcdef.tmp.instances.png").write_text("half")
    source = find_masks(tmp_path)
    assert source.stems == ("home/a", "home/b.c", "trips/a")
    assert source.kind == "label PNGs"
    assert len(source.read("b.c.jpg", (7, 10))) == 2
    assert len(source.read("trips/a.jpg", (7, 10))) == 2
    assert len(source.read("b.c", (7, 10))) == 2
    with pytest.raises(DataError, match=r"masks of 2 images named a\.jpg: home/a, trips/a"):
        source.read("a.jpg", (7, 10))
    with pytest.raises(DataError, match=r"no masks of work/a\.jpg"):
        source.read("work/a.jpg", (7, 10))
    write_instances(tmp_path / "home/a.instances.npz", two())
    assert find_masks(tmp_path).stems == ("home/a",)


def test_results_are_found_with_the_images_of_the_truth(tmp_path):
    write_coco_results(tmp_path / "results.json", [(1, two())])
    source = find_masks(tmp_path / "results.json", as_coco(tmp_path))
    assert len(source.read("a.jpg", (7, 10))) == 2
    assert len(source.read("none.jpg", (7, 10))) == 0
    with pytest.raises(DataError, match="give images"):
        find_masks(tmp_path / "results.json")
    with pytest.raises(DataError, match="for COCO results only"):
        find_masks(as_labels(tmp_path), tmp_path / "masks.json")


def test_a_source_says_which_images_it_knows(tmp_path):
    source = find_masks(as_labels(tmp_path))
    assert "a.jpg" in source
    assert "photos/none.png" in source
    assert "b.jpg" not in source


def test_unknown_input_is_refused_and_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("no masks")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    for path in (tmp_path / "notes.txt", tmp_path / "empty"):
        with pytest.raises(DataError, match=r"holds no masks: looked for a COCO \.json.*label PNGs.*npz.*binary PNGs"):
            find_masks(path)
    with pytest.raises(DataError, match="does not exist"):
        find_masks(tmp_path / "missing")


def test_several_kinds_and_several_of_one_name_are_refused(tmp_path):
    as_labels(tmp_path)
    as_npz(tmp_path)
    with pytest.raises(DataError, match=r"holds \.npz and \.png: give a folder of one kind"):
        find_masks(tmp_path / "masks")
    write_coco(tmp_path / "a.json", [(1, "a.jpg", two()), (2, "a.png", two())])
    with pytest.raises(DataError, match="two images named a: rename"):
        find_masks(tmp_path / "a.json")


def test_folders_of_other_pictures_are_not_taken_for_images_without_masks(tmp_path):
    as_folders(tmp_path)
    saved(tmp_path / "masks" / "none" / "1.jpg", np.zeros((7, 10), np.uint8))
    with pytest.raises(DataError, match=r"none holds 1\.jpg, expected masks as PNG"):
        find_masks(tmp_path / "masks")


def test_binary_masks_are_of_one_value_and_one_size(tmp_path):
    root = as_folders(tmp_path)
    saved(root / "a" / "mask11.png", np.zeros((7, 10), np.uint8))
    assert len(find_masks(root).read("a", (7, 10))) == 2  # one without a pixel is left out
    saved(root / "a" / "mask12.png", np.arange(70, dtype=np.uint8).reshape(7, 10))
    with pytest.raises(DataError, match=r"mask12\.png has 70 different values, expected 0 and one other"):
        find_masks(root).read("a", (7, 10))
    saved(root / "a" / "mask12.png", np.zeros((10, 7), np.uint8))
    with pytest.raises(DataError, match=r"mask12\.png is 10 x 7 \(rows x columns\), but the image is 7 x 10"):
        find_masks(root).read("a", (7, 10))
    saved(root / "a" / "mask12.png", np.zeros((7, 10, 3), np.uint8))
    with pytest.raises(DataError, match="mode RGB, expected one channel"):
        find_masks(root).read("a", (7, 10))


def test_binary_masks_may_be_one_bit_or_any_value(tmp_path):
    saved(tmp_path / "a.png", two().masks[0])
    for high in (1, 128):
        binary(tmp_path / "masks" / "a" / f"{high}.png", two().masks[0], high)
    (tmp_path / "a.png").rename(tmp_path / "masks" / "a" / "bits.png")
    assert find_masks(tmp_path / "masks").read("a", (7, 10)).areas.tolist() == [13, 13, 13]


def test_provenance_is_of_the_content_and_not_of_the_place(tmp_path):
    sources = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        sources.append(find_masks(as_labels(tmp_path / place)))
    assert sources[0].provenance == sources[1].provenance
    assert sources[0].provenance["kind"] == "label PNGs"
    json.dumps(sources[0].provenance)
    write_labels(tmp_path / "two" / "masks" / "a.png", two()[:1])
    assert find_masks(tmp_path / "two" / "masks").provenance["content"] != sources[0].provenance["content"]
    assert find_masks(as_coco(tmp_path)).provenance["name"] == "masks.json"
