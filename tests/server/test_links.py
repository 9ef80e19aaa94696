"""Links to images: which addresses are fetched, for how long and how many bytes."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import safehttpx

from dream import DreamError
from dream.page import blocks
from dream.page.call_limits import SERVER_BUSY_MESSAGE
from dream.page.ip_addresses import is_public
from dream.page.server import links
from dream.page.server.links import LinkFetcher, fetch_link
from tests.conftest import EXAMPLES, spy
from tests.support.server import serve_http

# The addresses of this test's host names.
RESOLVED = {"public.example": "127.0.0.1", "metadata.example": "100.100.100.200"}

pytestmark = pytest.mark.filterwarnings("default")


class LinkHandler(BaseHTTPRequestHandler):
    """Serves an image, a slow one, an endless one, and redirects."""

    def do_GET(self) -> None:
        if self.path.startswith("/to="):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        if self.path == "/compressed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        try:
            if self.path == "/compressed":
                self.wfile.write(gzip.compress(bytes(2_000_000)))
                return
            if self.path == "/drips":
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            while self.path == "/endless":
                self.wfile.write(bytes(1_000_000))
            self.wfile.write((EXAMPLES / "cat.jpg").read_bytes())
        except OSError:
            pass  # The client closed the connection.


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve links at public.example, which passes as public; yield the address."""

    async def validated(host: str) -> str:
        if host not in RESOLVED:
            raise ValueError(f"Hostname {host} failed validation")
        return RESOLVED[host]

    def is_public_or_here(address: str) -> bool:
        return address == "127.0.0.1" or is_public(address)

    monkeypatch.setattr(safehttpx, "async_validate_url", validated)
    monkeypatch.setattr("dream.page.server.links.is_public", is_public_or_here)
    monkeypatch.setattr("dream.page.server.links.MAX_UPLOAD_BYTES", 3_000_000)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with serve_http(LinkHandler) as port:
        yield f"http://public.example:{port}"


