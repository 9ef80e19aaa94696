"""Add a header to all answers, and keep clients that disconnect out of the log."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect

NOSNIFF = (b"x-content-type-options", b"nosniff")


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
