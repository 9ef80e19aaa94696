"""The door: what comes in is bounded and looked at before any of it waits for the device.

Gradio checks a file that a call names only if the call says that it is one, fetches links without
bounds while the call holds the device, keeps what is not read, and takes bodies of any size.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from gradio.route_utils import FnIndexInferError
from starlette.datastructures import QueryParams

from dream.errors import DreamError, to_printable_line
from dream.page.addresses import public_address
from dream.page.blocks import NOT_UPLOADED_MESSAGE, ValidatedBlocks, find_files
from dream.page.refusal import refuse
from dream.page.server import bodies
from dream.page.server.answer_readers import AnswerReaders
from dream.page.server.file_responses import send_file
from dream.page.server.links import LinkFetcher
from dream.page.server.routes import API_PREFIX, route_kind
from dream.page.server.upload_progress import UPLOAD_ID, bounded_progress

CALL_ROUTES = ("call", "queue", "run", "api")
# By which Gradio would look for another page, or the state of a visit in a file.
UNUSED_QUERY = {"page", "deep_link"}


class RequestLimits:
    """The server of a page (ASGI) behind bounds: how much may be sent, in what time links are
    fetched, and how long a call lasts whose answer nobody reads.
    """

    def __init__(self, app: Any, page: ValidatedBlocks) -> None:
        self.app, self.page = app, page
        self.readers = AnswerReaders(page)
        self.links = LinkFetcher()
        self.json_budget = bodies.ByteBudget(bodies.MAX_TOTAL_BYTES)
        self.mcp_budget = bodies.ByteBudget(bodies.MAX_TOTAL_BYTES)
        self.upload_slots = bodies.UploadSlots(bodies.MAX_UPLOADS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        root = scope.get("root_path", "")
        if path.startswith(f"{root}/"):
            path = path.removeprefix(root)
        kind = route_kind(scope["method"], path)
        rest = path.removeprefix(API_PREFIX).partition("/")[2]
        query = QueryParams(scope.get("query_string", b""))  # As Gradio reads it.
        if not kind or (kind == "mcp" and not self.page.mcp_server):
            await refuse(send, 404, "there is nothing at this address")
        elif kind == "file":
            await send_file(path.partition("=")[2], scope, receive, send)
        elif kind in ("upload", "upload_progress"):
            answer = self._handle_upload if kind == "upload" else self.app
            upload_id = query.get("upload_id", "")
            if not UPLOAD_ID.fullmatch(upload_id):
                await refuse(send, 422, "an upload_id has at most 64 letters and digits")
                return
            with bounded_progress(upload_id, kind == "upload"):
                await answer(scope, receive, send)
        elif scope["method"] == "POST":
            await self._handle_post(kind, rest, scope, receive, send)
        elif kind in ("answer", "answers"):
            is_event = kind == "answer"
            key = rest.rpartition("/")[2] if is_event else query.get("session_hash", "")
            await self.readers.read(self.app, key, is_event, scope, receive, send)
        elif UNUSED_QUERY & query.keys() and kind in ("page", "description"):
            left = [pair for pair in query.multi_items() if pair[0] not in UNUSED_QUERY]
            scope = scope | {"query_string": urlencode(left).encode()}
            await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _handle_upload(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            with bodies.bounded_upload(
                scope, receive, self.upload_slots, _address(scope)
            ) as receive_within:
                await self.app(scope, receive_within, send)
        except bodies.BodyError as error:
            await refuse(send, error.status, str(error))

    async def _handle_post(self, kind: str, rest: str, scope: Any, receive: Any, send: Any) -> None:
        bounds: Any = (bodies.MAX_JSON_BYTES, self.json_budget)
        if kind == "mcp":
            bounds = (bodies.MAX_MCP_BYTES, self.mcp_budget, bodies.MIN_BYTES_PER_SECOND)
        try:
            async with bodies.json_body(scope, receive, *bounds) as body:
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
        about = sent if isinstance(sent, dict) else {}
        event = {"stream": rest, "cancel": about.get("event_id")}.get(kind)
        if self.readers.is_of_another(event, about.get("session_hash")):
            await refuse(send, 404, "there is no such run of this session")
            return
        try:
            # MCP has strings for files; one named otherwise its server would upload by itself.
            if kind == "mcp" and any(find_files(sent)):
                raise DreamError(NOT_UPLOADED_MESSAGE)
            if kind in CALL_ROUTES and await self.links.fetch_links(sent, _address(scope)):
                body = content = json.dumps(sent).encode()
        except bodies.BodyError:
            raise
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
            if begun or kind not in CALL_ROUTES:
                raise
            named = to_printable_line(f"/{rest.removeprefix('v2/')}")
            await refuse(
                send, 404, f"there is no call {named} of that sort; {API_PREFIX}info has all"
            )
        except TypeError as error:  # A parameter is missing, or is none of the call's.
            if begun or kind != "call":
                raise
            await refuse(send, 422, str(error).partition(". ")[0])


def _address(scope: Any) -> str:
    """Return the public address that a request comes from, "" if it is not known."""
    return public_address(scope["client"][0]) if scope.get("client") else ""
