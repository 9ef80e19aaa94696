"""Gradio's open routes are listed, and none lets a stranger write into the log."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio.routes import App, file_upload_statuses
from PIL import Image

from dream.page.server import request_bodies
from dream.page.server.routes import OPEN_ROUTES
from tests.conftest import EXAMPLES, ROOT
from tests.support.api import begin, call, upload
from tests.support.corpus import Sample, encode_quarters, looks_right

API = "/gradio_api"
# Not used by the page, the API, its clients or MCP. A new Gradio's routes are in neither list:
# check what they do before you add them to one. A path with a slash at its end is listed if it is
# not closed without the slash too.
CLOSED_ROUTES = """
GET /gradio_api/app_id/
POST /gradio_api/component_server
GET /gradio_api/custom_component/{id}/{environment}/{type}/{file_name}
GET /gradio_api/deep_link
GET /gradio_api/dev/reload
GET /gradio_api/file/{path:path}
GET /gradio_api/heartbeat/{session_hash}
GET /gradio_api/login_check
POST /gradio_api/process_recording
GET /gradio_api/proxy={url_path:path}
HEAD /gradio_api/proxy={url_path:path}
GET /gradio_api/run-history/buckets
POST /gradio_api/run-history/connect
GET /gradio_api/run-history/records
GET /gradio_api/run-history/records/{endpoint}/{record_id}/assets/{asset_id}
GET /gradio_api/runs
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}
GET /gradio_api/token
POST /gradio_api/undo-vibe-edit
GET /gradio_api/user
GET /gradio_api/vibe-code
POST /gradio_api/vibe-code
POST /gradio_api/vibe-edit
POST /gradio_api/vibe-starter-queries
POST /login
GET /logout
GET /monitoring
GET /monitoring/summary
GET /monitoring/{key}
GET /openapi.json
HEAD /openapi.json
GET /pwa_icon/{size}
GET /svelte/{path:path}
""".strip().splitlines()

pytestmark = pytest.mark.filterwarnings("default")


def routes(inside: Iterable[Any]) -> Iterator[str]:
    """Yield the routes of an app and of its included routers as "METHOD path"."""
    for route in inside:
        # FastAPI includes routers as objects since 0.165, before that as their routes.
        if included := getattr(getattr(route, "original_router", route), "routes", None):
            yield from routes(included)
        else:
            yield from (f"{method} {route.path}" for method in route.methods)


@pytest.mark.anyio
async def test_every_route_of_the_installed_gradio_is_open_or_shut_on_purpose() -> None:
    with gr.Blocks() as page:
        gr.Button()
    gradios = set(routes(App.create_app(page).routes))
    ours = set(itertools.chain(*OPEN_ROUTES.values()))
    closed = gradios - ours
    assert {row for row in closed if row.rstrip("/") not in closed - {row}} == set(CLOSED_ROUTES)
    narrowed = {"GET /pwa_icon/192", "GET /pwa_icon/512"}
    assert {row for row in ours - gradios if f"{API}/mcp" not in row} == narrowed


@pytest.mark.parametrize("row", CLOSED_ROUTES)
def test_a_route_that_is_shut_is_not_there(row: str, address: str) -> None:
    method, _, path = row.partition(" ")
    for end in ("", "/"):
        answer = httpx.request(method, address + re.sub("{[^}]*}", "1", path) + end, timeout=5)
        assert answer.status_code == 404
        assert method == "HEAD" or "there is nothing at this address" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods_and_paths_are_not_there(method: str, address: str) -> None:
    for path in ("/none", f"{API}/none", f"{API}/run/deep_dream", f"{API}/queue/join", f"{API}/"):
        assert httpx.request(method, address + path, timeout=5).status_code == 404, path
    if method not in ("GET", "HEAD"):
        assert httpx.request(method, address, timeout=5).status_code == 404


LINKS = (
    *("http://evil.example/x.png", "https://evil.example/x.png", "HTTPS://evil.example/x.png"),
    *("https:/evil.example/x.png", "https:///evil.example/x.png", "https:\\\\evil.example\\x.png"),
    *("//evil.example/x.png", "/https://evil.example/x.png", " https://evil.example/x.png"),
    *("file:///etc/passwd", "ftp://evil.example/x.png", "https://evil.example@127.0.0.1/x.png"),
)


@pytest.mark.parametrize("link", LINKS)
def test_no_address_is_relayed_by_any_spelling(link: str, address: str) -> None:
    half = "".join(f"%{ord(letter):02x}" if letter in "hH:/\\ " else letter for letter in link)
    whole = "".join(f"%{byte:02X}" for byte in link.encode())
    twice = whole.replace("%", "%25")
    for spelling in (link.replace(" ", "%20"), half, whole, twice):
        for route in ("file=", "file/", "file%3D", "FILE=", "/file=", "proxy=", "file=file="):
            for method in ("GET", "HEAD"):
                said = exchange(address, f"{method} {API}/{route}{spelling} HTTP/1.1")
                assert said.startswith("HTTP/1.1 404"), (route, spelling)


@pytest.mark.parametrize("path", ["app.py", "README.md", "dream/engine.py", ".git/config"])
def test_no_file_is_served_but_pictures_of_ours(path: str, api: httpx.Client) -> None:
    for tricky in (path, f"./{path}", f"examples/../{path}", os.path.abspath(path), f"%2e/{path}"):
        assert api.get(f"/file={tricky}").status_code == 404, tricky


def test_a_file_is_served_by_path_and_by_name_in_parts_and_with_no_header_of_the_request(
    api: httpx.Client,
) -> None:
    photo = (EXAMPLES / "cat.jpg").read_bytes()
    path = upload(api, EXAMPLES / "cat.jpg")
    page = upload(api, ("page.html", b"<script>alert(1)</script>"))
    for name in (path, "/".join(Path(path).parts[-2:])):
        answer = api.get(f"/file={name}", headers={"range": "bytes=10-19", "x-mine": "secret"})
        assert answer.status_code == 206 and answer.content == photo[10:20]
        assert answer.headers["content-type"] == "image/jpeg" and "x-mine" not in answer.headers
        assert answer.headers["content-range"] == f"bytes 10-19/{len(photo)}"
        assert api.get(f"/file={name}").content == photo
    headers = api.get(f"/file={page}").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")
    for part in ("bytes=1-2-3", "bytes=\u00b2-\u00b3", "bytes=9-1", "bytes=999999999-", "x"):
        answer = api.get(f"/file={path}", headers=[(b"range", part.encode("latin-1"))])
        assert answer.status_code in (200, 206, 400, 416), part


@pytest.mark.parametrize("kind", ["HEIF", "TIFF", "BMP"])
def test_a_photo_that_browsers_do_not_show_is_served_as_they_do(
    kind: str, api: httpx.Client
) -> None:
    path = upload(api, ("IMG_1.jpg", encode_quarters(kind)))
    for _ in range(2):
        answer = api.get(f"/file={path}")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format == "JPEG" and not image.getexif()
            sample = Sample("", b"", "quarters")
            assert looks_right(np.asarray(image), sample)
    damaged = encode_quarters(kind)[:60]
    assert api.get(f"/file={upload(api, ('cut.heic', damaged))}").content == damaged


def test_what_describes_the_page_names_no_path_of_the_server(address: str) -> None:
    folder = str(ROOT)
    for path in ("/", "/config", f"{API}/info", f"{API}/info?all_endpoints=True", "/manifest.json"):
        said = httpx.get(address + path).text
        assert folder not in said and "/tmp" not in said and "dream-visitors" not in said, path
    config = httpx.get(f"{address}/config").json()
    links = set(re.findall(rf'"(http[^"]+{API}/file=[^"]+)"', json.dumps(config)))
    assert len(links) > 20
    assert all(httpx.get(link).status_code == 200 for link in sorted(links)[:3])


def test_an_event_is_not_there_once_its_answer_was_read(api: httpx.Client) -> None:
    small = {"channels": "7", "size": 64, "steps": 1}
    event = begin(api, "visualize_channel", small)
    address = str(api.base_url)
    late: list[str] = []

    def read_too() -> None:
        late.append(httpx.get(f"{address}call/x/{event}", timeout=30).text)

    other = threading.Thread(target=read_too)
    other.start()
    api.get(f"/call/visualize_channel/{event}")
    other.join(8)  # Both wait for the same end; one of them gets it.
    assert late and not other.is_alive()
    for name in (
        "call/visualize_channel/",
        "call/v2/visualize_channel/",
        "queue/data?session_hash=",
    ):
        answer = api.get(f"/{name}{event}", timeout=5)
        assert answer.status_code == 404 and "has been read" in answer.text


@pytest.mark.anyio
async def test_the_progress_of_an_upload_is_forgotten_by_whatever_name_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, api: httpx.Client
) -> None:
    assert request_bodies.KEPT_PROGRESS_SECONDS == 60
    monkeypatch.setattr(request_bodies, "KEPT_PROGRESS_SECONDS", 0.0)
    with request_bodies.delete_progress_later("sent", is_upload=True):
        file_upload_statuses.track("sent")
        for _ in range(2):  # The first connection is cut.
            with request_bodies.delete_progress_later("sent", is_upload=False):
                assert await asyncio.wait_for(file_upload_statuses.is_tracked("sent"), 1)
            await asyncio.sleep(0.01)
    with request_bodies.delete_progress_later("asked", is_upload=False), suppress(TimeoutError):
        await asyncio.wait_for(file_upload_statuses.is_tracked("asked"), 0.01)
    await asyncio.sleep(0.01)
    assert not file_upload_statuses._statuses and not file_upload_statuses._signals
    for name in ("x" * 65, "a%0a", "%ff"):
        answer = api.get(f"/upload_progress?upload_id={name}")
        assert answer.status_code == 422 and "at most 64 letters" in answer.text


def exchange(address: str, *lines: str | bytes, body: bytes = b"", wait: float = 5) -> str:
    """Send a request; return the answer's start, or cut the connection if `wait` is 0 seconds."""
    host = address.rpartition("/")[2]
    head = [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
    if not any(line.lower().startswith(b"host:") for line in head):
        head.append(f"Host: {host}".encode())
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=5) as peer:
        peer.sendall(b"\r\n".join([*head, b"Connection: close", b"", body]))
        if not wait:
            time.sleep(0.05)
            return ""
        peer.settimeout(wait)
        return peer.recv(4096).decode("latin-1")


