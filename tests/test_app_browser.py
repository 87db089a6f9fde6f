"""The page in a browser: what is shown is what the predictor gives, files read back, visitors stay apart, nothing goes out."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from page_process import chromium, served
from small_reader import names_in, scene, small_reader
from tracedge.export.coco_reader import read_coco
from tracedge.export.labels import read_instances, read_labels
from tracedge.export.npz import read_npz
from tracedge.export.png import read_png16
from tracedge.web.downloads import FORMATS
from tracedge.web.pictures import objects_picture
from tracedge.web.reading import Controls

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PX = 128
LONG = 120_000  # ms: two cores may have other work


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(temporary):
    options = ("--size", "64", "--max-photos", "2", "--max-megabytes", "1", "--max-pixels", "50000")
    with served(temporary / "log", temporary, *options) as url:
        yield url
    left = [path.name for path in temporary.iterdir() if path.name.startswith("tracedge-page-")]
    assert left == []  # its private folder goes with it


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def visitor(browser, address):
    """Opens the page for one more visitor, each with cookies and storage of its own; checks what the page asked for."""
    contexts, asked = [], []

    def visit():
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.set_default_timeout(LONG)
        page.goto(address)
        page.wait_for_selector("#drop input[type=file]", state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    outside = [url for url in asked if urlsplit(url).hostname not in ("127.0.0.1", None)]
    assert asked
    assert outside == []


@pytest.fixture
def photo(tmp_path) -> Path:
    Image.fromarray(scene(13, PX)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def drop(page, *paths: Path) -> None:
    page.set_input_files("#drop input[type=file]", list(paths))


def shown(page, selector: str) -> np.ndarray:
    """The pixels of a picture as the server gives them."""
    source = page.wait_for_selector(f"{selector} img").get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())))


def wait_until(page, selector: str, other_than: str) -> str:
    """The address of a picture, once it is another."""
    deadline = time.monotonic() + LONG / 1000
    while time.monotonic() < deadline:
        source = page.wait_for_selector(f"{selector} img").get_attribute("src")
        if source != other_than:
            return source
        page.wait_for_timeout(50)
    raise AssertionError(f"the picture of {selector} stayed as it was")


def expected():
    edges = small_reader().edges(scene(13, PX))
    return edges, small_reader().objects(edges, Controls())


def test_a_dropped_photo_shows_its_edges_and_objects(visitor, photo):
    page = visitor()
    drop(page, photo)
    page.wait_for_selector("#table table")
    edges, objects = expected()
    assert np.array_equal(shown(page, "#objects"), objects_picture(scene(13, PX), objects))
    assert page.locator("#table tbody tr").count() == len(objects) > 1
    assert page.locator("#line").inner_text() == f"photo.png · {PX} × {PX} · {len(objects)} objects"
    page.get_by_role("tab", name="Edges").click()
    sources = page.wait_for_selector("#edges img") and page.eval_on_selector_all(
        "#edges img", "all => all.map(i => i.src)"
    )
    pictures = [np.asarray(Image.open(io.BytesIO(page.request.get(url).body()))) for url in sources]
    assert any(np.array_equal(one, np.rint(edges.edges * 255).astype(np.uint8)) for one in pictures)
    assert any(np.array_equal(one, scene(13, PX)) for one in pictures)


def test_a_control_changes_the_objects(visitor, photo):
    page = visitor()
    drop(page, photo)
    page.wait_for_selector("#table table")
    before = page.wait_for_selector("#objects img").get_attribute("src")
    rows = page.locator("#table tbody tr").count()
    page.fill("#strength input[type=number]", "0.4")
    page.press("#strength input[type=number]", "Enter")
    page.locator("#strength input[type=number]").blur()
    wait_until(page, "#objects", before)
    assert page.locator("#table tbody tr").count() < rows


def test_the_step_is_explained_and_the_slider_shows_each(visitor, photo):
    page = visitor()
    drop(page, photo)
    page.wait_for_selector("#table table")
    page.get_by_role("tab", name="How the step").click()
    page.wait_for_selector("#curve svg")
    chosen = small_reader_steps()
    assert f"t = {chosen.chosen:g}" in page.locator("#chosen-line").inner_text()
    assert page.locator("#curve svg circle").count() == len(chosen.timesteps) - 1
    at_chosen = page.wait_for_selector("#attention img").get_attribute("src")
    mark = page.locator("#curve line.looked-at").get_attribute("x1")
    page.locator("#step input[type=range]").focus()
    page.keyboard.press("End")
    wait_until(page, "#attention", at_chosen)
    assert np.array_equal(shown(page, "#attention"), chosen.colours[-1])
    assert page.locator("#curve line.looked-at").get_attribute("x1") != mark


def small_reader_steps():
    from tracedge.teacher import EdgeTeacher
    from tracedge.web.reading import Reader

    teacher = EdgeTeacher("mini", size=64, device="cpu")
    return Reader(small_reader().predictor, teacher).steps(scene(13, PX), (PX, PX))


def test_before_and_after_the_edges_stand_side_by_side(visitor, photo):
    page = visitor()
    drop(page, photo)
    page.wait_for_selector("#table table")
    page.get_by_role("tab", name="Before and after").click()
    page.wait_for_selector("#after img")
    groups = small_reader().groups(scene(13, PX))
    refined = small_reader().refined(expected()[0], groups, Controls())
    assert np.array_equal(shown(page, "#before"), objects_picture(scene(13, PX), groups))
    assert np.array_equal(shown(page, "#after"), objects_picture(scene(13, PX), refined))
    assert str(len(refined)) in page.locator("#compared-line").inner_text()


def make_files(page, folder: Path, *labels: str) -> Path:
    """What these formats give, downloaded as a visitor does."""
    page.get_by_role("tab", name="Files").click()
    for form in FORMATS.values():
        page.locator("#formats").get_by_label(form.label, exact=True).set_checked(form.label in labels)
    page.get_by_role("button", name="Make the files").click()
    link = page.wait_for_selector("#files a[href]")
    with page.expect_download() as waiting:
        link.click()
    waiting.value.save_as(folder / waiting.value.suggested_filename)
    return folder / waiting.value.suggested_filename


def test_one_format_is_downloaded_as_it_is(visitor, photo, tmp_path):
    page = visitor()
    drop(page, photo)
    page.wait_for_selector("#table table")
    file = make_files(page, tmp_path, "Edges (16-bit PNG)")
    assert file.name == "photo.edges.png"
    assert np.abs(read_png16(file) - expected()[0].edges).max() < 1e-5


def test_all_formats_are_downloaded_and_read_back(visitor, photo, tmp_path):
    page = visitor()
    drop(page, photo)
    page.wait_for_selector("#table table")
    archive = make_files(page, tmp_path, *(form.label for form in FORMATS.values()))
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "home")
    home, (edges, objects) = tmp_path / "home", expected()
    assert np.array_equal(read_npz(home / "photo.edges.npz").edges, edges.edges)
    assert np.array_equal(read_labels(home / "photo.instances.png").to_labels(), objects.to_labels())
    assert np.array_equal(read_instances(home / "photo.instances.npz").masks, objects.masks)
    assert np.array_equal(read_coco(home / "instances.json").instances(1).masks, objects.masks)
    assert len((home / "labels" / "photo.txt").read_text().splitlines()) >= len(objects)
    assert len(json.loads((home / "photo.geojson").read_text())["features"]) == len(objects)
    assert len(json.loads((home / "label_studio.json").read_text())[0]["predictions"][0]["result"]) == len(objects)


def test_several_photos_can_be_gone_through(visitor, photo, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(scene(26, PX)).save(other)
    page = visitor()
    drop(page, photo, other)
    page.wait_for_selector("#table table")
    assert page.locator("#line").inner_text().startswith("photo.png")
    page.locator("#photos button.thumbnail-item").nth(1).click()
    page.wait_for_function("document.querySelector('#line').innerText.startsWith('other.png')")
    archive = make_files(page, tmp_path, "Edges (16-bit PNG)")
    assert names_in(archive) == ["photo.edges.png", "other.edges.png"]


@pytest.mark.parametrize("width", [390, 900, 1280])
def test_in_a_window_of_any_width_photos_lie_open_and_nothing_sticks_out(visitor, photo, tmp_path, width):
    other = tmp_path / "other.png"
    Image.fromarray(scene(26, PX)).save(other)
    page = visitor()
    page.set_viewport_size({"width": width, "height": 900})
    drop(page, photo, other)
    page.wait_for_selector("#table table")
    strip, label = page.locator("#photos").bounding_box(), page.locator("#photos label").bounding_box()
    thumbnails = [one.bounding_box() for one in page.locator("#photos .thumbnail-item").all()]
    assert len(thumbnails) == 2
    for one in thumbnails:
        assert label["y"] + label["height"] <= one["y"]
        assert 0 <= strip["y"] + strip["height"] - (one["y"] + one["height"]) < 20
    is_beside = page.locator("#objects").bounding_box()["x"] > strip["x"] + strip["width"]
    assert is_beside == (width > 800)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_example_is_on_board(visitor):
    page = visitor()
    page.locator("#examples button.thumbnail-item").first.click()
    page.wait_for_selector("#table table")
    assert "512 × 512" in page.locator("#line").inner_text()  # although a visitor's photo has to be smaller here


def test_what_cannot_be_read_is_said_in_a_sentence_that_names_no_path(visitor, photo, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:300])
    large = tmp_path / "large.png"
    Image.new("RGB", (400, 300)).save(large)
    page = visitor()
    drop(page, broken)
    page.wait_for_selector("#problems .problem")
    said = page.locator("#problems").inner_text()
    assert re.match(r"broken\.png (cannot be decoded|begins as PNG)", said)
    assert "/" not in said
    drop(page, large, photo)
    page.wait_for_selector("#table table")
    assert (
        page.locator("#problems").inner_text()
        == "large.png is 400 x 300 = 120000 pixels, more than the limit of 50000."
    )


def test_a_file_of_too_many_bytes_is_refused(visitor, tmp_path):
    heavy = tmp_path / "heavy.png"
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(heavy)
    page = visitor()
    drop(page, heavy)
    page.wait_for_selector("text=/exceeds|too large|maximum/i")
    assert page.locator("#table table").count() == 0


def test_visitors_stay_apart_and_what_a_visitor_brought_goes_with_the_visitor(visitor, photo, temporary):
    first, second = visitor(), visitor()
    drop(first, photo)
    first.wait_for_selector("#table table")
    source = first.wait_for_selector("#objects img").get_attribute("src")
    file = Path(source.split("file=")[1])
    # The other sees nothing, finds nothing, and cannot list anything.
    second.reload()
    second.wait_for_selector("#drop input[type=file]", state="attached")
    assert second.locator("#objects img").count() == 0
    get = second.request.get
    base = source.split(str(file))[0]
    assert get(source).status == 200  # who has the link can follow it: the page's help says so
    for path in (
        file.parent,
        file.parent.parent,
        file.parent.parent.parent,
        file.with_name("image.npz"),
        "/etc/passwd",
    ):
        assert get(f"{base}{path}").status == 403
    assert get(f"{base}{Path(__file__)}").status == 403
    assert get(f"{base}https://example.org/").status == 403
    # What was received is gone since it was read; the rest goes when the visitor leaves.
    (private,) = [path for path in temporary.iterdir() if path.name.startswith("tracedge-page-")]
    assert list(private.glob("visits/*/received-*")) == []
    first.context.close()
    deadline = time.monotonic() + 60
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not file.exists()
    assert get(source).status == 403


def test_who_comes_when_the_queue_is_full_is_told_so(browser, tmp_path):
    with served(tmp_path / "log", tmp_path, "--size", "64", "--queue", "1") as address:
        contexts = [browser.new_context() for _ in range(5)]
        pages = [context.new_page() for context in contexts]
        for page in pages:
            page.set_default_timeout(LONG)
            page.goto(address)
            page.wait_for_selector("#examples button.thumbnail-item")
        for page in pages:
            page.evaluate("document.querySelector('#examples button.thumbnail-item').click()")
        answers = [
            page.wait_for_selector("#table table, [data-testid=toast-body], .toast-body").inner_text() for page in pages
        ]
        for context in contexts:
            context.close()
    told = ["currently busy" in answer for answer in answers]
    assert any(told)
    assert not all(told)
