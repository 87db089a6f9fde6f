"""A reader of the page that is as slow as a test wants it to be; run as a program, the page with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from small_reader import small_reader


class SlowReader:
    """The small reader, whose model does not answer while it is held: by files of a folder, so also from another process."""

    def __init__(self, folder: Path) -> None:
        self._hold, self._asked = folder / "hold", folder / "asked"

    def __getattr__(self, name: str) -> object:
        return getattr(small_reader(), name)

    def edges(self, image, zoom=1):
        while self._hold.exists():
            self._asked.touch()
            time.sleep(0.02)
        return small_reader().edges(image, zoom)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The model does not answer before the end of this block."""
        self._hold.touch()
        try:
            yield
        finally:
            self._asked.unlink(missing_ok=True)
            self._hold.unlink()

    def wait_until_asked(self, seconds: float) -> None:
        """Until somebody waits for what is held."""
        until = time.monotonic() + seconds
        while not self._asked.exists():
            assert time.monotonic() < until, "the model was not asked"
            time.sleep(0.02)


if __name__ == "__main__":
    from tracedge.web.limits import Limits
    from tracedge.web.serve import LOCAL, serve

    _, folder, _, port = sys.argv  # the third is --port
    serve(SlowReader(Path(folder)), Limits(), host=LOCAL, port=int(port), announce=print)
