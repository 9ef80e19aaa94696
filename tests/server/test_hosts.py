"""The host names that the app answers to, and the pages that may use it, at home and in public."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import sync_playwright
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from dream import DreamError
from dream.page.server.hosts import HOSTS_ENV, HostCheck, allowed_hosts
from tests.conftest import EXAMPLES
from tests.support.api import upload
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.server import serve_http

API = "/gradio_api"
PHOTO = {"files": ("cat.jpg", (EXAMPLES / "cat.jpg").read_bytes())}

pytestmark = pytest.mark.filterwarnings("default")


def post_photo(address: str, **headers: str) -> httpx.Response:
    """Upload a photo with those headers."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{address}{API}/upload", files=PHOTO, headers=names, timeout=30)


def refusal_message(answer: httpx.Response) -> str:
    assert answer.status_code == 403, answer.text
    (said,) = answer.json()["detail"]
    assert "\n" not in said["message"]
    return str(said["message"])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
@pytest.mark.parametrize("port", ["", ":1", ":{own}"])
def test_the_machines_own_names_are_answered_by_any_port(
    host: str, port: str, address: str
) -> None:
    # A tunnel has another host, and a page's Origin has the tunnel's.
    name = host + port.format(own=urlsplit(address).port)
    assert httpx.get(address, headers={"host": name}).status_code == 200
    assert post_photo(address, host=name).status_code == 200
    assert post_photo(address, host=name, origin=f"http://{name}").status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "[::]"),
        *("localhost@evil.example", "evil.example:{own}", "localhost.", "192.168.0.2", "[::1", ""),
    ],
)
def test_other_names_are_refused_whatever_leads_them_here(host: str, address: str) -> None:
    name = host.format(own=urlsplit(address).port)
    for path in ("/", "/config", f"{API}/info", "/none", "/favicon.ico"):
        answer = httpx.get(address + path, headers={"host": name})
        assert f"whoever runs the app can allow it with {HOSTS_ENV}=" in refusal_message(answer)
    assert refusal_message(post_photo(address, host=name, origin=f"http://{name}"))
    assert refusal_message(post_photo(address, x_forwarded_host=name or "x"))
    asked = {"host": name, "origin": f"http://{name}", "access-control-request-method": "POST"}
    assert refusal_message(httpx.request("OPTIONS", f"{address}{API}/upload", headers=asked))


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "http://localhost:1", "http://127.0.0.1", "null", "file://"),
        *("http://{own}.evil.example", "http://evil.example/{own}", "app://{own}", "{own}"),
    ],
)
def test_other_pages_neither_send_nor_read_anything(origin: str, address: str) -> None:
    page = origin.format(own=urlsplit(address).netloc)
    assert "may not use the app" in refusal_message(post_photo(address, origin=page))
    for path in ("/config", f"{API}/info", f"{API}/queue/data?session_hash=x"):
        answer = httpx.get(address + path, headers={"origin": page})
        assert refusal_message(answer) and "access-control-allow-origin" not in answer.headers


def test_a_browser_that_names_no_page_says_whether_it_is_another_one(address: str) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        assert post_photo(address, sec_fetch_site=site).status_code == status
        # Any site may link to the page.
        assert httpx.get(address, headers={"sec-fetch-site": site}).status_code == 200
    assert post_photo(address, sec_fetch_site="none").status_code == 200


OPEN_SETTINGS = (
    *({"GRADIO_SERVER_NAME": name} for name in ("0.0.0.0", "::", "[::]", "192.168.0.2", "box")),
    *({"SPACE_HOST": "someone-dreams.hf.space"}, {"GRADIO_SHARE": "True"}),
    {"SYSTEM": "spaces", "SPACE_ID": "someone/dreams"},
)


