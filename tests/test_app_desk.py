"""The desk: photos in, pictures and words out; the model is asked only for what needs it; files are what the readers read."""

import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_reader import names_in, scene, silent, small_reader
from tracedge.errors import DataError, SettingsError
from tracedge.export.coco_reader import read_coco
from tracedge.export.labels import read_instances, read_labels
from tracedge.export.npz import read_npz
from tracedge.export.png import read_png16
from tracedge.web.desk import COMPARE, STEPS, Desk
from tracedge.web.downloads import FORMATS
from tracedge.web.limits import Limits
from tracedge.web.reading import Controls
from tracedge.web.words import compared_html

PLAIN = Controls()


class Counted:
    """The small reader, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        self.asked.append(name)
        return getattr(small_reader(), name)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(Counted(), tmp_path / "page", Limits(max_pixels=20_000, max_photos=3))


@pytest.fixture
def photo(tmp_path) -> Path:
    Image.fromarray(scene(13)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def take(desk: Desk, key: str, files: list[Path]) -> list[str]:
    """Uploads come in, and are read."""
    desk.visits.receive(key, files)
    return desk.take(key, PLAIN, silent)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_photo_is_shown_with_the_predictors_edges_and_its_objects_marked(desk, photo):
    assert take(desk, "a", [photo]) == []
    view = desk.view("a", 0, PLAIN)
    edges = small_reader().edges(scene(13))
    objects = small_reader().objects(edges, PLAIN)
    assert np.array_equal(pixels(view.photo), scene(13))
    assert np.array_equal(pixels(view.edges), np.rint(edges.edges * 255).astype(np.uint8))
    changed = (pixels(view.objects) != scene(13)).any(axis=2)
    inside = objects.masks.any(axis=0)
    assert changed[inside].mean() > 0.95
    assert changed[~inside].mean() < 0.05  # numbers may stand over the border
    assert f"<b>{len(objects)} objects</b>" in view.line
    assert view.table.count("<tr><td>") == len(objects)
    assert f"<td>{objects.areas[0]:,}</td>" in view.table


def test_a_control_that_needs_no_forward_asks_no_model(desk, photo):
    take(desk, "a", [photo])
    before = desk.view("a", 0, PLAIN)
    desk.reader.asked.clear()
    after = desk.view("a", 0, Controls(strength=0.5))
    assert desk.reader.asked == ["objects"]
    assert after.objects != before.objects
    assert after.edges == before.edges
    desk.view("a", 0, Controls(strength=0.5))
    assert desk.reader.asked == ["objects"]  # the same again is kept


def test_another_zoom_asks_the_model_anew(desk, photo):
    take(desk, "a", [photo])
    plain = pixels(desk.view("a", 0, PLAIN).edges)
    desk.reread("a", Controls(zoom=2), silent)
    assert not np.array_equal(pixels(desk.view("a", 0, Controls(zoom=2)).edges), plain)


def test_the_slower_tabs_are_made_when_they_are_open_and_only_once(desk, photo):
    take(desk, "a", [photo])
    assert desk.compare("a", 0, PLAIN) is None
    assert desk.explain("a", 0, silent) is None
    assert desk.look("a", 0, 0) is None
    assert not {"groups", "steps"} & set(desk.reader.asked)
    desk.visits.open_tab("a", COMPARE)
    compared = desk.compare("a", 0, PLAIN)
    desk.compare("a", 0, Controls(strength=0.3))
    assert not np.array_equal(pixels(compared.before), scene(13))
    desk.visits.open_tab("a", STEPS)
    choice = desk.explain("a", 0, silent)
    desk.explain("a", 0, silent)
    assert desk.reader.asked.count("groups") == desk.reader.asked.count("steps") == 1
    looks = [desk.look("a", 0, timestep) for timestep in choice.timesteps]
    assert len({pixels(look.picture).tobytes() for look in looks}) == len(choice.timesteps)
    assert all(f"chosen: t = {choice.chosen:g}" in look.curve for look in looks)
    assert looks[0].curve.count("<circle") == len(choice.timesteps) - 1


def test_what_cannot_be_read_is_said_without_a_path_of_this_machine(desk, photo, tmp_path):
    broken, large = tmp_path / "<b>broken.png", tmp_path / "large.png"
    broken.write_bytes(photo.read_bytes()[:200])
    Image.new("RGB", (200, 200)).save(large)
    problems = take(desk, "a", [broken, photo, large])
    assert len(problems) == 2
    assert re.search(r"<b>broken\.png .*(damaged|cut short)", problems[0])
    assert problems[1] == "large.png is 200 x 200 = 40000 pixels, more than the limit of 20000."
    assert not any(str(tmp_path) in problem for problem in problems)
    assert [name for _, name in desk.names("a")] == ["photo.png"]


def test_more_photos_than_allowed_are_cut_off_and_that_is_said(desk, photo):
    problems = take(desk, "a", [photo] * 4)
    assert problems == ["4 files came, at most 3 are read at a time: the first ones were."]
    assert len(desk.names("a")) == 3


def test_one_visitor_has_nothing_of_another(desk, photo):
    take(desk, "a", [photo])
    assert desk.names("b") == []
    with pytest.raises(DataError, match="no photo here"):
        desk.view("b", 0, PLAIN)
    with pytest.raises(DataError, match="no photo here"):
        desk.files("b", ["coco"], PLAIN)
    with pytest.raises(DataError, match="no photo number 2"):
        desk.view("a", 1, PLAIN)


def test_new_photos_take_the_place_of_the_old_ones(desk, photo):
    take(desk, "a", [photo, photo])
    old = desk.view("a", 1, PLAIN).photo
    take(desk, "a", [photo])
    assert not old.exists()
    assert len(desk.names("a")) == 1


def unpacked(archive: Path, folder: Path) -> dict[str, Path]:
    """What is in a zip, by its name there."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
        return {name: folder / name for name in opened.namelist()}


