"""Between gradio and the desk: who asks is known by a session's name; what is shown never is of the photo before."""

from types import SimpleNamespace

import pytest
from PIL import Image

from small_reader import scene, silent, small_reader

gr = pytest.importorskip("gradio")

from tracedge.web.desk import COMPARE, Desk  # noqa: E402
from tracedge.web.handlers import Handlers  # noqa: E402
from tracedge.web.limits import Limits  # noqa: E402

TURNED = (0.2, 0.5, 1)
EMPTY = [None, None, "", ""]


def of(session: str | None) -> SimpleNamespace:
    """A request of a session."""
    return SimpleNamespace(session_hash=session, client=None)


def told(share: float, desc: str) -> None:
    silent(share, desc)


@pytest.fixture
def handlers(tmp_path) -> Handlers:
    return Handlers(Desk(small_reader(), tmp_path / "page", Limits(max_pixels=20_000, max_photos=3)), [])


@pytest.fixture
def photo(tmp_path) -> str:
    Image.fromarray(scene(13)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize("session", [None, "", "None", "abc"])
def test_a_request_without_a_sessions_name_is_refused(handlers, photo, session):
    with pytest.raises(gr.Error, match="session name"):
        handlers.receive(of(session), [photo])
    with pytest.raises(gr.Error, match="session name"):
        handlers.opens(COMPARE)(of(session))
    handlers.close(of(session))
    assert len(handlers.desk.visits) == 0


def test_the_slower_tabs_and_the_files_let_go_of_the_photo_before(handlers, photo, tmp_path):
    who = of("0123456789")
    handlers.receive(who, [photo])
    problems, _, _, *view, files, before, after, compared, chosen, step, attention, curve = handlers.take(
        who, told, *TURNED
    )
    assert problems["visible"] is False
    assert None not in view
    assert files["value"] is None
    assert [before, after, compared, chosen, attention, curve] == [None, None, "", "", None, ""]
    assert step["interactive"] is False
    picked = handlers.pick(who, SimpleNamespace(index=0), *TURNED)
    assert picked[5:7] == [None, None]
    assert handlers.find(who, 0, *TURNED)[4]["value"] is None
    # A file that cannot be read leaves nothing of the one before.
    (tmp_path / "broken.png").write_bytes(b"no picture")
    handlers.receive(who, [str(tmp_path / "broken.png")])
    problems, _, _, *view, _, before, _, _, _, _, _, curve = handlers.take(who, told, *TURNED)
    assert "broken.png" in problems["value"]
    assert view == EMPTY
    assert (before, curve) == (None, "")


def test_without_a_photo_looking_closer_shows_nothing_and_fails_nowhere(handlers):
    who = of("0123456789")
    assert handlers.look_closer(who, told, 0, *TURNED)[:4] == EMPTY
    assert handlers.look_at(who, 0, 100.0) == [gr.skip()] * 2
