"""What stands before gradio: sizes, addresses elsewhere, headers."""

import asyncio

import pytest

from tracedge.web.guard import FRESH_SECONDS, MAX_MESSAGE, Guard


def ask(
    path: str, method: str = "GET", length: str | None = None, **limits: object
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body that a guarded application gives; it would itself say 200 and "inside"."""
    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    headers = [] if length is None else [(b"content-length", length.encode())]
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    asyncio.run(Guard(answering, max_upload=5_000_000, **limits)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_what_is_harmless_goes_through_with_headers_that_keep_the_page_to_itself():
    status, headers, body = ask("/gradio_api/file=/tmp/page/visits/0f/photo.png")
    assert (status, body) == (200, b"inside")
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert ask("/gradio_api/upload", "POST", "5000000")[0] == 200
    assert ask("/gradio_api/queue/join", "POST", "1000")[0] == 200


@pytest.mark.parametrize("path", ["file=https://example.org/a.png", "file=http%3A//10.0.0.1/", "proxy=http://a/"])
def test_an_address_elsewhere_is_not_fetched(path):
    assert ask(f"/gradio_api/{path}")[0] == 403


def test_too_much_is_refused_before_it_is_read_and_so_is_what_says_no_length():
    status, _, body = ask("/gradio_api/upload", "POST", "5000001")
    assert (status, body) == (413, b"This is 4.8 MB, more than the page takes at a time (5 MB).")
    assert ask("/gradio_api/queue/join", "POST", str(MAX_MESSAGE + 1))[0] == 413
    assert ask("/gradio_api/upload", "POST")[0] == 411
    assert ask("/gradio_api/upload", "POST", "-1")[0] == 411


def test_uploads_that_nobody_reads_have_a_limit_together():
    limits = {"max_unread": 10_000, "unread": lambda: 9_000}
    assert ask("/gradio_api/upload", "POST", "1000", **limits)[0] == 200
    status, _, body = ask("/gradio_api/upload", "POST", "1001", **limits)
    assert (status, body) == (507, b"Too many photos wait to be read: come back in a few minutes.")
    assert ask("/gradio_api/queue/join", "POST", "1001", **limits)[0] == 200  # no upload


def test_uploads_on_their_way_count_until_they_are_there():
    statuses: list[int] = []

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def inside(scope, receive, send) -> None:
        if len(statuses) == 0:
            await guard(scope, receive, send)  # another one, while the first is on its way
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(inside, max_upload=600, max_unread=1000)
    upload = {"type": "http", "path": "/upload", "method": "POST", "headers": [(b"content-length", b"600")]}
    asyncio.run(guard(upload, None, send))
    asyncio.run(guard(upload, None, send))
    assert statuses == [507, 200, 200]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_address_that_only_uploads_leaves_room_for_others():
    clock = Clock()
    guard = Guard(answering, max_upload=600, max_unread=10_000, max_fresh=1000, clock=clock)
    assert upload(guard, "192.0.2.1", 600) == 200
    assert upload(guard, "192.0.2.1", 401) == 507
    assert upload(guard, "192.0.2.1", 400) == 200
    assert upload(guard, "192.0.2.2", 600) == 200
    assert [upload(guard, f"2001:db8::{number}", 600) for number in range(2)] == [200, 507]  # one network
    clock.now = FRESH_SECONDS + 1
    assert upload(guard, "192.0.2.1", 600) == 200


async def answering(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def upload(guard, host: str, length: int) -> int:
    """The status of an upload of so many bytes from an address."""
    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    headers = [(b"content-length", str(length).encode())]
    scope = {"type": "http", "path": "/upload", "method": "POST", "headers": headers, "client": (host, 50_000)}
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"]