@pytest.mark.parametrize(
    "path", ["/a/../cat.jpg?x=1", "/to=/cat.jpg", "/to=/to=/to=/%2Fcat%00.jpg"]
)
def test_a_link_is_fetched_into_the_folder_of_uploads(path: str, site: str, tmp_path: Path) -> None:
    file = Path(asyncio.run(fetch_link(site + path)))
    assert file.is_relative_to(tmp_path) and file.name == "cat.jpg"
    assert file.read_bytes() == (EXAMPLES / "cat.jpg").read_bytes()
    assert blocks.is_uploaded(str(file))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/drips", "public.example took more than 1 seconds"),
        ("/endless", "more than 3 MB"),
        ("/compressed", "cannot be downloaded from public.example: the server sends it compressed"),
        ("/none", "cannot be downloaded from public.example: .*404"),
        ("/to=" * 7, "redirects more than 5 times"),
        ("/to=http://127.0.0.1/", "127.0.0.1 failed validation"),
        ("/to=/to=/to=http://10.0.0.1/", "10.0.0.1 failed validation"),
        ("/to=http://metadata.example/", "metadata.example failed validation"),
        ("/to=file:///etc/passwd", "cannot be downloaded"),
    ],
)
def test_a_link_that_drips_or_never_ends_or_leads_astray_is_refused(
    path: str, message: str, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "/drips":
        monkeypatch.setattr("dream.page.server.links.MAX_LINK_SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(DreamError, match=message):
        asyncio.run(fetch_link(site + path))
    assert time.monotonic() - start < 5
    assert not list(tmp_path.iterdir())


def test_what_was_asked_for_is_not_compressed(site: str) -> None:
    with spy(LinkHandler, "do_GET") as get:
        asyncio.run(fetch_link(f"{site}/cat.jpg"))
    (call,) = get.call_args_list
    assert call.args[0].headers["Accept-Encoding"] == "identity"


def test_nothing_is_fetched_where_the_disk_is_full(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=90_000_000))
    with pytest.raises(DreamError, match="the server's disk is full"):
        asyncio.run(fetch_link(f"{site}/cat.jpg"))
    assert not list(tmp_path.iterdir())


def fetch_at_once(addresses: list[str], seconds: float) -> tuple[list[str], int]:
    """Call with two links per address; return the outcomes and the most simultaneous fetches."""
    under_way: list[int] = [0]

    async def slow(_: str) -> str:
        under_way.append(under_way[-1] + 1)
        await asyncio.sleep(seconds)
        under_way.append(under_way[-1] - 1)
        return "/a file"

    async def call(fetcher: LinkFetcher, address: str) -> str:
        sent = [{"path": "https://example.org/1"}, {"url": "https://example.org/2"}]
        try:
            assert await fetcher.fetch_links(sent, address)
        except DreamError as error:
            return str(error)
        assert [file["path"] for file in sent] == ["/a file"] * 2
        return ""

    async def all_calls() -> list[str]:
        fetcher = LinkFetcher()
        said = await asyncio.gather(*(call(fetcher, each) for each in addresses))
        assert await call(fetcher, addresses[0]) == said[0]  # All others are dropped.
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(links, "fetch_link", slow)
        return asyncio.run(all_calls()), max(under_way)


def test_few_links_are_fetched_at_a_time() -> None:
    said, at_once = fetch_at_once([""] * (links.MAX_CALLS + 2), 0.01)
    assert said == [""] * links.MAX_CALLS + [SERVER_BUSY_MESSAGE] * 2
    assert at_once == links.MAX_FETCHES


def test_a_public_address_has_a_quarter_of_the_calls_with_links() -> None:
    said, _ = fetch_at_once(["93.184.215.14"] * 6 + ["2606:2800:21f:cb07::/64"], 0.01)
    assert said == [""] * 4 + [SERVER_BUSY_MESSAGE] * 2 + [""]


def test_all_links_of_a_call_have_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_CALL_SECONDS", 0.3)
    said, _ = fetch_at_once([""], 0.2)
    assert said == ["the links of this call took more than 0.3 seconds"]


NO_LINKS = ("http://[", "//[", "http://\u2100x/", "https://[::1", "http://[x]/")


@pytest.mark.parametrize("link", NO_LINKS)
def test_what_is_no_address_is_refused_in_a_line(link: str, api: httpx.Client) -> None:
    for file in ({"path": link}, {"path": None, "url": link}):
        for route, sent in (
            ("call/v2/deep_dream", {"image": file}),
            ("run/choose_1", {"data": [file, "x"]}),
        ):
            answer = api.post(f"/{route}", json=sent)
            assert answer.status_code == 422, answer.text
            assert "\n" not in answer.json()["detail"][0]["message"]


NOT_PUBLIC = (
    *("100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.0.9", "192.88.99.1", "198.18.0.1"),
    *("0.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "fec0::1"),
    *("fe80::1%1", "ff0e::1", "::1", "::", "2002:7f00:1::", "2002:808:808::", "2001:0:808:808::"),
    *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::808:808", "::ffff:127.0.0.1"),
    *("::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8", "2001:db8::1", "3fff::1", "100::1", "5f00::1"),
)


@pytest.mark.parametrize("resolved", NOT_PUBLIC)
def test_no_name_leads_to_an_address_that_is_not_public(
    resolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in resolved else socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (resolved, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    reached: list[str] = []

    async def handle(self: Any, request: httpx.Request) -> httpx.Response:
        reached.append(self.verified_ip)
        return httpx.Response(200, content=b"a secret")

    async def no_others(_: str) -> list[str]:
        return []

    monkeypatch.setattr(safehttpx.AsyncSecureTransport, "handle_async_request", handle)
    monkeypatch.setattr(safehttpx, "async_resolve_hostname_google", no_others)
    with pytest.raises(DreamError, match=r"stranger\.example failed validation"):
        asyncio.run(fetch_link("http://stranger.example/cat.jpg"))
    assert not reached


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


OWN_ADDRESSES = (
    *("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"),
    *("169.254.169.254", "10.0.0.1", "192.168.0.1", "user@127.0.0.1", "127.1", "[fd00::1]"),
)


@pytest.mark.parametrize("host", OWN_ADDRESSES)
def test_no_link_reaches_the_servers_own_network(host: str, api: httpx.Client) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with serve_http(Handler) as port:
        link = f"http://{host}:{port}/cat.jpg"
        for file in ({"path": link}, {"path": None, "url": link}, {"path": link, "url": link}):
            answer = api.post("/call/v2/deep_dream", json={"image": file, "max_side": 64})
            assert answer.status_code == 422 and "\n" not in answer.json()["detail"][0]["message"]
    assert not asked
