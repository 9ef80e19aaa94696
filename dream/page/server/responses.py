"""What is sent: refusals, files, the page with its link preview, compression and headers."""

from __future__ import annotations

import html
import json
import mimetypes
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi.exceptions import RequestValidationError
from gradio.route_utils import XSS_SAFE_MIMETYPES
from gradio.routes import templates
from jinja2 import FunctionLoader
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response

from dream.errors import DreamError, to_printable_line
from dream.page.blocks import is_uploaded, upload_path
from dream.page.server.previews import find_preview
from dream.page.widgets.components import EXAMPLES_FOLDER

CARD_IMAGE = EXAMPLES_FOLDER / "site" / "card.jpg"
GRADIO_META_TAGS = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')
COMPRESSED_PATHS = ("/", "/config", "/gradio_api/info")
GZIP_LEVEL = 4  # The highest level takes more than twice as long and saves a tenth.
NOSNIFF = (b"x-content-type-options", b"nosniff")


class RequestError(DreamError):
    """Raised when a request is refused, with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def refuse(send: Any, status: int, message: str) -> None:
    """Send (ASGI) an error of one line, in the JSON form that Gradio's clients show."""
    body = _error_body(message)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_malformed_body(request: Any, error: RequestValidationError) -> Response:
    """Return the response to a malformed body.

    FastAPI's own response repeats the whole body, and fails where that cannot be JSON.
    """
    first_error = error.errors()[0]
    place = ".".join(map(str, first_error["loc"][1:]))
    message = to_printable_line(f"{place}: {first_error['msg']}")
    return Response(_error_body(message), 422, media_type="application/json")


def _error_body(message: str) -> bytes:
    detail = {"__type__": "validate", "is_valid": False, "parameter_name": "call"}
    return json.dumps({"detail": [detail | {"message": message}]}).encode()


async def send_file(name: str, limit: Any, scope: Any, receive: Any, send: Any) -> None:
    """Answer (ASGI) with an upload or its preview, a result or the image for link previews.

    Gradio's route serves whatever it has allowed, fetches other addresses, and echoes the headers
    of a range request in its answer. `name` is a path, or an upload's as in `upload_name`; `limit`
    is that of `find_preview`.
    """
    path = str(CARD_IMAGE) if name == CARD_IMAGE.name else upload_path(name) or name
    if path != str(CARD_IMAGE) and not is_uploaded(path):
        await refuse(send, 404, "there is no such file, or it has been removed")
        return
    upload = Path(path).resolve()
    try:
        file = await find_preview(upload, limit)
    except DreamError as error:
        await refuse(send, 503, str(error))
        return
    kind, _ = mimetypes.guess_type(file)
    # Files that could run scripts with the page's rights are downloaded, never shown.
    shown = kind if kind in XSS_SAFE_MIMETYPES else None
    answer = FileResponse(
        file,
        media_type=shown or "application/octet-stream",
        filename=upload.with_suffix(file.suffix).name,
        content_disposition_type="inline" if shown else "attachment",
    )
    await answer(scope, receive, send)


def set_link_preview(title: str, description: str, host: str | None) -> None:
    """Replace Gradio's Open Graph and Twitter tags in the template of the page.

    Other sites read the page as served and run no scripts, so they do not see Gradio's `head`,
    which a script inserts. The image is named only if the name of the `host` is known.
    """
    tags = {"og:type": "website", "og:title": title, "og:description": description}
    if host:
        tags |= {
            "og:url": f"https://{host}/",
            "og:image": f"https://{host}/gradio_api/file={CARD_IMAGE.name}",
            "og:image:width": "1200",
            "og:image:height": "630",
            "og:image:alt": "A cup of coffee, and its dream: a puppy's face looks out of the cup",
        }
    lines = [f'<meta property="{key}" content="{html.escape(each)}">' for key, each in tags.items()]
    lines += ['<meta name="twitter:card" content="summary_large_image">', ""]
    loader: Any = templates.env.loader

    def load(name: str) -> str:
        source, *_ = loader.get_source(templates.env, name)
        before, *after = GRADIO_META_TAGS.split(source)
        return before + "\n".join(lines) + "".join(after)

    templates.env.loader = FunctionLoader(load)


class Compression:
    """ASGI middleware that compresses the page and its configuration, but no stream or media.

    Gradio compresses only files, by their names.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.compressed = GZipMiddleware(app, compresslevel=GZIP_LEVEL)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        app = self.compressed if scope.get("path") in COMPRESSED_PATHS else self.app
        await app(scope, receive, send)


class ResponseHeaders:
    """ASGI middleware that forbids content type guessing and ignores disconnected clients."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""

        async def send_nosniff(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", ()), NOSNIFF]}
            await send(message)

        with suppress(ClientDisconnect):
            await self.app(scope, receive, send_nosniff)