def test_every_format_reads_back(desk, photo, tmp_path):
    take(desk, "a", [photo])
    files = unpacked(desk.files("a", list(FORMATS), PLAIN), tmp_path / "home")
    edges = small_reader().edges(scene(13))
    objects = small_reader().objects(edges, PLAIN)
    assert np.abs(read_png16(files["photo.edges.png"]) - edges.edges).max() < 1e-5
    assert np.array_equal(read_npz(files["photo.edges.npz"]).edges, edges.edges)
    assert np.array_equal(read_labels(files["photo.instances.png"]).to_labels(), objects.to_labels())
    assert np.array_equal(read_instances(files["photo.instances.npz"]).masks, objects.masks)
    coco = read_coco(files["instances.json"])
    assert [image.file_name for image in coco.images.values()] == ["photo.png"]
    assert np.array_equal(coco.instances(1).masks, objects.masks)
    assert len(json.loads(files["results.json"].read_text())) == len(objects)
    assert len(files["labels/photo.txt"].read_text().splitlines()) >= len(objects)
    assert len(json.loads(files["photo.geojson"].read_text())["features"]) == len(objects)
    (task,) = json.loads(files["label_studio.json"].read_text())
    assert len(task["predictions"][0]["result"]) == len(objects)
    assert pixels(files["photo.instances.overlay.png"]).shape == scene(13).shape
    assert not np.array_equal(pixels(files["photo.overlay.png"]), scene(13))
    assert len(files) == len(FORMATS) + 1  # and YOLO's yaml


def test_one_file_comes_as_it_is_several_as_a_zip_and_earlier_ones_go(desk, photo):
    take(desk, "a", [photo, photo])
    first = desk.files("a", ["coco"], PLAIN)
    assert first.name == "instances.json"
    archive = desk.files("a", ["edges", "yolo", "coco"], PLAIN)
    assert not first.exists()
    assert [path.name for path in archive.parent.iterdir() if path.is_file()] == ["tracedge.zip"]
    assert names_in(archive) == [
        "photo.edges.png", "photo-2.edges.png", "labels/photo.txt", "labels/photo-2.txt", "instances.json", "data.yaml"
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="at least one kind"):
        desk.files("a", [], PLAIN)


def test_equal_bytes_of_two_visitors_under_two_names_are_a_photo_of_each(desk, photo, tmp_path):
    shared = tmp_path / "page" / "0f3a"  # gradio calls the folder of an upload by its bytes
    shared.mkdir()
    for name in ("coins.png", "other.png"):
        (shared / name).write_bytes(photo.read_bytes())
    for key in "ab":
        desk.visits.receive(key, [shared / "coins.png"])
    assert desk.take("a", PLAIN, silent) == []
    desk.visits.receive("c", [shared / "other.png"])
    assert [desk.take(key, PLAIN, silent) for key in "bc"] == [[], []]
    assert [name for key in "abc" for _, name in desk.names(key)] == ["coins.png", "coins.png", "other.png"]


def test_what_waits_to_be_read_outlives_the_upload_and_goes_when_it_was_read(desk, photo):
    desk.visits.receive("a", [photo])
    photo.unlink()
    assert desk.visits.unread_bytes() > 0
    assert desk.take("a", PLAIN, silent) == []
    assert desk.visits.unread_bytes() == 0
    assert desk.take("a", PLAIN, silent) == []  # nothing came since
    assert desk.names("a") == []


def test_nobody_waits_for_a_visit_that_is_being_read(desk, photo):
    take(desk, "a", [photo])
    desk.visits.open_tab("a", STEPS)
    desk.explain("a", 0, silent)
    with desk.visits.open("a") as visit:
        started = time.monotonic()
        desk.visits.open_tab("a", COMPARE)
        desk.visits.receive("a", [photo])
        assert desk.look("a", 0, 0) is None
        desk.visits.close("a")
        assert time.monotonic() - started < 5
        assert visit.folder.exists()
    assert not visit.folder.exists()
    assert desk.look("nobody", 0, 0) is None


def test_a_photos_own_name_stays_unless_it_is_taken(desk, photo, tmp_path):
    other = tmp_path / "photo.PNG"
    other.write_bytes(photo.read_bytes())
    take(desk, "a", [photo, other, photo])
    coco = read_coco(desk.files("a", ["coco"], PLAIN))
    assert [image.file_name for image in coco.images.values()] == ["photo.png", "photo.PNG", "photo-2.png"]


def test_one_group_is_called_one_group():
    assert "<b>1</b> group of" in compared_html(1, 3)
    assert "<b>2</b> groups of" in compared_html(2, 3)
