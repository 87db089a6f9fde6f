"""Contact sheets: which photos stand where, what is said of them, and what is shown."""

import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image, ImageFont

from tracedge.errors import DataError, SettingsError
from tracedge.export.png import write_png8, write_png16
from tracedge.images import load_image
from tracedge.run_entries import RunEntry
from tracedge.visualize import lettering
from tracedge.visualize.contact_sheet import (
    GAP,
    HEAD,
    SheetSettings,
    caption,
    contact_sheet,
    fitted_text,
    in_order,
    write_contact_sheet,
)
from tracedge.visualize.lettering import text_font, written
from tracedge.visualize.thumbnails import thumbnail

SMALL = SheetSettings(columns=3, rows=2, side=48)
RED, BLUE = (250, 10, 10), (10, 10, 250)


def entry(name, error=None, suffixes=(".overlay.png",), **fields):
    return RunEntry(f"{name}.png", PurePosixPath(name), error, tuple(suffixes), fields)


def plain(colour, size=(48, 48)):
    return Image.new("RGB", size, colour)


def a_run(folder, count, colour=RED):
    """A run of overlays in one colour, and its manifest."""
    folder.mkdir(exist_ok=True)
    lines = []
    for number in range(count):
        plain(colour).save(folder / f"{number}.overlay.png")
        lines.append({"file": f"{number}.png", "output": str(number), "status": "ok", "error": None})
        lines[-1] |= {"suffixes": [".overlay.png"], "instances": number, "content_hash": "0", "settings_hash": "0"}
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_photos_stand_row_by_row_in_the_order_given():
    names = "abcdefgh"
    colours = {f"{name}.png": (30 * place, 200, 90) for place, name in enumerate(names)}
    pages = list(
        contact_sheet([entry(name) for name in names], lambda one: plain(colours[one.file]), SMALL, title="run")
    )
    assert len(pages) == 2
    seen = [page.getpixel((GAP + column * 56 + 20, HEAD + row * 94 + 20)) for page, row, column in places(pages)]
    assert seen[:8] == list(colours.values())
    assert pages[1].size[1] < pages[0].size[1]  # the last page ends with its last row


def places(pages):
    return [(page, row, column) for page in pages for row in range(1 if page is pages[1] else 2) for column in range(3)]


def test_orders_put_the_figure_first_those_without_after_and_failures_last():
    entries = [
        entry("a", error="ImageError: no"),
        entry("b", instances=5, scores=[0.9] * 5),
        entry("c", instances=0, scores=[]),
        entry("d", instances=9, scores=[0.2] * 9),
    ]
    said = {sort: "".join(one.file[0] for one in in_order(entries, sort)) for sort in ("name", "most", "fewest")}
    assert said == {"name": "bcda", "most": "dbca", "fewest": "cbda"}
    assert "".join(one.file[0] for one in in_order(entries, "least-sure")) == "dbca"
    assert "".join(one.file[0] for one in in_order(entries, "surest")) == "bdca"
    with pytest.raises(SettingsError, match="has a figure to be sorted by slowest"):
        in_order(entries, "slowest")
    with pytest.raises(SettingsError, match="unknown order"):
        in_order(entries, "best")


def test_captions_say_how_many_and_how_sure():
    assert caption(entry("a", instances=1, scores=[0.5])) == "1 instance, score 0.50"
    assert caption(entry("a", classes=[3])) == "1 class"
    assert caption(entry("a", segments=[[1], [2]])) == "2 segments"
    assert caption(entry("a", timestep=100.0, margin=0.25)) == "t* = 100, margin 0.25"
    assert caption(entry("a", timestep=None, margin=None)) == ""
    assert caption(entry("a", error="no")) == "failed"


def test_a_row_is_as_tall_as_its_tallest_picture():
    sizes = {"a": (48, 20), "b": (48, 24), "c": (48, 10), "d": (20, 48)}
    page = next(contact_sheet([entry(name) for name in sizes], lambda one: plain(RED, sizes[one.file[0]]), SMALL))
    assert page.height == HEAD + 24 + 48 + 2 * 46 + GAP
    assert page.getpixel((GAP, HEAD + 4)) == page.getpixel((GAP, HEAD + 23)) == RED  # at the row's foot
    assert page.getpixel((GAP, HEAD + 24 + 46)) == RED


def test_a_long_name_keeps_its_ends():
    font = ImageFont.load_default(12)
    short = fitted_text("holiday/2024/at-the-sea/picture-000123.jpg", 120, font)
    assert short.startswith("hol") and short.endswith("23.jpg") and "..." in short and font.getlength(short) <= 120
    assert fitted_text("a.jpg", 120, font) == "a.jpg"


def test_a_name_in_another_script_is_written_or_escaped_but_never_boxes():
    pytest.importorskip("matplotlib")
    font = text_font(11)
    assert written("мир-ñ-Ω.jpg", font) == "мир-ñ-Ω.jpg"
    assert written("日\n🙂.jpg", font) == r"\u65E5\u000A\U0001F642.jpg"


