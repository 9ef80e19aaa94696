"""Call the API as curl does, and send frames to the tab "Live" as a camera does."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from dream import DreamError
from tests.support.corpus import encode

JSON = {"content-type": "application/json"}


def upload(api: httpx.Client, file: Path | tuple[str, bytes]) -> str:
    """Upload a file, or a (name, content) pair; return its path on the server."""
    name, content = file if isinstance(file, tuple) else (file.name, file.read_bytes())
    (path,) = api.post("/upload", files={"files": (name, content)}).json()
    return str(path)


def data_uri(content: bytes) -> str:
    """Return the content of an image file as the address that a browser gives it."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def read_data_uri(uri: str) -> Image.Image:
    """Return the image of such an address."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def begin(api: httpx.Client, name: str, knobs: Any) -> str:
    """Start a call of an endpoint; return its event id."""
    answer = api.post(f"/call/v2/{name}", content=json.dumps(knobs), headers=JSON)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["event_id"])


def call(api: httpx.Client, name: str, knobs: Any) -> tuple[bool, Any]:
    """Call an endpoint; return whether it succeeded, and its last answer."""
    return result_of(api, name, begin(api, name, knobs))


def result_of(api: httpx.Client, name: str, event: str) -> tuple[bool, Any]:
    """Wait for a call; return whether it succeeded, and its last answer."""
    last = api.get(f"/call/{name}/{event}").text.strip().rpartition("event: ")[2]
    kind, _, data = last.partition("\ndata: ")
    return kind == "complete", json.loads(data)


def refusal(api: httpx.Client, name: str, knobs: Any) -> str:
    """Call an endpoint that refuses; return its message."""
    good, answer = call(api, name, knobs)
    assert not good and isinstance(answer["error"], str), answer
    return str(answer["error"])


def page_events(address: str) -> dict[str, Any]:
    """Return the page's events that the server handles, by name."""
    config = httpx.get(f"{address}/config").json()
    return {each["api_name"]: each for each in config["dependencies"] if each["backend_fn"]}


def send_to_page(api: httpx.Client, event: int, data: list[Any]) -> list[dict[str, Any]]:
    """Send a queued event of the page this data, as a new visitor; return all its messages."""
    visit = {"session_hash": uuid.uuid4().hex}
    answer = api.post("/queue/join", json={"fn_index": event, "data": data, **visit})
    assert answer.is_success, answer.text
    with api.stream("GET", "/queue/data", params=visit) as stream:
        return [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line]


@contextmanager
def open_stream(
    address: str, ids: list[str] | None = None
) -> Iterator[Callable[[Image.Image | str], Image.Image | None]]:
    """Yield a function that sends a frame and returns its dream, None while others wait before it.

    The ids of the event and the session are appended to `ids`. The function raises `DreamError`
    with the page's message once the stream has ended.
    """
    config = httpx.get(f"{address}/config").json()
    event = next(each for each in config["dependencies"] if _event_names(each) == ["stream"])
    values = {each["id"]: each["props"].get("value") for each in config["components"]}
    body: dict[str, Any] = {"fn_index": event["id"], "session_hash": uuid.uuid4().hex}
    with httpx.Client(base_url=f"{address}/gradio_api", timeout=60) as api:
        begun: list[Any] = []

        def send(frame: Image.Image | str) -> Image.Image | None:
            uri = frame if isinstance(frame, str) else data_uri(encode(frame, "JPEG"))
            data = [{"url": uri}, *(values[each] for each in event["inputs"][1:])]
            if not begun:
                joined = api.post("/queue/join", json={**body, "data": data})
                answers = api.stream("GET", "/queue/data", params=body)
                lines = answers.__enter__().iter_lines()
                begun.extend([joined.json()["event_id"], answers, lines])
                if ids is not None:
                    ids.extend([begun[0], body["session_hash"]])
            else:
                api.post(f"/stream/{begun[0]}", json={**body, "data": data})
            for line in begun[2]:
                message = json.loads(line.removeprefix("data: ") or "{}")
                if message.get("msg") == "process_streaming":
                    return _decode_image(message["output"]["data"][0])
                if message.get("msg") == "process_completed":
                    raise DreamError(str(message["output"].get("error")))
            raise DreamError("the stream broke off")

        try:
            yield send
        finally:
            if begun:
                begun[1].__exit__(None, None, None)


def _event_names(dependency: Any) -> list[str]:
    return [event for _, event in dependency["targets"]]


def _decode_image(sent: Any) -> Image.Image | None:
    if not (isinstance(sent, dict) and "url" in sent):
        return None
    return read_data_uri(sent["url"])
