"""The paper's tables again, at a scale of seconds: what is absent is said, what can be run is run, a kill is gone on from."""

import importlib.resources
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tracedge.cli import app
from tracedge.datasets.labelled import open_labelled
from tracedge.datasets.selection import Selection
from tracedge.errors import DataError, RunError, SettingsError, TracedgeError
from tracedge.evaluation import edges as edge_evaluation
from tracedge.evaluation.edges import true_boundaries
from tracedge.evaluation.reproduction.measures import MEASURES
from tracedge.evaluation.reproduction.models import Models
from tracedge.evaluation.reproduction.recipe import DATA, STRAIGHT, EdgeSource, needs
from tracedge.evaluation.reproduction.recipes import RECIPES
from tracedge.evaluation.reproduction.report import Cell, format_figure
from tracedge.evaluation.reproduction.reproduce import plan, reproduce
from tracedge.evaluation.reproduction.request import SMALL, Request, Scale
from tracedge.export.png import write_png16
from tracedge.student.files import fingerprint, read_student

TINY = Scale(scenes=2, scene_px=48, images=1, thresholds=3, stride=400, size=32, repeats=1, steps=2)


def tiny(name: str, output: Path, **options) -> Request:
    return Request(name, output, **{"small": True, "crf": False, "scale": TINY, **options})


def run(request: Request) -> dict:
    reproduce(plan(request), {"versions": "of the test"})
    return json.loads((request.output / "report.json").read_text())


