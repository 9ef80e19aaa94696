"""Answers (ASGI) that refuse a request, in one line."""

from __future__ import annotations

import json
from typing import Any


async def refuse(send: Any, status: int, message: str) -> None:
    """An answer that people read, and that Gradio's clients show as they show their own."""
    said = {"__type__": "validate", "is_valid": False, "parameter_name": "call", "message": message}
    body = json.dumps({"detail": [said]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
