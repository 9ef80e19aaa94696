"""Limit and validate requests before they enter the queue.

Gradio checks a file only if the call marks it as a file, downloads links without limits while the
call holds the device, keeps answers that nobody reads, and accepts bodies of any size.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from gradio.route_utils import FnIndexInferError
from starlette.datastructures import QueryParams
from starlette.middleware.gzip import GZipMiddleware

from dream.errors import to_printable_line
from dream.page.blocks import NOT_UPLOADED_MESSAGE, ValidatedBlocks, find_files
from dream.page.call_limits import SLOW
from dream.page.ip_addresses import public_address
from dream.page.server import request_bodies
from dream.page.server.links import LinkFetcher
from dream.page.server.responses import RequestError, file_response, refusal
from dream.page.server.routes import API_PREFIX, route_kind
from dream.page.server.unread_answers import AnswerReaders

COMPRESSED_PATHS = ("/", "/config", "/gradio_api/info")
GZIP_LEVEL = 4  # The highest level takes more than twice as long and saves a tenth.
CALL_ROUTES = ("call", "queue", "run", "api")
# Parameters that make Gradio look for another page, or for a visit's state in a file.
UNUSED_QUERY = {"page", "deep_link"}


@dataclass(frozen=True)
class _Request:
    """A request (ASGI): its purpose, a key of `OPEN_ROUTES`, and its path below the app's root."""

    kind: str
    path: str
    scope: Any
    receive: Any
    send: Any

    @property
    def rest(self) -> str:
        """The path after the name of the route."""
        return self.path.removeprefix(API_PREFIX).partition("/")[2]

    @property
    def query(self) -> QueryParams:
        """The query, as Gradio reads it."""
        return QueryParams(self.scope.get("query_string", b""))

    @property
    def address(self) -> str:
        """The public address that it comes from, or "" if there is none."""
        return public_address(self.scope["client"][0]) if self.scope.get("client") else ""


class RequestLimits:
    """ASGI middleware that limits the bodies, links, uploads and unread answers of a page."""

    def __init__(self, app: Any, page: ValidatedBlocks) -> None:
        self.app, self.page = app, page
        self.compressed = GZipMiddleware(app, compresslevel=GZIP_LEVEL)
        self.readers = AnswerReaders(page)
        self.links = LinkFetcher()
        self.json_budget = request_bodies.ByteBudget(request_bodies.MAX_TOTAL_BYTES)
        self.mcp_budget = request_bodies.ByteBudget(request_bodies.MAX_TOTAL_BYTES)
        self.upload_slots = request_bodies.UploadSlots(request_bodies.MAX_UPLOADS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        root = scope.get("root_path", "")
        if path.startswith(f"{root}/"):
            path = path.removeprefix(root)
        kind = route_kind(scope["method"], path)
        try:
            await self._serve(_Request(kind, path, scope, receive, send))
        except RequestError as error:  # Any other error of the app is a bug, to be logged.
            await refusal(error.status, str(error))(scope, receive, send)

    async def _serve(self, request: _Request) -> None:
        """Serve a request by its purpose."""
        kind, query = request.kind, request.query
        asgi = (request.scope, request.receive, request.send)
        if not kind or (kind == "mcp" and not self.page.mcp_server):
            raise RequestError(404, "there is nothing at this address")
        if kind == "file":
            limit = self.page.limits.admit(None, SLOW, request.address)
            answer = await file_response(request.path.partition("=")[2], limit)
            await answer(*asgi)
        elif kind in ("upload", "upload_progress"):
            await self._serve_upload(request)
        elif request.scope["method"] == "POST":
            await self._serve_post(request)
        elif kind == "answer":
            await self.readers.read(self.app, request.rest.rpartition("/")[2], True, *asgi)
        elif kind == "answers":
            await self.readers.read(self.app, query.get("session_hash", ""), False, *asgi)
        elif kind in ("page", "description"):
            left = [pair for pair in query.multi_items() if pair[0] not in UNUSED_QUERY]
            scope = request.scope | {"query_string": urlencode(left).encode()}
            # Gradio compresses only files, by their names.
            app = self.compressed if request.path in COMPRESSED_PATHS else self.app
            await app(scope, *asgi[1:])
        else:
            await self.app(*asgi)

    async def _serve_upload(self, request: _Request) -> None:
        """Receive an upload, or tell its progress."""
        upload_id, is_upload = request.query.get("upload_id", ""), request.kind == "upload"
        if not request_bodies.UPLOAD_ID.fullmatch(upload_id):
            raise RequestError(422, "upload_id may have at most 64 letters and digits")
        scope, receive, send = request.scope, request.receive, request.send
        with request_bodies.delete_progress_later(upload_id, is_upload):
            if is_upload:
                limit = (self.upload_slots, request.address)
                with request_bodies.limit_upload(scope, receive, *limit) as receive_limited:
                    await self.app(scope, receive_limited, send)
            else:
                await self.app(scope, receive, send)

    async def _serve_post(self, request: _Request) -> None:
        """Check a call, download its links, and pass it to the app."""
        kind = request.kind
        limits: Any = (request_bodies.MAX_JSON_BYTES, self.json_budget)
        if kind == "mcp":
            rate = request_bodies.MIN_BYTES_PER_SECOND
            limits = (request_bodies.MAX_MCP_BYTES, self.mcp_budget, rate)
        async with request_bodies.read_json_body(request.scope, request.receive, *limits) as body:
            try:
                payload = json.loads(body)
            except (ValueError, RecursionError):
                payload = None  # Gradio reports it.
            fields = payload if isinstance(payload, dict) else {}
            event = {"stream": request.rest, "cancel": fields.get("event_id")}.get(kind)
            if self.readers.belongs_to_other_session(event, fields.get("session_hash")):
                raise RequestError(404, "there is no such run of this session")
            if await self._check_files(request, payload):
                body = json.dumps(payload).encode()
            await self._forward(_with_body(request, body), payload)

    async def _check_files(self, request: _Request, payload: Any) -> bool:
        """Download the links of a call into its payload; return whether there were any."""
        # MCP names files by strings; the MCP server would itself upload any other kind.
        if request.kind == "mcp" and any(find_files(payload)):
            raise RequestError(422, NOT_UPLOADED_MESSAGE)
        return request.kind in CALL_ROUTES and await self.links.fetch_links(
            payload, request.address
        )

    async def _forward(self, request: _Request, payload: Any) -> None:
        """Pass a call to the app, watch for its event, and turn Gradio's errors into refusals."""
        has_begun = False

        async def watch(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            if request.kind in ("call", "queue") and message["type"] == "http.response.body":
                self.readers.end_unless_read(message.get("body", b""), payload)
            await request.send(message)

        try:
            await self.app(request.scope, request.receive, watch)
        except (KeyError, FnIndexInferError) as error:
            if has_begun or request.kind not in CALL_ROUTES:
                raise
            name = to_printable_line(f"/{request.rest.removeprefix('v2/')}")
            message = f"there is no endpoint {name}; {API_PREFIX}info lists all"
            raise RequestError(404, message) from error
        except TypeError as error:  # A parameter is missing or unknown.
            if has_begun or request.kind != "call":
                raise
            raise RequestError(422, str(error).partition(". ")[0]) from error


def _with_body(request: _Request, body: bytes) -> _Request:
    """Return a request whose body has been read, so that the app can read it."""
    left = [{"type": "http.request", "body": body}]

    async def replay() -> Any:
        return left.pop() if left else await request.receive()

    headers = [pair for pair in request.scope["headers"] if pair[0].lower() != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    return replace(request, scope=request.scope | {"headers": headers}, receive=replay)
