"""The door: what comes in is bounded and looked at before any of it waits for the device.

Gradio checks a file that a call names only if the call says that it is one, fetches links without
bounds while the call holds the device, keeps what is not read, and takes bodies of any size.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import gradio as gr
import httpx
import safehttpx
from gradio.route_utils import FnIndexInferError
from gradio.server_messages import ProcessCompletedMessage
from gradio.utils import error_payload, get_upload_folder
from starlette.formparsers import MultiPartException

from dream.errors import DreamError, printable
from dream.page.blocks import NOT_HERE, Page, files

API = "/gradio_api/"
# Pictures come as uploads; only what speaks MCP may send them in the body, as base64.
JSON_BYTES, MCP_BYTES = 2_000_000, 16_000_000
FILE_BYTES = 50_000_000
# What stands around a file that is uploaded.
FORM_BYTES = 100_000
LINK_SECONDS = 20.0
REDIRECTS = 5
UNREAD_SECONDS = 60.0
UNREAD_KEPT_SECONDS = 600.0
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
        self._readers: Counter[str] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        before, inside, route = scope.get("path", "").partition(API)
        kind, _, rest = (route if inside else before.lstrip("/")).partition("/")
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif kind in NOT_GIVEN and not (kind == "pwa_icon" and rest in ICONS):
            await _refuse(send, 404, f"there is no {kind} here")
        elif route.startswith(RELAYS):
            await _refuse(send, 404, "the app does not relay other addresses; open them directly")
        elif scope["method"] != "POST" and not inside:
            await self.app(scope, receive, send)
        elif inside and kind == "upload":
            await self._upload(scope, receive, send)
        elif scope["method"] == "POST" and not (inside and kind in TAKEN):
            await _refuse(send, 404, f"nothing is taken at {scope['path']}")
        elif scope["method"] == "POST":
            await self._post(kind, rest, scope, receive, send)
        elif kind == "call" and not self._is_known(rest.rpartition("/")[2]):
            # Gradio would say so in a hundred lines of its log.
            await _refuse(send, 404, "there is no such call, or its answer was read before")
        elif kind in ("call", "queue"):
            query = parse_qs(scope["query_string"].decode("latin-1"))
            await self._read(
                query.get("session_hash", [rest.rpartition("/")[2]])[0], scope, receive, send
            )
        else:
            await self.app(scope, receive, send)

    def _is_known(self, event: str) -> bool:
        """Whether an event is under way, or has an answer that was not read yet."""
        queue = self.page._queue
        unread = (*queue.pending_event_ids_session.values(), queue.pending_messages_per_session)
        return event in queue.event_ids_to_events or any(event in events for events in unread)

    async def _upload(self, scope: Any, receive: Any, send: Any) -> None:
        if shutil.disk_usage(get_upload_folder()).free < 2 * FILE_BYTES:
            await _refuse(send, 507, "the server's disk is full; try again in some minutes")
        else:
            await self.app(scope, _bounded(receive), send)

    async def _read(self, key: str, scope: Any, receive: Any, send: Any) -> None:
        """A stream of answers; who asks for one is known by the session or the event."""
        self._readers[key] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key]
                self._end_streams(key)
                self._forget(key)

    def _end_streams(self, key: str) -> None:
        """End a camera's stream that nobody looks at: Gradio would wait for its next frame, and
        keep its place in the line.
        """
        for event in self.page._queue.event_ids_to_events.values():
            if event.streaming and key in (event.session_hash, event._id):
                event.closed = True
                event.signal.set()

    async def _post(self, kind: str, rest: str, scope: Any, receive: Any, send: Any) -> None:
        limit = MCP_BYTES if kind == "mcp" else JSON_BYTES
        body = await _body(receive, limit)
        if body is None:
            await _refuse(
                send, 413, f"at most {limit / 1e6:g} MB may be sent here; upload pictures"
            )
            return
        begun = False
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError):
            sent = None  # Gradio says so.
        try:
            # MCP has strings for files; one named otherwise its server would upload by itself.
            if kind == "mcp" and any(files(sent)):
                raise DreamError(NOT_HERE)
            if kind in CALLS and await _fetched(sent):
                body = json.dumps(sent).encode()
        except DreamError as error:
            await _refuse(send, 422, str(error))
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
                self._await_reader(message.get("body", b""), sent)
            await send(message)

        headers = [pair for pair in scope["headers"] if pair[0].lower() != b"content-length"]
        size = (b"content-length", str(len(body)).encode())
        try:
            await self.app(scope | {"headers": [*headers, size]}, replay, watch)
        except (KeyError, FnIndexInferError):
            if begun or kind not in CALLS:
                raise
            named = printable(f"/{rest.removeprefix('v2/')}")
            await _refuse(send, 404, f"there is no call {named} of that sort; {API}info has all")
        except TypeError as error:  # A parameter is missing, or is none of the call's.
            if begun or kind != "call":
                raise
            await _refuse(send, 422, str(error).partition(". ")[0])

    def _await_reader(self, answer: bytes, sent: Any) -> None:
        try:
            event: str = json.loads(answer)["event_id"]
        except (ValueError, KeyError, TypeError):
            return
        keys = {event, sent.get("session_hash")} if isinstance(sent, dict) else {event}
        wrong = self._wrong(event)
        task = asyncio.create_task(self._end(event, wrong) if wrong else self._give_up(event, keys))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _wrong(self, event: str) -> str:
        """What is wrong with what was sent, where it would have to wait to be told so."""
        queue = self.page._queue
        sent = queue.event_ids_to_events.get(event)
        check = sent and self.page.checks.get(sent.fn._id)
        if not (sent and sent.data and check):
            return ""
        line = queue.event_queue_per_concurrency_id[sent.concurrency_id]
        if sent not in line.queue or line.current_concurrency < (
            line.concurrency_limit or math.inf
        ):
            return ""
        try:
            check(*sent.data.data)
        except DreamError as error:
            return str(error)
        except Exception:  # What fits no field is told by those that read the fields.
            pass
        return ""

    async def _give_up(self, event: str, keys: set[Any]) -> None:
        await asyncio.sleep(UNREAD_SECONDS)
        if keys & self._readers.keys():
            return
        await self._end(event, f"nobody asked for the answer within {UNREAD_SECONDS:g} seconds")
        pending = self.page._queue.pending_event_ids_session
        unread = [key for key in keys if event in pending.get(key, ())]
        if unread:
            await asyncio.sleep(UNREAD_KEPT_SECONDS)
        for key in () if keys & self._readers.keys() else unread:
            pending.get(key, set()).discard(event)
            self._forget(key)

    def _forget(self, session: str) -> None:
        """Drop the messages of a session that waits for none: Gradio would keep them for ever."""
        queue = self.page._queue
        if not queue.pending_event_ids_session.get(session):
            queue.pending_event_ids_session.pop(session, None)
            queue.pending_messages_per_session.pop(session, None)

    async def _end(self, event: str, said: str) -> None:
        """Have it end with those words, if it has not ended yet."""
        queue = self.page._queue
        if event in queue.event_ids_to_events:
            output = error_payload(gr.Error(said), True)
            message = ProcessCompletedMessage(output=output, success=False)
            queue.send_message(queue.event_ids_to_events[event], message)
            await queue.clean_events(event_id=event)
            self._end_streams(event)


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


async def _refuse(send: Any, status: int, message: str) -> None:
    """An answer that people read, and that Gradio's clients show as they show their own."""
    said = {"__type__": "validate", "is_valid": False, "parameter_name": "call", "message": message}
    body = json.dumps({"detail": [said]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _fetched(sent: Any) -> bool:
    """Put what they link to in the place of links to files; whether there were any.

    Raises:
        DreamError: if one cannot be had.
    """
    linked = False
    for file in files(sent):
        link = file.get("path") or file.get("url")
        if isinstance(link, str) and urlsplit(link).scheme in ("http", "https"):
            file["path"] = await fetch(link)
            linked = True
    return linked


async def fetch(link: str) -> str:
    """The path of the file that a link leads to, in the folder of uploads.

    Only public addresses are asked, wherever they redirect to (safehttpx, Gradio's own), for at
    most 50 MB and 20 seconds.

    Raises:
        DreamError: if it cannot be had so.
    """
    host = urlsplit(link).hostname or "there"
    try:
        return await asyncio.wait_for(_fetch(link), LINK_SECONDS)
    except TimeoutError as error:
        raise DreamError(f"{host} took more than {LINK_SECONDS:g} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise DreamError(f"the picture cannot be fetched from {host}: {error}") from error


async def _fetch(link: str) -> str:
    for _ in range(REDIRECTS + 1):
        address = await safehttpx.async_validate_url(httpx.URL(link).host)
        transport = safehttpx.AsyncSecureTransport(address)
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("GET", link) as answer,
        ):
            if answer.has_redirect_location:
                link = urljoin(link, answer.headers["Location"])
                continue
            answer.raise_for_status()
            name = Path(unquote(urlsplit(link).path)).name or "picture"
            folder = Path(get_upload_folder(), uuid.uuid4().hex)
            return await _written(answer, folder, "".join(filter(_plain, name))[-80:])
    raise DreamError(f"the link redirects more than {REDIRECTS} times")


def _plain(letter: str) -> bool:
    return letter.isalnum() or letter in "-_. "


async def _written(answer: httpx.Response, folder: Path, name: str) -> str:
    content = bytearray()
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > FILE_BYTES:
            raise DreamError(f"the link leads to more than {FILE_BYTES / 1e6:.0f} MB")
    folder.mkdir(parents=True)
    (folder / (name.lstrip(".") or "picture")).write_bytes(content)
    return os.fspath(folder / (name.lstrip(".") or "picture"))
