"""The page on a port: one model, a private folder for what visitors bring, and nothing that reaches out."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tracedge.errors import MissingExtraError, SettingsError
from tracedge.web.limits import Limits
from tracedge.web.reading import Reader

LOCAL = "127.0.0.1"


def require_gradio() -> None:
    """To be asked before a model is loaded.

    Raises:
        MissingExtraError: gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the page needs gradio: pip install -c constraints.txt -e '.[app]' in the clone of tracedge"
        ) from error


def require_port(host: str, port: int) -> None:
    """To be asked before a model is loaded.

    Raises:
        SettingsError: the port is taken, or the address is not of this machine.
    """
    for address in dict.fromkeys((host, LOCAL)):  # gradio also wants the port of this machine itself
        try:
            family, kind, _, _, place = socket.getaddrinfo(address.strip("[]"), port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was in use a moment ago will do
                tried.bind(place)
        except OSError as error:
            raise SettingsError(
                f"the page cannot listen on {address}:{port} ({error.strerror}): choose another --port or --host"
            ) from error


def serve(
    reader: Reader,
    limits: Limits,
    *,
    host: str,
    port: int,
    root_path: str | None = None,
    announce: Callable[[str], object] = lambda sentence: None,
) -> None:
    """Serve the page until the process is told to stop.

    Args:
        reader: the model. limits: what visitors may take of the machine. announce: told where the page is, once it is there.
        host, port: where to listen; "127.0.0.1" is this machine alone. root_path: the path of a proxy before it, as "/tracedge".

    Raises:
        MissingExtraError: gradio is not installed. SettingsError: the port is taken, or not to be had.

    Where a photo is still being read after some seconds, the process ends with it: the model cannot be interrupted.
    """
    require_gradio()
    require_port(host, port)
    _ask_itself_directly(host)
    with _private_folder() as folder:
        import httpx
        from starlette.middleware import Middleware

        from tracedge.web.desk import Desk
        from tracedge.web.examples import write_examples
        from tracedge.web.guard import Guard
        from tracedge.web.handlers import Handlers
        from tracedge.web.page import build_page
        from tracedge.web.style import CSS, theme
        from tracedge.web.visits import EXAMPLES

        handlers = Handlers(Desk(reader, folder, limits), write_examples(folder / EXAMPLES))
        page = build_page(handlers, limits).queue(max_size=limits.queue, default_concurrency_limit=4)
        guard = Middleware(
            Guard,
            max_upload=limits.max_upload,
            max_unread=limits.max_unread,
            unread=handlers.desk.visits.unread_bytes,
            max_fresh=limits.max_fresh,
        )
        logging.getLogger("httpx").setLevel(logging.WARNING)
        try:
            page.launch(
                server_name=host,
                server_port=port,
                root_path=root_path,
                share=False,
                quiet=True,
                show_error=False,  # what nobody foresaw may name paths of this machine
                max_file_size=limits.max_bytes,
                allowed_paths=[],
                footer_links=[],
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None, "openapi_url": None},
                theme=theme(),
                css=CSS,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise SettingsError(f"the page cannot listen on {host}:{port}: choose another --port") from error
        except httpx.HTTPError as error:
            raise SettingsError(
                f"the page does not hear itself on {host}:{port} ({error}): is there a proxy before this machine's own address?"
            ) from error
        announce(f"The page is at {page.local_url} (Ctrl-C ends it)")
        _wait(handlers.desk.visits.sweep)
        handlers.desk.ending.set()
        page.close(verbose=False)
        idle = handlers.desk.visits.wait(seconds=5)
    if not idle:
        sys.stdout.flush()
        os._exit(0)  # the thread that reads would crash the interpreter as it ends


def _ask_itself_directly(host: str) -> None:
    """gradio asks its own address as it starts: not through a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [one for one in os.environ.get(name, "").split(",") if one]
        os.environ[name] = ",".join(dict.fromkeys([*known, LOCAL, "localhost", host]))


def _wait(every_minute: Callable[[], None]) -> None:
    """Until Ctrl-C, until the process is asked to end, or until its terminal is closed."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(60):
        every_minute()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user can enter; all that gradio keeps goes there. Removed at the end, with all in it."""
    folder = Path(tempfile.mkdtemp(prefix="tracedge-page-")).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")
    try:
        yield folder
    finally:
        for _ in range(3):  # a photo that is still being read may put a file where one just went
            shutil.rmtree(folder, ignore_errors=True)
