"""What stands before gradio: nothing from outside is loaded or fetched, requests have a size, links are not passed on."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tracedge.web.visits import UPLOAD_MINUTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_MESSAGE = 2**20
"""Bytes of a request that is no upload."""
FRESH_SECONDS = 60 * (UPLOAD_MINUTES + 1)
"""For which an upload may lie where gradio put it."""

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # gradio's own pages need both
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),  # a link to a file is all that it takes to read it
    (b"x-content-type-options", b"nosniff"),
]


class Guard:
    """ASGI middleware.

    Args:
        app: gradio's. max_upload: bytes of one upload request, all its files together.
        max_unread: bytes of all uploads that wait to be read. unread: how many there are. max_fresh: bytes of the uploads of one
            address, as `network` has it, in `FRESH_SECONDS`. clock: seconds.

    Beyond `max_unread` or `max_fresh` an upload is refused until some are read or forgotten. A request that says no length, or
    too long a one, is refused before it is read. gradio would fetch an address that is given to it in place of a file; here
    it does not.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_upload: int,
        max_unread: int | None = None,
        unread: Callable[[], int] = lambda: 0,
        max_fresh: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app, self.max_upload, self.max_unread, self.max_fresh = app, max_upload, max_unread, max_fresh
        self._unread, self._clock = unread, clock
        self._coming = 0  # bytes of the uploads that are on their way
        self._fresh: list[tuple[float, str, int]] = []  # when, from where, and how many bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is not None:
            await _answer(send, *refused)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        coming = _length(scope) if _is_upload(scope) else 0
        self._coming += coming
        if coming and self.max_fresh is not None:
            self._fresh.append((self._clock(), _from(scope), coming))
        try:
            await self.app(scope, receive, with_headers)
        finally:
            self._coming -= coming

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence, for a request that goes no further."""
        path = unquote(scope["path"])
        if "/file=http:" in path or "/file=https:" in path or "/proxy=" in path:
            return 403, "This page fetches nothing from elsewhere."
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return None
        length = _length(scope)
        if length < 0:
            return 411, "A request must say how long it is."
        most = self.max_upload if _is_upload(scope) else MAX_MESSAGE
        if length > most:
            return 413, f"This is {length / 2**20:.1f} MB, more than the page takes at a time ({most / 2**20:.0f} MB)."
        if _is_upload(scope) and (self._is_full(length) or self._sends_too_much(_from(scope), length)):
            return 507, "Too many photos wait to be read: come back in a few minutes."
        return None

    def _is_full(self, length: int) -> bool:
        """Whether there is no room for so many bytes more."""
        return self.max_unread is not None and self._unread() + self._coming + length > self.max_unread

    def _sends_too_much(self, sender: str, length: int) -> bool:
        """Whether one address has no room for so many bytes more, whatever others have."""
        if self.max_fresh is None:
            return False
        since = self._clock() - FRESH_SECONDS
        self._fresh = [each for each in self._fresh if each[0] > since]
        return sum(size for _, other, size in self._fresh if other == sender) + length > self.max_fresh


def network(host: str) -> str:
    """What counts as one address: an IPv4 address, or the 64 bits of an IPv6 network; of anything else the text itself.

    >>> network("192.0.2.7"), network("2001:db8::1:2:3:4")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def _from(scope: Scope) -> str:
    return network((scope.get("client") or ("",))[0])


def _is_upload(scope: Scope) -> bool:
    return scope["method"] == "POST" and unquote(scope["path"]).rstrip("/").endswith("/upload")


def _length(scope: Scope) -> int:
    """Bytes that a request says it has; -1 if it says none."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else -1


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