ODD = (
    *("%00", "%0A%1b%5d0;x%07", "%ed%a0%80", "%ff%fe", "/../..", "%2e%2e%2f%2e%2e", ";x"),
    *("//x", "\\..\\x", "?page=x", "?page=%ff", "?deep_link=%00", "?__theme=%0a", "?%00=%00"),
    *("?session_hash=%00%0a", "?session_hash=none", "?upload_id=%0a%1b", "?logs=%ed%a0%80"),
    *("?" + "a=b&" * 500, "/" + "a" * 5000, "/a" * 3000),
)


def test_nonsense_leaves_nothing_in_the_log(address: str, app_log: Path) -> None:
    start = app_log.stat().st_size
    paths = {
        re.sub("{[^}]*}", "none", row.partition(" ")[2])
        for row in (*itertools.chain(*OPEN_ROUTES.values()), *CLOSED_ROUTES)
    }
    forged = f"{API}/custom_component/x%0AFORGED%1b%07/client/b/c"
    for turn, path in enumerate(sorted(paths | {forged, f"{API}/file=card.jpg"})):
        for odd in ("", *ODD[turn % 3 :: 3]):
            said = exchange(address, f"{'HEAD' if turn % 2 else 'GET'} {path}{odd} HTTP/1.1")
            assert re.match(r"HTTP/1\.1 (2|3|4)", said), (path, odd, said)
            assert "x-content-type-options: nosniff" in said.lower(), path
    assert app_log.read_bytes()[start:] == b""


