"""The door: what comes in is bounded and looked at before any of it waits for the device.

Gradio checks a file that a call names only if the call says that it is one, fetches links without
bounds while the call holds the device, keeps what is not read, and takes bodies of any size.
"""

from __future__ import annotations

import json
import shutil
from typing import Any
from urllib.parse import parse_qs

from gradio.route_utils import FnIndexInferError
from gradio.utils import get_upload_folder
from starlette.formparsers import MultiPartException

from dream.errors import DreamError, printable
from dream.page.answer_readers import AnswerReaders
from dream.page.blocks import FILE_BYTES, NOT_HERE, Page, files
from dream.page.links import fetch_links
from dream.page.refusal import refuse

API = "/gradio_api/"
# Pictures come as uploads; only what speaks MCP may send them in the body, as base64.
JSON_BYTES, MCP_BYTES = 2_000_000, 16_000_000
# What stands around a file that is uploaded.
FORM_BYTES = 100_000
CALLS = ("call", "queue", "run", "api")
# What else Gradio would take, as recordings for ffmpeg and blobs to keep, the page has no use for.
TAKEN = (*CALLS, "stream", "cancel", "reset", "mcp")
# And what it would give: the icon at any size there is memory for, a visit's state in a file, …
NOT_GIVEN = ("pwa_icon", "deep_link", "dev", "monitoring")
ICONS = ("", "192", "512")  # Which its manifest names.
# Addresses whose content Gradio relays under the app's own, with a type that lets scripts run.
RELAYS = ("proxy=", *(f"file{end}{scheme}:/" for end in "=/" for scheme in ("http", "https")))


class Door:
    """The server of a page (ASGI) behind bounds: how much may be sent, in what time links are
    fetched, and how long a call lasts whose answer nobody reads.
    """

    def __init__(self, app: Any, page: Page) -> None:
        self.app, self.page = app, page
        self.readers = AnswerReaders(page)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        before, inside, route = scope.get("path", "").partition(API)
        kind, _, rest = (route if inside else before.lstrip("/")).partition("/")
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif kind in NOT_GIVEN and not (kind == "pwa_icon" and rest in ICONS):
            await refuse(send, 404, f"there is no {kind} here")
        elif route.startswith(RELAYS):
            await refuse(send, 404, "the app does not relay other addresses; open them directly")
        elif scope["method"] != "POST" and not inside:
            await self.app(scope, receive, send)
        elif inside and kind == "upload":
            await self._upload(scope, receive, send)
        elif scope["method"] == "POST" and not (inside and kind in TAKEN):
            await refuse(send, 404, f"nothing is taken at {scope['path']}")
        elif scope["method"] == "POST":
            await self._post(kind, rest, scope, receive, send)
        elif kind == "call" and not self.readers.is_known(rest.rpartition("/")[2]):
            # Gradio would say so in a hundred lines of its log.
            await refuse(send, 404, "there is no such call, or its answer was read before")
        elif kind in ("call", "queue"):
            query = parse_qs(scope["query_string"].decode("latin-1"))
            key = query.get("session_hash", [rest.rpartition("/")[2]])[0]
            await self.readers.read(self.app, key, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _upload(self, scope: Any, receive: Any, send: Any) -> None:
        if shutil.disk_usage(get_upload_folder()).free < 2 * FILE_BYTES:
            await refuse(send, 507, "the server's disk is full; try again in some minutes")
        else:
            await self.app(scope, _bounded(receive), send)

    async def _post(self, kind: str, rest: str, scope: Any, receive: Any, send: Any) -> None:
        limit = MCP_BYTES if kind == "mcp" else JSON_BYTES
        body = await _body(receive, limit)
        if body is None:
            await refuse(send, 413, f"at most {limit / 1e6:g} MB may be sent here; upload pictures")
            return
        begun = False
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError):
            sent = None  # Gradio says so.
        about = sent if isinstance(sent, dict) else {}
        event = {"stream": rest, "cancel": about.get("event_id")}.get(kind)
        if self.readers.is_of_another(event, about.get("session_hash")):
            await refuse(send, 404, "there is no such run of this session")
            return
        try:
            # MCP has strings for files; one named otherwise its server would upload by itself.
            if kind == "mcp" and any(files(sent)):
                raise DreamError(NOT_HERE)
            if kind in CALLS and await fetch_links(sent):
                body = json.dumps(sent).encode()
        except DreamError as error:
            await refuse(send, 422, str(error))
            return

        async def replay() -> Any:
            nonlocal body
            if body is None:
                return await receive()
            message = {"type": "http.request", "body": body}
            body = None
            return message

        async def watch(message: Any) -> None:
            nonlocal begun
            begun = True
            if kind in ("call", "queue") and message["type"] == "http.response.body":
                self.readers.await_reader(message.get("body", b""), sent)
            await send(message)

        headers = [pair for pair in scope["headers"] if pair[0].lower() != b"content-length"]
        size = (b"content-length", str(len(body)).encode())
        try:
            await self.app(scope | {"headers": [*headers, size]}, replay, watch)
        except (KeyError, FnIndexInferError):
            if begun or kind not in CALLS:
                raise
            named = printable(f"/{rest.removeprefix('v2/')}")
            await refuse(send, 404, f"there is no call {named} of that sort; {API}info has all")
        except TypeError as error:  # A parameter is missing, or is none of the call's.
            if begun or kind != "call":
                raise
            await refuse(send, 422, str(error).partition(". ")[0])


async def _body(receive: Any, limit: int) -> bytes | None:
    """What is sent; None, as soon as it is more than so many bytes."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _bounded(receive: Any) -> Any:
    """An upload of one file at most, however many there are in it."""
    left = FILE_BYTES + FORM_BYTES

    async def counted() -> Any:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:  # Gradio takes this for an answer, and removes what it has.
            raise MultiPartException(f"more than the maximum allowed size, {FILE_BYTES:,} bytes")
        return message

    return counted
