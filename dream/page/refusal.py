"""Answers (ASGI) that refuse a request, in one line."""

from __future__ import annotations

import json
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from dream.errors import to_printable_line

SERVER_BUSY = "the server is busy; try again in some seconds"


async def refuse(send: Any, status: int, message: str) -> None:
    """An answer that people read, and that Gradio's clients show as they show their own."""
    body = _error_body(message)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_misfit(request: Any, error: RequestValidationError) -> Response:
    """What is answered to a body that has none of the shape asked for. FastAPI's own answer holds
    all that was sent, and fails where no JSON can say that again.
    """
    first_error = error.errors()[0]
    message = to_printable_line(
        f"{'.'.join(map(str, first_error['loc'][1:]))}: {first_error['msg']}"
    )
    return Response(_error_body(message), 422, media_type="application/json")


def _error_body(message: str) -> bytes:
    detail = {
        "__type__": "validate",
        "is_valid": False,
        "parameter_name": "call",
        "message": message,
    }
    return json.dumps({"detail": [detail]}).encode()