def test_without_matplotlib_names_are_written_in_pillows_letters(monkeypatch):
    monkeypatch.setattr(lettering, "find_spec", lambda name: None)
    assert written("a-日.jpg", text_font(11)) == r"a-\u65E5.jpg"
    next(contact_sheet([entry("日")], lambda one: plain(RED), SMALL))


def test_a_failed_photo_and_a_lost_picture_are_said_in_its_place(tmp_path):
    page = next(contact_sheet([entry("a", error="ImageError: it is cut short")], plain, SMALL))
    alarming = (np.asarray(page).astype(int) @ (1, 0, -1) > 90).sum()
    assert alarming > 20

    def lost(one):
        return thumbnail(tmp_path, one, 48)

    page = next(contact_sheet([entry("a")], lost, SMALL))
    assert (np.asarray(page).astype(int) @ (1, 0, -1) > 90).sum() > 20


def test_one_page_has_the_name_given_and_several_are_numbered(tmp_path):
    target = tmp_path / "sheet.png"
    run = a_run(tmp_path / "run", 5)
    assert write_contact_sheet(run, target, SMALL) == [target]
    few = SheetSettings(columns=2, rows=1, side=48)
    pages = write_contact_sheet(run, target, few)
    assert [page.name for page in pages] == ["sheet-001.png", "sheet-002.png", "sheet-003.png"]
    assert not target.exists()  # an earlier sheet, and its own
    write_contact_sheet(run, target, SMALL)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["sheet.png"]


def test_somebody_elses_picture_is_neither_written_over_nor_removed(tmp_path):
    run, target = a_run(tmp_path / "run", 3), tmp_path / "sheet.png"
    plain(BLUE).save(tmp_path / "sheet-099.png")
    write_contact_sheet(run, target, SMALL)
    plain(BLUE).save(target)
    with pytest.raises(SettingsError, match="is no contact sheet"):
        write_contact_sheet(run, target, SMALL)
    assert load_image(target)[0, 0].tolist() == list(BLUE) and (tmp_path / "sheet-099.png").is_file()
    with pytest.raises(SettingsError, match=r"ends in \.png"):
        write_contact_sheet(run, tmp_path / "sheet.jpg", SMALL)


@pytest.mark.parametrize("stem", ["sheet", "u[1]", "a*"])
def test_only_pages_of_the_same_sheet_are_removed(tmp_path, stem):
    run, few = a_run(tmp_path / "run", 5), SheetSettings(columns=2, rows=1, side=48)
    others = [f"{stem}-edges.png", f"{stem}-2024.png", f"{stem}-1.png", "u1-001.png", "ab-001.png"]
    for name in others:
        write_contact_sheet(run, tmp_path / name, SMALL)
    assert len(write_contact_sheet(run, tmp_path / f"{stem}.png", few)) == 3
    write_contact_sheet(a_run(tmp_path / "run", 4), tmp_path / f"{stem}.png", few)  # a page less
    pages = {f"{stem}-001.png", f"{stem}-002.png"}
    assert {path.name for path in tmp_path.glob("*.png")} == {*others, *pages}
    write_contact_sheet(run, tmp_path / f"{stem}.png", SMALL)
    assert {path.name for path in tmp_path.glob("*.png")} == {*others, f"{stem}.png"}


def test_wrong_settings_and_an_empty_run_are_said(tmp_path):
    for wrong in ({"columns": 0}, {"rows": 51}, {"side": 20}, {"sort": "best"}):
        with pytest.raises(SettingsError):
            SheetSettings(**wrong)
    with pytest.raises(DataError, match="without any photo"):
        write_contact_sheet(a_run(tmp_path / "run", 0), tmp_path / "a.png")
    with pytest.raises(SettingsError, match="is no folder"):
        write_contact_sheet(a_run(tmp_path / "run", 1), tmp_path / "a.png", images=tmp_path / "nothing")
    (tmp_path / "others").mkdir()
    with pytest.raises(SettingsError, match=r"holds none of the photos of .*, such as 0\.png"):
        write_contact_sheet(a_run(tmp_path / "run", 1), tmp_path / "a.png", images=tmp_path / "others")


def test_only_a_page_of_pictures_is_made_at_a_time():
    made = []
    pages = contact_sheet([entry(str(n)) for n in range(60)], lambda one: made.append(one) or plain(RED), SMALL)
    next(pages)
    assert len(made) == 6


# What is shown of a photo.


def test_an_overlay_is_shown_as_it_is(tmp_path):
    plain(RED, (96, 24)).save(tmp_path / "a.overlay.png")
    shown = thumbnail(tmp_path, entry("a", suffixes=(".edges.png", ".overlay.png")), 48)
    assert shown.size == (48, 12) and shown.getpixel((5, 5)) == RED


