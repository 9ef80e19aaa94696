"""Limit and validate requests before they enter the queue.

Gradio checks a file only if the call marks it as a file, downloads links without limits while the
call holds the device, keeps answers that nobody reads, and accepts bodies of any size.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from gradio.route_utils import FnIndexInferError
from starlette.datastructures import QueryParams

from dream.errors import DreamError, to_printable_line
from dream.page.blocks import NOT_UPLOADED_MESSAGE, ValidatedBlocks, find_files
from dream.page.ip_addresses import public_address
from dream.page.refusal import refuse
from dream.page.server import request_bodies
from dream.page.server.file_responses import send_file
from dream.page.server.links import LinkFetcher
from dream.page.server.routes import API_PREFIX, route_kind
from dream.page.server.unread_answers import AnswerReaders
from dream.page.server.upload_progress import UPLOAD_ID, delete_progress_later

CALL_ROUTES = ("call", "queue", "run", "api")
# Parameters that make Gradio look for another page, or for a visit's state in a file.
UNUSED_QUERY = {"page", "deep_link"}


class RequestLimits:
    """ASGI middleware that limits the bodies, links, uploads and unread answers of a page."""

    def __init__(self, app: Any, page: ValidatedBlocks) -> None:
        self.app, self.page = app, page
        self.readers = AnswerReaders(page)
        self.links = LinkFetcher()
        self.json_budget = request_bodies.ByteBudget(request_bodies.MAX_TOTAL_BYTES)
        self.mcp_budget = request_bodies.ByteBudget(request_bodies.MAX_TOTAL_BYTES)
        self.upload_slots = request_bodies.UploadSlots(request_bodies.MAX_UPLOADS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request by its purpose, or refuse it."""
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
                await refuse(send, 422, "upload_id may have at most 64 letters and digits")
                return
            with delete_progress_later(upload_id, kind == "upload"):
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
            with request_bodies.limit_upload(
                scope, receive, self.upload_slots, _address(scope)
            ) as receive_limited:
                await self.app(scope, receive_limited, send)
        except request_bodies.BodyError as error:
            await refuse(send, error.status, str(error))

    async def _handle_post(self, kind: str, rest: str, scope: Any, receive: Any, send: Any) -> None:
        limits: Any = (request_bodies.MAX_JSON_BYTES, self.json_budget)
        if kind == "mcp":
            limits = (
                request_bodies.MAX_MCP_BYTES,
                self.mcp_budget,
                request_bodies.MIN_BYTES_PER_SECOND,
            )
        try:
            async with request_bodies.read_json_body(scope, receive, *limits) as body:
                await self._answer(kind, rest, body, scope, receive, send)
        except request_bodies.BodyError as error:
            await refuse(send, error.status, str(error))

    async def _answer(
        self, kind: str, rest: str, body: bytes, scope: Any, receive: Any, send: Any
    ) -> None:
        """Check a call, download its links, and pass it to the app."""
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            payload = None  # Gradio reports it.
        fields = payload if isinstance(payload, dict) else {}
        event = {"stream": rest, "cancel": fields.get("event_id")}.get(kind)
        if self.readers.belongs_to_other_session(event, fields.get("session_hash")):
            await refuse(send, 404, "there is no such run of this session")
            return
        try:
            # MCP names files by strings; the MCP server would itself upload any other kind.
            if kind == "mcp" and any(find_files(payload)):
                raise DreamError(NOT_UPLOADED_MESSAGE)
            if kind in CALL_ROUTES and await self.links.fetch_links(payload, _address(scope)):
                body = json.dumps(payload).encode()
        except request_bodies.BodyError:
            raise
        except DreamError as error:
            await refuse(send, 422, str(error))
            return
        await self._forward(kind, rest, body, payload, scope, receive, send)

    async def _forward(
        self, kind: str, rest: str, raw: bytes, payload: Any, scope: Any, receive: Any, send: Any
    ) -> None:
        """Pass a call to the app, watch for its event, and turn Gradio's errors into refusals."""
        body: bytes | None = raw
        has_begun = False

        async def replay() -> Any:
            nonlocal body
            if body is None:
                return await receive()
            message = {"type": "http.request", "body": body}
            body = None
            return message

        async def watch(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            if kind in ("call", "queue") and message["type"] == "http.response.body":
                self.readers.end_unless_read(message.get("body", b""), payload)
            await send(message)

        headers = [pair for pair in scope["headers"] if pair[0].lower() != b"content-length"]
        size = (b"content-length", str(len(raw)).encode())
        try:
            await self.app(scope | {"headers": [*headers, size]}, replay, watch)
        except (KeyError, FnIndexInferError):
            if has_begun or kind not in CALL_ROUTES:
                raise
            name = to_printable_line(f"/{rest.removeprefix('v2/')}")
            await refuse(send, 404, f"there is no endpoint {name}; {API_PREFIX}info lists all")
        except TypeError as error:  # A parameter is missing or unknown.
            if has_begun or kind != "call":
                raise
            await refuse(send, 422, str(error).partition(". ")[0])


def _address(scope: Any) -> str:
    """Return the public address that a request comes from, or "" if there is none."""
    return public_address(scope["client"][0]) if scope.get("client") else ""
