"""Who waits for whom: a visitor's controls answer while the model reads another's photos, and catch up after one's own."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from PIL import Image

from page_process import SLOW_PAGE, chromium, started
from slow_reader import SlowReader
from small_reader import scene, silent, small_reader

gr = pytest.importorskip("gradio")

from tracedge.web.desk import Desk  # noqa: E402
from tracedge.web.handlers import Handlers  # noqa: E402
from tracedge.web.limits import Limits  # noqa: E402
from tracedge.web.page import MASKS  # noqa: E402
from tracedge.web.reading import Controls  # noqa: E402

PLAIN, STRONG = (0.2, 0.5, 1), (0.4, 0.5, 1)
KEPT = [gr.skip()] * 4
SECONDS = 60  # far below that of the model, which never answers while it is held
LONG = 120_000  # ms
SAYS = "said => document.querySelector('#line').innerText.includes(said)"


def of(session: str) -> SimpleNamespace:
    return SimpleNamespace(session_hash=session, client=None)


def told(share: float, desc: str) -> None:
    silent(share, desc)


FIRST, SECOND, THIRD = of("first visitor"), of("second visitor"), of("third visitor")


@pytest.fixture
def reader(tmp_path) -> SlowReader:
    return SlowReader(tmp_path)


@pytest.fixture
def handlers(tmp_path, reader) -> Handlers:
    return Handlers(Desk(reader, tmp_path / "page", Limits(max_pixels=20_000, max_photos=3)), [])


@pytest.fixture
def photo(tmp_path) -> str:
    Image.fromarray(scene(13)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_controls_answer_while_other_visitors_are_read_and_turn_theirs(handlers, reader, photo):
    for who in (FIRST, SECOND, THIRD):
        handlers.receive(who, [photo])
        handlers.take(who, told, *PLAIN)
    with ThreadPoolExecutor(1) as model, ThreadPoolExecutor(MASKS["concurrency_limit"]) as masks:
        with reader.held():
            reads = [model.submit(handlers.reread, who, told, 0, *PLAIN[:2], 2) for who in (FIRST, SECOND)]
            reader.wait_until_asked(SECONDS)
            turned = [masks.submit(handlers.find, FIRST, 0, *STRONG) for _ in range(2)]
            picked = masks.submit(handlers.pick, FIRST, SimpleNamespace(index=0), *STRONG)
            made = masks.submit(handlers.files, FIRST, ["coco"], *STRONG)
            for who in (SECOND, THIRD):  # one waits for the model, one asks nothing of it
                objects, _, line, _, files = masks.submit(handlers.find, who, 0, *STRONG).result(SECONDS)
                assert objects.endswith(".png") and "photo.png" in line and files["value"] is None
            assert [one.result(SECONDS)[:4] for one in turned] == [KEPT, KEPT]
            assert picked.result(SECONDS)[:5] == [0, *KEPT]
            with pytest.raises(gr.Error, match="still being worked on"):
                made.result(SECONDS)
        assert [read.result(SECONDS)[4]["visible"] for read in reads] == [False, False]
    fine = (*STRONG[:2], 2)
    caught_up = handlers.catch_up(FIRST, 0, *fine)
    assert KEPT != caught_up == handlers.find(FIRST, 0, *fine)[:4]


def test_without_a_photo_there_is_nothing_to_catch_up_with(handlers):
    assert handlers.catch_up(FIRST, 0, *PLAIN) == KEPT


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_browsers_slider_answers_while_another_visitor_is_read_and_catches_up_with_its_own(tmp_path, reader, photo):
    with started(tmp_path / "log", tmp_path, str(tmp_path), program=SLOW_PAGE) as (address, _), chromium() as browser:
        read, other = (browser.new_context().new_page() for _ in range(2))
        for page in (read, other):
            page.set_default_timeout(LONG)
            page.goto(address)
            page.wait_for_selector("#drop input[type=file]", state="attached")
            page.set_input_files("#drop input[type=file]", photo)
            page.wait_for_selector("#table table")
        with reader.held():
            read.get_by_label("Fine", exact=True).click()
            reader.wait_until_asked(SECONDS)
            turn(read, "#smallest", "5")
            turn(read, "#strength", "0.1")
            turn(other, "#strength", "0.1")
            other.wait_for_function(SAYS, arg=objects_found(Controls(strength=0.1)))
        read.wait_for_function(SAYS, arg=objects_found(Controls(strength=0.1, smallest=0.05, zoom=2)))


def turn(page, slider: str, value: str) -> None:
    page.fill(f"{slider} input[type=number]", value)
    page.press(f"{slider} input[type=number]", "Enter")
    page.locator(f"{slider} input[type=number]").blur()


def objects_found(controls: Controls) -> str:
    """How the page says what is found with these controls, and with these alone."""
    edges = small_reader().edges(scene(13), controls.zoom)
    found, plain = (len(small_reader().objects(edges, one)) for one in (controls, Controls(zoom=controls.zoom)))
    assert 1 < found != plain
    return f"{found} objects"