@pytest.mark.parametrize(
    ("environment", "hosts"),
    [
        *((each, None) for each in OPEN_SETTINGS),
        ({}, set()),
        ({"GRADIO_SERVER_NAME": "127.0.0.1"}, set()),
        ({"GRADIO_SERVER_NAME": "[::1]"}, set()),
        ({"GRADIO_SERVER_NAME": "127.0.0.2"}, {"127.0.0.2"}),
        ({HOSTS_ENV: "[2001:db8::1],[2001:db8::2]:8000"}, {"2001:db8::1", "[2001:db8::2]:8000"}),
        ({HOSTS_ENV: " Dreams.example.org, box:8000,,"}, {"dreams.example.org", "box:8000"}),
        ({HOSTS_ENV: "localhost", "GRADIO_SERVER_NAME": "[::]"}, {"::"}),
        ({"GRADIO_ROOT_PATH": "https://dreams.example.org/app"}, {"dreams.example.org"}),
        ({"GRADIO_ROOT_PATH": "/app"}, set()),
        ({HOSTS_ENV: "https://dreams.example.org/app"}, {"dreams.example.org"}),
    ],
)
def test_an_open_server_answers_by_any_name_and_others_by_those_of_the_environment(
    environment: dict[str, str], hosts: set[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert allowed_hosts() == hosts


def test_what_is_no_name_in_the_environment_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HOSTS_ENV, "my dreams\x1b")
    with pytest.raises(DreamError, match=rf"^{HOSTS_ENV} takes host names, .* 'my dreams.x1b'$"):
        allowed_hosts()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"host": "dreams.example.org", "origin": "https://dreams.example.org"}, 200),
        ({"host": "127.0.0.1:7860", "origin": "https://dreams.example.org"}, 200),
        ({"host": "127.0.0.1:7860", "x-forwarded-host": "dreams.example.org"}, 200),
        ({"host": "localhost:7860", "origin": "http://localhost:5173"}, 200),  # In development.
        ({"host": "localhost:7860", "origin": "http://localhost:5174"}, 403),
        ({"host": "[2001:db8::1]:7860", "origin": "http://[2001:db8::1]:7860"}, 200),
        ({"host": "[2001:db8::1]"}, 200),
        ({"host": "[2001:db8::2]"}, 403),
        ({"host": "evil.example", "origin": "https://dreams.example.org"}, 403),
        ({"host": "127.0.0.1:7860", "x-forwarded-host": "dreams.example.org, evil.example"}, 403),
    ],
)
def test_behind_a_proxy_its_name_is_answered_however_it_is_passed_on(
    sent: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOSTS_ENV, "dreams.example.org,localhost:5173,[2001:db8::1]")
    seen: list[dict[bytes, bytes]] = []

    async def app(scope: Any, _: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]))
        await PlainTextResponse("")(scope, _, send)

    headers = sent | {"x-gradio-server": "http://evil.example"}
    answer = TestClient(HostCheck(app, allowed_hosts())).post("/", headers=headers)
    assert answer.status_code == status
    assert len(seen) == (status == 200) and not any(b"x-gradio-server" in each for each in seen)


class OtherPage(BaseHTTPRequestHandler):
    """A page on another port of this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()


SEND_SCRIPT = """async ([address, mode]) => {
  const body = new FormData();
  body.append("files", new Blob(["blind"]), "blind.png");
  const sent = fetch(`${address}/gradio_api/upload`, { method: "POST", mode, body });
  return sent.then((answer) => answer.text()).catch(() => "nothing was read");
}"""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_in_a_browser_no_other_page_uploads_or_reads(address: str, api: httpx.Client) -> None:
    files = Path(upload(api, ("own.png", b"own"))).parents[1]
    with serve_http(OtherPage) as other_port, sync_playwright() as playwright:
        rebound = f"--host-resolver-rules=MAP evil.example 127.0.0.1:{urlsplit(address).port}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, rebound])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{other_port}/")
        for mode in ("cors", "no-cors"):
            assert page.evaluate(SEND_SCRIPT, [address, mode]) in ("nothing was read", "")
        answer = page.goto("http://evil.example/config")
        assert answer and answer.status == 403 and HOSTS_ENV in answer.text()
        assert HOSTS_ENV in page.evaluate(SEND_SCRIPT, ["", "cors"])
        assert not list(files.rglob("blind.png"))
        page.goto(address)
        assert "blind.png" in page.evaluate(SEND_SCRIPT, ["", "cors"])
        assert len(list(files.rglob("blind.png"))) == 1
        browser.close()
