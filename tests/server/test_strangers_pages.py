"""A stranger's page is not served under the app's address, nor told the operator's hub account."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from tests.support.api import call
from tests.support.server import run_app, serve_http

TOKEN = "hf_dummy"
# The app, which takes a stranger's host on this machine for a public one.
APP = """
import safehttpx

async def validate(host):
    assert host == "evil.example", host
    return "127.0.0.1"

safehttpx.async_validate_url = validate
import app
app.main()
"""
SPELLINGS = [f"{start}{scheme}" for start in ("file=", "file/") for scheme in ("http", "https")]
HISTORY = ("runs", "run-history/buckets", "run-history/records?bucket=someone/else")
BUCKET = {"x-gradio-history-bucket": "someone/else"}

pytestmark = pytest.mark.filterwarnings("default")


@dataclass
class Listener:
    """The stranger's host and the hub in one; `requests` are all that reached it."""

    port: int
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.requests.append(f"{self.path} {self.headers.get('Authorization', '')}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a stranger's page")

        do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

    with serve_http(Handler) as port:
        heard = Listener(port)
        yield heard


@pytest.fixture(scope="module")
def address(listener: Listener, log: Path) -> Iterator[str]:
    """Run the app of an operator who is logged in at the hub."""
    hub = {"HF_ENDPOINT": f"http://127.0.0.1:{listener.port}", "HF_HUB_OFFLINE": "0"}
    with run_app(log, "-c", APP, HF_TOKEN=TOKEN, **hub) as address:
        yield address


def test_no_page_of_strangers_is_fetched_and_no_bucket_is_told(
    address: str, listener: Listener
) -> None:
    listener.requests.clear()
    for spelling in SPELLINGS:
        link = f"{address}/gradio_api/{spelling}://evil.example:{listener.port}/evil.png"
        for method in ("GET", "HEAD"):
            assert httpx.request(method, link, headers={"Range": "bytes=0-1"}).status_code == 404
    for path in HISTORY:
        assert httpx.get(f"{address}/gradio_api/{path}", headers=BUCKET).status_code == 404, path
    assert not listener.requests


def test_no_run_is_written_to_a_bucket(address: str, listener: Listener) -> None:
    listener.requests.clear()
    with httpx.Client(base_url=f"{address}/gradio_api", headers=BUCKET, timeout=60) as api:
        good, _ = call(api, "visualize_channel", {"channels": "7", "size": 64, "steps": 1})
        assert good
        answer = api.post("/run-history/connect", json={"bucket_id": "someone/else"})
        assert answer.status_code == 404
    time.sleep(2)  # Gradio writes after its answer.
    assert not [each for each in listener.requests if TOKEN in each or "bucket" in each]
