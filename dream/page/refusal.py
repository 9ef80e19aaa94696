"""ASGI responses that refuse a request, with a message of one line."""

from __future__ import annotations

import json
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from dream.errors import to_printable_line

SERVER_BUSY_MESSAGE = "the server is busy; try again in a few seconds"


async def refuse(send: Any, status: int, message: str) -> None:
    """Send an error in the JSON form that Gradio's clients show."""
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