def rows_of(report: dict, table: int = 0) -> dict[str, dict]:
    return {row["label"]: row for row in report["tables"][table]["rows"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A labelled folder `tiles` of two pictures of four flat tiles, in a folder of data sets."""
    root = tmp_path / "data" / "tiles"
    for number in range(2):
        labels = np.kron(np.array([[1, 2], [3, 0]]), np.ones((20, 24), int)).astype(np.uint16)
        colours = np.random.default_rng(number).integers(0, 255, (4, 3), dtype=np.uint8)
        for kind, picture in (("images", colours[labels]), ("masks", labels)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / kind / f"tiles{number}.png")
    return root


def true_edges(root: Path, output: Path) -> Path:
    """The borders of a labelled folder as another detector would write them."""
    output.mkdir(parents=True, exist_ok=True)
    for sample in open_labelled(root).edges():
        write_png16(output / f"{sample.stem}.edges.png", true_boundaries(sample).astype(np.float32))
    return output


def test_every_figure_of_a_recipe_stands_in_one_of_its_columns_and_data_sets() -> None:
    for recipe in RECIPES.values():
        labels = [row.label for row in recipe.rows]
        assert len(set(labels)) == len(labels)
        assert recipe.measure in {*MEASURES, "none"}
        assert set(recipe.data) <= DATA.keys()
        for row in recipe.rows:
            assert row.paper.keys() <= set(recipe.data or ("",))
            assert all(figures.keys() <= set(recipe.columns) for figures in row.paper.values())


def test_the_recipes_hold_the_papers_figures() -> None:
    def paper(name: str, label: str, data: str) -> dict[str, float]:
        return dict(next(row for row in RECIPES[name].rows if row.label == label).paper[data])

    assert paper("edge-quality", "TRACE", "coco2014") == {"ODS": 0.889, "OIS": 0.899, "clDice": 0.826}
    assert paper("uis", "CutLER + TRACE", "coco2017") == {"AP": 12.8, "AR100": 33.9}
    assert paper("uis", "CutLER + CutS3D", "coco2014") == {"AP": 10.9}
    assert paper("backbones", "FLUX.1, 12 B", "coco2014") == {"AP": 8.3, "AR100": 13.4}
    assert paper("panoptic", "DHR + TRACE, Swin-L, tags", "voc2012")["PQ"] == 69.8
    assert paper("pseudo-labels", "above mean + deviation", "coco2014") == {"precision": 0.852}


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("panoptic", "backbones", "uis")])
def test_every_recipe_runs_at_small_scale(name: str, tmp_path: Path, folder: Path) -> None:
    report = run(tiny(name, tmp_path / "out", data=(folder.parent,) if RECIPES[name].data else ()))
    places = [table["data"] for table in report["tables"]]
    assert places == (["scenes", "tiles"] if RECIPES[name].data else ["scene"])
    for table in report["tables"]:
        assert [row["label"] for row in table["rows"]] == [row.label for row in RECIPES[name].rows]
        assert not table["like_the_paper"]
        run_rows = [row for row in table["rows"] if row["not_run"] is None]
        assert len(run_rows) >= 2
        for row in run_rows:
            assert any(figure["ours"] is not None for figure in row["figures"].values()), row
        for row in table["rows"]:
            if row["not_run"] is not None:
                assert all(figure["ours"] is None for figure in row["figures"].values())
            for figure in row["figures"].values():
                if figure["difference"] is not None:
                    assert figure["difference"] == figure["ours"] - figure["paper"]
    assert (tmp_path / "out" / "report.md").read_text().count("not run: ") == sum(
        row["not_run"] is not None for table in report["tables"] for row in table["rows"]
    )
    assert not (tmp_path / "out" / "report.json.journal").exists()


def test_backbones_runs_mini_and_names_the_weights_that_are_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))  # the user's may have them
    rows = rows_of(run(tiny("backbones", tmp_path / "out")))
    assert rows["mini"]["not_run"] is None and rows["mini, teacher"]["not_run"] is None
    assert "weights of sdxl" in rows["SDXL, 2.5 B"]["not_run"]
    assert "student of sdxl" in rows["SDXL, 2.5 B"]["not_run"]
    assert rows["DINOv2-G, 1.1 B"]["not_run"] == "weights of dinov2-giant"
    assert "EVA-02" in rows["EVA02-E, 5.0 B"]["not_run"]


def test_what_is_absent_is_said_in_one_message_before_any_work(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tracedge.evaluation.reproduction.models.load_backbone", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(DataError) as raised:
        plan(Request("uis", tmp_path / "out"))
    said = str(raised.value)
    for absent in (*(DATA[key].name for key in RECIPES["uis"].data),):
        assert absent in said
    assert "no --data" in said
    assert not (tmp_path / "out").exists()


def test_edges_of_others_are_scored_where_they_are_given(tmp_path: Path, folder: Path) -> None:
    others = true_edges(folder, tmp_path / "hed")
    request = tiny("edge-quality", tmp_path / "out", data=(folder,), files={"hed@tiles": others})
    report = run(request)
    assert "--files hed=PATH" in rows_of(report, 0)["HED"]["not_run"]
    hed = rows_of(report, 1)["HED"]
    assert hed["not_run"] is None and hed["figures"]["ODS"]["ours"] == 1
    assert hed["figures"]["ODS"]["difference"] == pytest.approx(1 - 0.347)


def test_edges_of_others_that_do_not_know_all_images_are_not_run(tmp_path: Path, folder: Path) -> None:
    others = true_edges(folder, tmp_path / "hed")
    request = tiny("edge-quality", tmp_path / "out", data=(folder,), files={"hed": others})
    found = plan(request)
    assert found.places[0].key == "scenes"
    assert "no edges for 2 images" in found.missing[0]["HED"][0]
    assert found.missing[1]["HED"] == []


def test_masks_of_others_stand_alone_and_with_bgp(tmp_path: Path, folder: Path) -> None:
    request = tiny("uis", tmp_path / "out", data=(folder,), files={"cutler@tiles": folder / "masks"})
    rows = rows_of(run(request), 1)
    assert rows["CutLER"]["figures"]["AP"]["ours"] == pytest.approx(100)
    assert rows["CutLER"]["figures"]["AP"]["paper"] == 11.2
    assert rows["CutLER + TRACE"]["not_run"] is None
    assert "files" in rows["ProMerge+"]["not_run"]


def test_labels_count_as_they_are_taught_whatever_the_edges_strength(tmp_path: Path) -> None:
    request = tiny("pseudo-labels", tmp_path / "out")
    models = Models(request, plan(request).needs)
    image = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    soft = models.edges(EdgeSource("teacher", snap=False), "scenes")(image)
    labels = models.edges(EdgeSource("teacher", snap=False, labels="halves"), "scenes")(image)
    assert (labels == (soft > soft.mean())).all()


def test_students_of_two_rules_learn_from_the_same_scenes_and_differ(tmp_path: Path) -> None:
    request = tiny("pseudo-labels", tmp_path / "out")
    models, root = Models(request, plan(request).needs), tmp_path / "out" / "distilled-2"
    rules = ("mean_deviation", "ridges")
    for rule in rules:
        models.predictor(EdgeSource("student", snap=rule == "ridges", labels=rule))
        assert json.loads((root / f"labels-{rule}" / "config.json").read_text())["rule"] == rule
    assert len({fingerprint(read_student(root / f"labels-{rule}" / "student")[0]) for rule in rules}) == 2
    taught = sorted((root / "images").iterdir())
    assert len(taught) == 2
    unseen = set(plan(request).places[0].names)
    assert unseen.isdisjoint(path.name for path in taught)


def test_masks_straight_from_the_edges_stand_beside_those_of_bgp(tmp_path: Path, folder: Path) -> None:
    edges = {"hed@tiles": true_edges(folder, tmp_path / "hed")}
    report = run(tiny("edges-in-bgp", tmp_path / "out", data=(folder,), files=edges))
    rows = rows_of(report, 1)
    assert rows["HED"]["figures"][STRAIGHT]["ours"] > 50  # exact edges; the fourth tile is background
    assert rows["none (ProMerge)"]["figures"][STRAIGHT]["ours"] is None
    heading = next(
        line for line in (tmp_path / "out" / "report.md").read_text().splitlines() if line.startswith("| row")
    )
    assert heading == "| row | AP, paper | AP, ours | AP, difference | AP straight | |"


def test_nothing_is_drawn_before_it_is_known_that_a_row_can_be_run(tmp_path: Path) -> None:
    found = plan(tiny("edge-quality", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert found.places[0].samples().names == found.places[0].names
    assert len(found.places[0].names) == TINY.scenes


def test_a_limit_counts_for_scenes_too(tmp_path: Path, folder: Path) -> None:
    found = plan(tiny("edge-quality", tmp_path / "out", data=(folder,), selection=Selection(limit=1)))
    assert [len(place.samples().names) for place in found.places] == [1, 1]


def test_timesteps_count_every_image_once(tmp_path: Path) -> None:
    report = run(tiny("timesteps", tmp_path / "out"))
    chosen = report["tables"][0]["details"]["images at each step"]
    assert set(chosen) == {row.label for row in RECIPES["timesteps"].rows}
    assert all(sum(times.values()) == TINY.scenes for times in chosen.values())
    assert all(figure["figures"]["regret"]["ours"] > -1 for figure in report["tables"][0]["rows"][:3])


def test_cost_counts_how_many_times_as_fast(tmp_path: Path) -> None:
    rows = rows_of(run(tiny("cost", tmp_path / "out")))
    plain, student = (rows[label]["figures"] for label in ("teacher as written", "student"))
    assert plain["times as fast"]["ours"] == 1
    assert student["times as fast"]["ours"] == pytest.approx(plain["ms"]["ours"] / student["ms"]["ours"])


@pytest.mark.parametrize("name", ["edge-quality", "timesteps", "components", "cost"])
def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_report(name: str, tmp_path: Path, monkeypatch) -> None:
    request = tiny(name, tmp_path / "out")
    with monkeypatch.context() as patch:
        killed_after(patch, puts=1)
        with pytest.raises(KeyboardInterrupt):
            run(request)
    journal = tmp_path / "out" / "report.json.journal"
    counted = journal.read_bytes().count(b"\n")
    assert counted == 2  # the settings and one count
    again = run(request)
    if name != "cost":  # times differ
        assert again == run(replace(request, output=tmp_path / "fresh"))
    assert not journal.exists()


def killed_after(patch: pytest.MonkeyPatch, puts: int) -> None:
    from tracedge.evaluation.journal import Journal

    put, left = Journal.put, [puts]

    def once_less(self, counts, *key, **of):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        put(self, counts, *key, **of)

    patch.setattr(Journal, "put", once_less)


def test_an_interrupted_run_does_not_go_on_under_other_settings(tmp_path: Path, monkeypatch) -> None:
    request = tiny("edge-quality", tmp_path / "out")
    with monkeypatch.context() as patch:
        killed_after(patch, puts=1)
        with pytest.raises(KeyboardInterrupt):
            run(request)
    with pytest.raises(RunError, match="other settings"):
        run(replace(request, scale=replace(TINY, thresholds=5)))


def test_every_row_that_is_run_is_scored_once_an_image(tmp_path: Path, monkeypatch) -> None:
    seen: list[str] = []
    score = edge_evaluation.score_image
    monkeypatch.setattr(edge_evaluation, "score_image", lambda *a, **k: (seen.append("scored"), score(*a, **k))[1])
    report = run(tiny("edge-quality", tmp_path / "out"))
    run_rows = [row for row in report["tables"][0]["rows"] if row["not_run"] is None]
    assert len(seen) == len(run_rows) * TINY.scenes


def test_an_own_folder_is_scored_beside_the_papers_data_that_are_absent(tmp_path: Path, folder: Path) -> None:
    request = Request("edge-quality", tmp_path / "out", (folder,), backbone="mini", scale=replace(TINY, scenes=0))
    report = run(request)
    assert [table["data"] for table in report["tables"]] == ["coco2014", "tiles"]
    assert all("no COCO root" in row["not_run"] for row in report["tables"][0]["rows"])
    assert rows_of(report, 1)["TRACE"]["not_run"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers"),
        ({"files": {"hed": Path("nowhere")}}, "nowhere"),
        ({"scale": replace(TINY, scenes=0)}, "at least one scene"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        tiny("cost", tmp_path, **options)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no COCO, VOC or BSDS root and no labelled folder"):
        plan(tiny("edge-quality", tmp_path / "out", data=(tmp_path,)))


def test_two_data_sets_of_one_name_are_refused(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "again" / "tiles")
    with pytest.raises(SettingsError, match="two data sets are called tiles"):
        plan(tiny("edge-quality", tmp_path / "out", data=(folder, tmp_path / "again")))
    shutil.copytree(folder, tmp_path / "scenes")
    with pytest.raises(SettingsError, match="two data sets are called scenes"):
        plan(tiny("edge-quality", tmp_path / "out", data=(tmp_path / "scenes",)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("hedd", "names hedd, which edge-quality does not ask for: hed, pidinet, diffusionedge"),
        ("hed@coco2041", "no data set here is called coco2041: scenes"),
    ],
)
def test_a_name_of_files_that_nothing_asks_for_is_refused(given: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(tiny("edge-quality", tmp_path / "out", files={given: tmp_path}))


def test_masks_of_an_instances_file_need_no_list_of_images(tmp_path: Path, folder: Path) -> None:
    images = [{"id": n, "file_name": f"tiles{n}.png", "height": 40, "width": 48} for n in range(2)]
    square = {"id": 1, "image_id": 0, "category_id": 1, "iscrowd": 0, "area": 100, "bbox": [0, 0, 10, 10]}
    square["segmentation"] = [[0, 0, 10, 0, 10, 10, 0, 10]]
    masks = tmp_path / "cutler.json"
    masks.write_text(json.dumps({"images": images, "annotations": [square], "categories": [{"id": 1, "name": "a"}]}))
    request = tiny("uis", tmp_path / "out", data=(folder,), files={"cutler@tiles": masks}, image_ids=masks)
    assert plan(request).missing[1]["CutLER"] == []


def test_an_interrupted_run_does_not_go_on_with_other_weights(tmp_path: Path, monkeypatch) -> None:
    shipped = Path(str(importlib.resources.files("tracedge"))) / "weights" / "mini"
    mine = shutil.copytree(shipped, tmp_path / "mine")
    request = tiny("timesteps", tmp_path / "out", backbone=str(mine))
    with monkeypatch.context() as patch:
        killed_after(patch, puts=1)
        with pytest.raises(KeyboardInterrupt):
            run(request)
    path = next((mine / "transformer").glob("*.safetensors"))
    tensors = load_file(path)
    save_file({name: 0.9 * tensor for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    with pytest.raises(RunError, match="other settings"):
        run(request)
    assert run(replace(request, output=tmp_path / "new"))["provenance"]["weights"].keys() == {str(mine)}


def test_a_student_that_is_none_is_said_of_its_row(tmp_path: Path) -> None:
    found = plan(tiny("edge-quality", tmp_path / "out", student=str(tmp_path)))
    assert "does not hold a student" in found.missing[0]["TRACE"][0]


def test_figures_are_as_exact_as_they_are_meant() -> None:
    assert Cell(0.5, None).difference is None and math.isclose(Cell(9.4, 5.0).difference, -4.4)
    figures = ((0.1234, "ODS"), (9.44, "AP"), (45.2, "ms"), (0.12, "MB"), (None, "AP"))
    assert [format_figure(*figure) for figure in figures] == ["0.123", "9.4", "45", "0.12", "-"]


def test_the_command_lists_every_recipe_and_what_it_needs() -> None:
    done = CliRunner().invoke(app, ["reproduce"])
    assert done.exit_code == 0
    for name, recipe in RECIPES.items():
        assert f"{name}: {recipe.about}" in done.output
        assert all(need in done.output for need in needs(recipe))


def test_the_list_loads_no_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from tracedge.cli import app; "
        "assert CliRunner().invoke(app, ['reproduce']).exit_code == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_writes_a_page_and_says_what_was_not_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tracedge.evaluation.reproduction.request.SMALL", TINY)
    done = CliRunner().invoke(app, ["reproduce", "cost", "--small", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.md").read_text()
    assert "| teacher as written | 3682 |" in page
    assert page.strip() in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "-o", "out"], "unknown recipe"),
        (["cost"], "-o FOLDER"),
        (["cost", "-o", "out", "--steps", "9"], "--small"),
        (["cost", "-o", "out", "--files", "hed"], "NAME=PATH"),
        (["cost", "-o", "out", "--files", "a=.", "--files", "a=."], "twice"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["reproduce", *arguments])
    assert isinstance(done.exception, TracedgeError)
    assert message in str(done.exception)


def test_a_small_run_is_smaller_than_a_full_one() -> None:
    assert SMALL.scenes and SMALL.images and SMALL.steps
