"""The pictures of docs/how-to/use-the-page.md, taken of the page itself: TRACEDGE_SCREENSHOTS names the folder for them."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from page_process import chromium, served

FOLDER = os.environ.get("TRACEDGE_SCREENSHOTS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(FOLDER is None, reason="TRACEDGE_SCREENSHOTS names no folder"),
]


def test_the_pictures_of_the_page_are_taken(tmp_path):
    folder = Path(FOLDER)
    with served(tmp_path / "log", tmp_path) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.set_default_timeout(240_000)
        page.goto(address)
        page.locator("#examples button.thumbnail-item").first.click()
        page.wait_for_selector("#table table")
        for tab, wanted, name in (
            ("Objects", "#objects img", "page-objects"),
            ("Edges", "#edges img", "page-edges"),
            ("Before and after", "#after img", "page-before-and-after"),
            ("How the step", "#curve svg", "page-steps"),
            ("Files", "#formats", "page-files"),
        ):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_selector(wanted)
            page.wait_for_timeout(1500)  # for pictures to be drawn
            taken = Image.open(io.BytesIO(page.screenshot()))
            taken.convert("RGB").save(folder / f"{name}.png", optimize=True)
            assert (folder / f"{name}.png").stat().st_size < 600_000