HEADERS = (
    *("Origin: \xff", "Origin: null", "Origin: http://[", "X-Forwarded-Host: a b:99999999"),
    *("X-Forwarded-Host: \xff", "X-Gradio-Server: http://[", "X-Forwarded-Proto: \xff"),
    *("Range: bytes=1-2-3", "Range: bytes=\xb2-\xb3", "If-None-Match: \xff", "Cookie: =;"),
    *("Content-Type: \xff", "Host: [:99999999", "Host: a b[", "Host:", "Sec-Fetch-Site: \xff"),
    "Accept-Encoding: \xff",
)


def test_nonsense_in_headers_leaves_nothing_in_the_log(address: str, app_log: Path) -> None:
    start = app_log.stat().st_size
    for path in ("/", "/config", f"{API}/info", f"{API}/file=card.jpg", f"{API}/queue/status"):
        for header in HEADERS:
            said = exchange(address, f"GET {path} HTTP/1.1", header)
            assert re.match(r"HTTP/1\.1 (2|3|4)", said), (path, header, said)
    assert app_log.read_bytes()[start:] == b""


def test_who_breaks_off_leaves_no_traceback_in_the_log(address: str, app_log: Path) -> None:
    start = app_log.stat().st_size
    form = "Content-Type: multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a\x1b.png"\r\n\r\nabc'
    posts = [
        row.partition(" ")[2] for row in itertools.chain(*OPEN_ROUTES.values()) if "POST" in row
    ]
    for path in [*posts, f"{API}/upload?upload_id=a"]:
        path = re.sub("{[^}]*}", "deep_dream", path)
        for header, body in (
            ("Content-Length: 9000", part),
            ("Content-Length: 9000", b'{"data": ['),
            ("Transfer-Encoding: chunked", b"5\r\n--x\r\n\r\n"),
        ):
            exchange(address, f"POST {path} HTTP/1.1", form, header, body=body, wait=0)
    for path in ("queue/data?session_hash=none", "upload_progress?upload_id=none"):
        exchange(address, f"GET {API}/{path} HTTP/1.1", wait=0)
    with httpx.Client(base_url=address + API, timeout=60) as api:
        event = begin(api, "visualize_channel", {"channels": "7"})
        for route in (
            f"call/x/none?session_hash={event}",
            f"queue/data?session_hash={event}&session_hash=none",
            f"queue/data?session_hash={event}&session_hash=",
        ):
            assert api.get(f"/{route}").status_code == 404
        exchange(address, f"GET {API}/call/x/{event} HTTP/1.1", wait=0)
        assert call(api, "presets", {})[0]  # The others have been handled by then.
    # Only the form parser's warning.
    assert is_one_line(app_log.read_bytes()[start:])


def is_one_line(said: bytes) -> bool:
    return said.count(b"\n") <= 1 and said.decode().strip().isprintable()


def test_what_is_no_request_leaves_a_line_a_minute_at_most(address: str, app_log: Path) -> None:
    start = app_log.stat().st_size
    for nonsense in ("\x16\x03\x01\x1b]0;x\x07", "PRI * HTTP/2.0", "GET / HTTP/9.9", "GET"):
        for _ in range(5):
            exchange(address, nonsense)
    assert is_one_line(app_log.read_bytes()[start:])
