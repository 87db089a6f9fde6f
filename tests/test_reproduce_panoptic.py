"""The paper's panoptic table from files of predictions: scored where they are given, not run where they are not."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from dataset_roots import voc
from panoptic_maps import CAT, CATEGORIES, DOG, SKY, panoptic
from tracedge.categories import VOC_PANOPTIC
from tracedge.datasets.layouts import open_dataset
from tracedge.errors import DataError, RunError
from tracedge.evaluation.reproduction.recipe import DATA, needs
from tracedge.evaluation.reproduction.recipes import RECIPES
from tracedge.evaluation.reproduction.reproduce import plan, reproduce
from tracedge.evaluation.reproduction.request import SMALL, Request
from tracedge.export.panoptic import write_panoptic


def run(request):
    reproduce(plan(request), {})
    return json.loads((request.output / "report.json").read_text())


def rows_of(table):
    return {row["label"]: row for row in table["rows"]}


@pytest.fixture
def voc_root(tmp_path):
    """A VOC root; perfect.json, which is its truth, and half.json, which has one image of two."""
    root = voc(tmp_path / "voc")
    images = [(n, f"{sample.stem}.jpg", sample.truth.map) for n, sample in enumerate(open_dataset(root).panoptic())]
    write_panoptic(tmp_path / "perfect.json", images, VOC_PANOPTIC)
    write_panoptic(tmp_path / "half.json", images[:1], VOC_PANOPTIC)
    return root


def test_without_files_there_is_nothing_to_run_and_they_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no row of panoptic can be run") as raised:
        plan(Request("panoptic", tmp_path / "out"))
    assert "VOC 2012 val: no VOC root" in str(raised.value)
    with pytest.raises(
        DataError, match=r"--small has nothing to run but labelled folders of --data(.|\n)*--files NAME"
    ):
        plan(Request("panoptic", tmp_path / "out", small=True, scale=SMALL))
    assert not (tmp_path / "out").exists()
    names = {row.segments for row in RECIPES["panoptic"].rows}
    assert len(names) == 9 and "dhr-trace-r50" in names
    assert any(all(name in said for name in names) for said in needs(RECIPES["panoptic"]))


def test_rows_with_files_are_scored_beside_the_papers_figures(tmp_path, voc_root):
    files = {"dhr-trace-r50": tmp_path / "perfect.json", "epld-r50": tmp_path / "half.json"}
    report = run(Request("panoptic", tmp_path / "out", (voc_root,), files=files))
    of_voc, of_coco = report["tables"]
    assert (of_voc["data"], of_voc["images"], of_voc["like_the_paper"]) == ("voc2012", 2, False)
    rows = rows_of(of_voc)
    ours = rows["DHR + TRACE, ResNet-50, tags"]
    assert ours["not_run"] is None
    figures = {column: (each["paper"], each["ours"]) for column, each in ours["figures"].items()}
    assert figures == {
        "PQ": (56.9, 100),
        "PQ things": (55.2, 100),
        "PQ stuff": (91.0, 100),
        "SQ": (88.4, 100),
        "RQ": (63.4, 100),
    }
    assert "of 1 of 2 images (2008_000002.jpg is the first)" in rows["EPLD, ResNet-50, points"]["not_run"]
    assert "panoptic maps of mars-r50 (--files mars-r50=PATH)" in rows["MARS, ResNet-50, tags"]["not_run"]
    assert all("no COCO root" in row["not_run"] for row in of_coco["rows"])
    assert of_voc["details"]["classes"] == {"DHR + TRACE, ResNet-50, tags": 3}
    page = (tmp_path / "out" / "report.md").read_text()
    assert "files given by --files" in page and "Edges of" not in page


def test_it_is_said_where_the_images_are_not_the_papers(tmp_path, voc_root, monkeypatch):
    """A root with two images passed for VOC 2012 val, which has 1449."""
    request = Request("panoptic", tmp_path / "out", (voc_root,), files={"epld-r50": tmp_path / "perfect.json"})
    for official, expected in (
        (1449, "A part of the paper's images: 2, where VOC 2012 val has 1449."),
        (1, "Not the paper's images: 2, where VOC 2012 val has 1."),
        (2, None),
    ):
        monkeypatch.setitem(DATA, "voc2012", replace(DATA["voc2012"], images=official))
        found = plan(request)
        of_voc, of_coco = run(request)["tables"]
        assert of_voc["like_the_paper"] == (expected is None) and not of_coco["like_the_paper"]
        page = (tmp_path / "out" / "report.md").read_text()
        if expected is None:
            assert "paper's images" not in page and found.unlike_the_paper == []
        else:
            assert page.count(expected) == 1 == page.count("paper's images")
            assert found.unlike_the_paper == [f"VOC 2012 val is {expected[0].lower()}{expected[1:]}"]


def test_the_numbers_of_images_are_those_of_the_official_splits():
    assert {key: data.images for key, data in DATA.items()} == {"voc2012": 1449, "coco2014": 40504, "coco2017": 5000}


def test_a_labelled_folder_is_scored_at_small_scale(tmp_path):
    truth = panoptic([[1, 1, 2], [3, 3, 3]], {1: CAT, 2: DOG, 3: SKY})
    found = panoptic([[1, 1, 1], [3, 3, 3]], {1: CAT, 3: SKY})  # the dog is taken for a part of the cat
    root = tmp_path / "pets"
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(root / "images" / "one.png")
    write_panoptic(root / "panoptic.json", [(1, "one.png", truth)], CATEGORIES)
    write_panoptic(tmp_path / "found.json", [(1, "one.png", found)], CATEGORIES)
    files = {"epld-swinl@pets": tmp_path / "found.json"}
    report = run(Request("panoptic", tmp_path / "out", (root,), small=True, files=files, scale=SMALL))
    scenes, pets = report["tables"]
    assert all("drawn scenes have no panoptic" in row["not_run"] for row in scenes["rows"])
    figures = {name: each["ours"] for name, each in rows_of(pets)["EPLD, Swin-L, points"]["figures"].items()}
    of_all = 100 * (2 / 3 + 0 + 1) / 3
    expected = {"PQ": of_all, "PQ things": 100 * (2 / 3 + 0) / 2, "PQ stuff": 100, "SQ": of_all, "RQ": 200 / 3}
    assert figures == pytest.approx(expected)


def test_a_killed_run_goes_on_but_not_with_other_maps(tmp_path, voc_root, monkeypatch):
    files = {"epld-r50": tmp_path / "perfect.json"}
    request = Request("panoptic", tmp_path / "out", (voc_root,), files=files)
    whole = run(Request("panoptic", tmp_path / "whole", (voc_root,), files=files))
    with monkeypatch.context() as patch:
        patch.setattr("tracedge.evaluation.panoptic.Journal.put", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(request)
    png = tmp_path / "perfect" / "2007_000033.png"
    before = png.read_bytes()
    png.write_bytes((tmp_path / "perfect" / "2008_000002.png").read_bytes() + b" ")
    with pytest.raises(RunError, match="other settings"):
        run(request)
    png.write_bytes(before)
    assert run(request) == whole


def stopped(self, counts, *key, of=None):
    raise KeyboardInterrupt
