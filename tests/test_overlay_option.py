"""`--overlay` is spelt alike in every command that makes maps of photos, and `tracedge sheet` shows what it wrote."""

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from tracedge.cli import app
from tracedge.datasets.scenes import draw_scene
from tracedge.images import load_image
from tracedge.student.pseudo_labels import PseudoLabels

QUICK = ["--size", "48"]
VERBS = ["edges", "segment", "refine", "panoptic", "semantic", "teach", "detect predict", "detect relabel"]


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    return done


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    Image.fromarray(draw_scene(1, 64).image[:40]).save(folder / "a.png")
    Image.fromarray(draw_scene(2, 64).image).save(folder / "inner" / "b.jpg")
    return folder


def differs(overlay, photo):
    """The share of pixels that are no longer the photo's."""
    drawn, before = load_image(overlay).astype(int), load_image(photo).astype(int)
    assert drawn.shape == before.shape
    return (np.abs(drawn - before).max(axis=2) > 20).mean()


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_that_makes_maps_of_photos_has_the_same_option(verb):
    command = get_command(app)
    for word in verb.split():
        command = command.commands[word]
    (option,) = [one for one in command.params if "--overlay" in one.opts]
    assert option.is_flag and option.help.startswith("Also write a picture to look at")


def test_segment_and_refine_write_the_same_overlay_as_by_format(photos, tmp_path):
    run("segment", photos, "-o", tmp_path / "one", *QUICK, "--overlay")
    run("segment", photos, "-o", tmp_path / "two", *QUICK, "--format", "overlay", "--overlay")
    for name in ("a.instances.overlay.png", "inner/b.instances.overlay.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    run("refine", tmp_path / "one", "--images", photos, "-o", tmp_path / "three", *QUICK, "--overlay")
    assert (tmp_path / "three" / "a.instances.overlay.png").is_file()


def test_the_teachers_labels_have_one_and_are_read_as_before(photos, tmp_path):
    asked = ["--size", "48", "--stride", "400", "--px", "64"]
    run("teach", photos, "-o", tmp_path / "taught", *asked, "--overlay")
    assert 0.01 < differs(tmp_path / "taught" / "a.overlay.png", tmp_path / "taught" / "a.image.png") <= 1
    assert len(PseudoLabels(tmp_path / "taught")) == 2


def test_a_sheet_of_a_run_is_one_command(photos, tmp_path):
    run("segment", photos, "-o", tmp_path / "masks", *QUICK, "--overlay")
    said = run("sheet", tmp_path / "masks", "-o", tmp_path / "sheet.png", "--sort", "most", "--side", "64").output
    assert said.strip() == str(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as page:
        assert page.width >= 2 * 64 and page.height >= 64
    several = run("sheet", tmp_path / "masks", "-o", tmp_path / "sheet.png", "--columns", "1", "--rows", "1").output
    assert several.startswith("2 pages: ") and "sheet-001.png to " in several
    wrong = CliRunner().invoke(app, ["sheet", str(photos), "-o", str(tmp_path / "no.png")])
    assert "has no readable manifest.jsonl" in str(wrong.exception)


def test_a_sheet_lays_maps_over_their_photos_where_there_are_no_overlays(photos, tmp_path):
    run("edges", photos, "-o", tmp_path / "edges", *QUICK)
    run("sheet", tmp_path / "edges", "-o", tmp_path / "over.png", "--images", photos, "--side", "64")
    run("sheet", tmp_path / "edges", "-o", tmp_path / "alone.png", "--side", "64")
    over, alone = (load_image(tmp_path / name) for name in ("over.png", "alone.png"))
    assert over.shape == alone.shape
    assert (np.ptp(over.astype(int), axis=2) > 20).mean() > (np.ptp(alone.astype(int), axis=2) > 20).mean() + 0.05
