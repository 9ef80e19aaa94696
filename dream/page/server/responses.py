"""What is sent: refusals, files, the page with its link preview, and headers."""

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
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response

from dream.errors import DreamError, to_printable_line
from dream.page.blocks import is_uploaded, upload_path
from dream.page.server.previews import find_preview
from dream.page.widgets.components import EXAMPLES_FOLDER

CARD_IMAGE = EXAMPLES_FOLDER / "site" / "card.jpg"
GRADIO_META_TAGS = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')
NOSNIFF = (b"x-content-type-options", b"nosniff")


class RequestError(DreamError):
    """Raised when a request is refused, with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def refusal(status: int, message: str) -> Response:
    """Return an error of one line, in the JSON form that Gradio's clients show."""
    detail = {"__type__": "validate", "is_valid": False, "parameter_name": "call"}
    body = json.dumps({"detail": [detail | {"message": message}]})
    return Response(body, status, media_type="application/json")


async def refuse_malformed_body(request: Any, error: RequestValidationError) -> Response:
    """Return the response to a malformed body.

    FastAPI's own response repeats the whole body, and fails where that cannot be JSON.
    """
    first_error = error.errors()[0]
    place = ".".join(map(str, first_error["loc"][1:]))
    return refusal(422, to_printable_line(f"{place}: {first_error['msg']}"))


async def file_response(name: str, limit: Any) -> FileResponse:
    """Return the response with an upload or its preview, a result or the link preview's image.

    Gradio's route serves whatever it has allowed, fetches other addresses, and echoes the headers
    of a range request in its answer. `name` is a path, or an upload's as in `upload_name`; `limit`
    is that of `find_preview`.

    Raises:
        RequestError: If there is no such file, or `limit` refuses the caller.
    """
    path = str(CARD_IMAGE) if name == CARD_IMAGE.name else upload_path(name) or name
    if path != str(CARD_IMAGE) and not is_uploaded(path):
        raise RequestError(404, "there is no such file, or it has been removed")
    upload = Path(path).resolve()
    try:
        file = await find_preview(upload, limit)
    except DreamError as error:
        raise RequestError(503, str(error)) from error
    kind, _ = mimetypes.guess_type(file)
    # Files that could run scripts with the page's rights are downloaded, never shown.
    shown = kind if kind in XSS_SAFE_MIMETYPES else None
    return FileResponse(
        file,
        media_type=shown or "application/octet-stream",
        filename=upload.with_suffix(file.suffix).name,
        content_disposition_type="inline" if shown else "attachment",
    )


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
