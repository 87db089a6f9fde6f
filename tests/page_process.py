"""`tracedge app` as a process of its own, and a browser before it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = ("-m", "tracedge", "app", "--device", "cpu")
SLOW_PAGE = (str(Path(__file__).parent / "slow_reader.py"),)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def started(
    log: Path, temporary: Path, *options: str, program: tuple[str, ...] = PAGE, **variables: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a page that is ready, and its process; its private folder lies in `temporary`. Ended at the end."""
    port = free_port()
    command = [sys.executable, *program, *options, "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"} | variables
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True, env=environment) as process,
    ):
        try:
            line = process.stdout.readline()  # it says so once it listens; nothing if it ended
            assert f"http://127.0.0.1:{port}" in line, log.read_text()
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextmanager
def served(log: Path, temporary: Path, *options: str) -> Iterator[str]:
    """The address of a page that is ready."""
    with started(log, temporary, *options) as (address, _):
        yield address


@contextmanager
def chromium() -> Iterator[object]:
    """A browser of Playwright's; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the PATH")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()
