"""What holds for all answers: browsers guess no types, and who breaks off fills no log."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.requests import ClientDisconnect

from dream.errors import printable

NOSNIFF = (b"x-content-type-options", b"nosniff")
QUIET_SECONDS = 60.0


class SafeAnswers:
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


class OncePerMinute(logging.Filter):
    """Lets one printable warning a minute pass, and all that is worse.

    uvicorn warns of each request that is none, the reader of forms of each that is broken.
    """

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING:
            return True
        if time.monotonic() < self._quiet_until:
            return False
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        record.msg, record.args = printable(record.getMessage()), ()
        return True


def quieten_warnings() -> None:
    """Bound the warnings of libraries that strangers cause: uvicorn's, and all that are unheard."""
    once = OncePerMinute()
    logging.getLogger("uvicorn.error").addFilter(once)
    if logging.lastResort:  # The handler of loggers that have none.
        logging.lastResort.addFilter(once)
