"""What holds for all answers: browsers guess no types, and who breaks off fills no log."""

from __future__ import annotations

from typing import Any

from starlette.requests import ClientDisconnect

NOSNIFF = (b"x-content-type-options", b"nosniff")


class ResponseHeaders:
    """The app (ASGI), with a header in each answer, and without the faults of those who leave."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_unguessed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", ()), NOSNIFF]}
            await send(message)

        try:
            await self.app(scope, receive, send_unguessed)
        except ClientDisconnect:
            pass
