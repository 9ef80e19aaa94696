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

from dream.errors import DreamError, printable
from dream.page import bodies
from dream.page.answer_readers import AnswerReaders
from dream.page.blocks import FILE_BYTES, NOT_HERE, Page, files
from dream.page.links import fetch_links
from dream.page.refusal import refuse

API = "/gradio_api/"
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
        self.json_room = bodies.Room(bodies.MAX_TOTAL_BYTES)
        self.mcp_room = bodies.Room(bodies.MAX_TOTAL_BYTES)
        self.upload_room = bodies.Room(bodies.MAX_UPLOADS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        before, inside, route = scope.get("path", "").partition(API)
        kind, _, rest = (route if inside else before.lstrip("/")).partition("/")
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif kind in NOT_GIVEN and not (kind == "pwa_icon" and rest in ICONS):
            await refuse(send, 404, f"there is no {kind} here")
        elif route.startswith(RELAYS):
            await refuse(send, 404, "the app does not relay other addresses; open them directly")
        elif inside and kind == "mcp" and not self.page.mcp_server:
            await refuse(send, 404, "MCP is not served here")
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
            with bodies.bounded_upload(scope, receive, self.upload_room) as receive_within:
                await self.app(scope, receive_within, send)

    async def _post(self, kind: str, rest: str, scope: Any, receive: Any, send: Any) -> None:
        is_mcp = kind == "mcp"
        limit = bodies.MCP_BYTES if is_mcp else bodies.JSON_BYTES
        room = self.mcp_room if is_mcp else self.json_room
        try:
            async with bodies.json_body(scope, receive, limit, room) as body:
                await self._answer(kind, rest, body, scope, receive, send)
        except bodies.BodyError as error:
            await refuse(send, error.status, str(error))

    async def _answer(
        self, kind: str, rest: str, content: bytes, scope: Any, receive: Any, send: Any
    ) -> None:
        body: bytes | None = content
        begun = False
        try:
            sent = json.loads(content)
        except (ValueError, RecursionError):
            sent = None  # Gradio says so.
        try:
            # MCP has strings for files; one named otherwise its server would upload by itself.
            if kind == "mcp" and any(files(sent)):
                raise DreamError(NOT_HERE)
            if kind in CALLS and await fetch_links(sent):
                body = content = json.dumps(sent).encode()
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
        size = (b"content-length", str(len(content)).encode())
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