def test_thin_edges_are_still_seen_when_they_are_made_small(tmp_path):
    edges = np.zeros((400, 600), np.float32)
    edges[:, 300] = 1
    write_png16(tmp_path / "a.edges.png", edges)
    alone = np.asarray(thumbnail(tmp_path, entry("a", suffixes=(".edges.png",)), 60))
    assert alone.shape == (40, 60, 3) and alone[20].min() < 10 and alone[20, 5].min() == 255
    Image.new("RGB", (600, 400), (90, 90, 90)).save(tmp_path / "a.png")
    over = np.asarray(thumbnail(tmp_path, entry("a", suffixes=(".edges.png",)), 60, tmp_path))
    assert (np.ptp(over[20].astype(int), axis=1) > 150).any() and np.ptp(over[20, 5]) == 0


def test_instances_are_told_apart_alone_and_over_their_photo(tmp_path):
    labels = np.repeat([[0, 1, 2]], 40, axis=1).repeat(80, axis=0).astype(np.uint16)
    write_png16(tmp_path / "a.instances.png", labels)
    one = entry("a", suffixes=(".instances.png",))
    alone = np.asarray(thumbnail(tmp_path, one, 60))
    assert (np.asarray(thumbnail(tmp_path, one, 60, tmp_path)) == alone).all(), "a photo of an archive is not there"
    assert alone[20, 5].max() == 0 and alone[20, 25].max() > 100 and (alone[20, 25] != alone[20, 50]).any()
    Image.new("RGB", (120, 80), (90, 90, 90)).save(tmp_path / "a.png")
    over = np.asarray(thumbnail(tmp_path, one, 60, tmp_path))
    assert over[20, 5].tolist() == [90, 90, 90] and (over[20, 25] != over[20, 50]).any()


@pytest.mark.parametrize("suffixes", [(".instances.png",), (".instances.overlay.png", ".instances.png")])
@pytest.mark.parametrize("with_photo", [True, False])
def test_the_number_of_an_instance_is_as_large_on_a_sheet_of_a_large_photo(tmp_path, suffixes, with_photo):
    labels = np.zeros((1200, 1600), np.uint16)
    labels[200:1000, 300:1300] = 1
    write_png16(tmp_path / "a.instances.png", labels)
    for name in ("a.png", "a.instances.overlay.png"):
        Image.new("RGB", (1600, 1200), (90, 90, 90)).save(tmp_path / name)
    shown = np.asarray(thumbnail(tmp_path, entry("a", suffixes=suffixes), 160, tmp_path if with_photo else None))
    assert shown.shape == (120, 160, 3)
    white, black = (shown[40:80, 60:100] > 230).all(axis=2), (shown[40:80, 60:100] < 25).all(axis=2)
    assert np.ptp(np.argwhere(white)[:, 0]) >= 6 and white.sum() > 8  # px: the height of a digit, of a pixel's breadth
    assert black.sum() > 10  # the rim


def test_instances_whose_file_is_gone_are_shown_by_their_overlay(tmp_path):
    plain(RED, (96, 24)).save(tmp_path / "a.instances.overlay.png")
    one = entry("a", suffixes=(".instances.overlay.png", ".instances.png"))
    assert thumbnail(tmp_path, one, 48).getpixel((5, 5)) == RED


def test_segments_classes_and_pseudo_labels_are_shown_too(tmp_path):
    ids = np.zeros((20, 30, 3), np.uint8)
    ids[:, 10:20, 1] = 1  # the id 256
    (tmp_path / "panoptic").mkdir()
    write_png8(tmp_path / "panoptic" / "a.png", ids)
    shown = np.asarray(thumbnail(tmp_path, entry("a", suffixes=("panoptic/.png",)), 30))
    assert shown[5, 5].max() == 0 and shown[5, 15].max() > 100
    write_png8(tmp_path / "panoptic" / "b.png", np.maximum(ids, 1))  # no void
    assert np.asarray(thumbnail(tmp_path, entry("b", suffixes=("panoptic/.png",)), 30))[5, 5].max() > 100
    palette = Image.fromarray(np.repeat([[0, 1]], 10, axis=1).repeat(20, axis=0).astype(np.uint8), mode="L").convert(
        "P"
    )
    palette.putpalette([0, 0, 0, 128, 0, 0])
    (tmp_path / "classes").mkdir()
    palette.save(tmp_path / "classes" / "a.png")
    assert np.asarray(thumbnail(tmp_path, entry("a", suffixes=("classes/.png",)), 30))[5, 15].tolist() == [128, 0, 0]
    plain(BLUE, (30, 20)).save(tmp_path / "a.image.png")
    write_png16(tmp_path / "a.edges.png", np.zeros((20, 30), np.float32))
    taught = thumbnail(tmp_path, entry("a", suffixes=(".image.png", ".edges.png")), 30)
    assert taught.getpixel((5, 5))[2] > taught.getpixel((5, 5))[0] + 80
    with pytest.raises(DataError, match="nothing can be shown"):
        thumbnail(tmp_path, entry("a", suffixes=(".npz",)), 30)
