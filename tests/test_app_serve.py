"""The page as a process: it says early what will not do, asks itself through no proxy, and ends cleanly, leaving nothing."""

import http.client
import json
import signal
import socket
import time
import urllib.request
import uuid
from contextlib import closing

import pytest
from PIL import Image

from page_process import started
from small_reader import scene

pytest.importorskip("gradio")

from tracedge.errors import SettingsError
from tracedge.web.serve import require_port


def test_a_taken_port_is_said_in_a_sentence_and_a_free_one_is_not():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port} .*choose another --port"):
            require_port("127.0.0.1", port)
    require_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1"):
        require_port("192.0.2.1", 7860)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_page_behind_a_proxy_ends_cleanly_while_a_photo_is_read(tmp_path, name):
    Image.fromarray(scene(13, 128)).resize((1800, 1800)).save(tmp_path / "photo.png")
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}  # nobody is there
    with started(tmp_path / "log", tmp_path, "--size", "512", **proxy) as (address, process):
        ask_for_a_reading(address, tmp_path / "photo.png")
        time.sleep(2)  # it is read for longer than that, in many tiles
        process.send_signal(getattr(signal, name))
        assert process.wait(30) == 0
    assert "terminate called" not in (tmp_path / "log").read_text()
    assert list(tmp_path.glob("tracedge-page-*")) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_guard_stands_before_the_page_with_its_limits(tmp_path):
    with started(tmp_path / "log", tmp_path, "--size", "64", "--max-photos", "1", "--max-megabytes", "99") as (url, _):
        with DIRECT.open(url, timeout=30) as answer:
            assert "default-src 'self'" in answer.headers["content-security-policy"]
        with announced_upload(url, 100 * 2**20 + 1) as upload:
            assert upload.getresponse().status == 413
        most = 100 * 2**20  # a third of six times this is one address's
        with announced_upload(url, most), announced_upload(url, most), announced_upload(url, 1) as upload:
            assert upload.getresponse().status == 507


def announced_upload(url: str, size: int):
    """A connection on which so many bytes are said to come; closed at the end."""
    upload = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    upload.putrequest("POST", "/gradio_api/upload")
    upload.putheader("Content-Type", "multipart/form-data; boundary=edge")
    upload.putheader("Content-Length", str(size))
    upload.endheaders()
    time.sleep(0.5)  # until it is heard
    return closing(upload)


def ask_for_a_reading(address, photo) -> None:
    """What the page in a browser sends when a photo is dropped, at the finest detail."""
    session, edge = "0123456789", uuid.uuid4().hex
    part = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="photo.png"\r\n\r\n'
    body = part.encode() + photo.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    (path,) = post(f"{address}/gradio_api/upload", body, f"multipart/form-data; boundary={edge}")
    numbers = {}
    for dependency in json.loads(get(f"{address}/config"))["dependencies"]:
        numbers.setdefault(dependency["api_name"], dependency["id"])
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    receive = {"data": [[file]], "fn_index": numbers["receive"], "session_hash": session}
    post(f"{address}/gradio_api/run/predict", json.dumps(receive).encode(), "application/json")
    take = {"data": [0.2, 0.5, 3], "fn_index": numbers["take"], "session_hash": session}
    post(f"{address}/gradio_api/queue/join", json.dumps(take).encode(), "application/json")


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(url: str, body: bytes, kind: str):
    return json.loads(get(urllib.request.Request(url, body, {"Content-Type": kind})))


def get(request) -> bytes:
    with DIRECT.open(request, timeout=30) as answer:
        return answer.read()
