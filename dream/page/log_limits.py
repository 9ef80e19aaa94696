"""What strangers can have libraries log as often as they like, once a minute at most."""

from __future__ import annotations

import logging
import time

from dream.errors import printable

QUIET_SECONDS = 60.0
# What asyncio says, as an error, of each connection that finds no file left to be opened.
NO_FILE_LEFT = "socket.accept() out of system resource"


class OncePerMinute(logging.Filter):
    """Lets pass, in one printable line a minute, what begins with some words; without words every
    warning. All else passes as it is.
    """

    def __init__(self, words: str = "") -> None:
        super().__init__()
        self.words, self._quiet_until = words, 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        is_repeated = str(record.msg).startswith(self.words)
        if not is_repeated or (not self.words and record.levelno > logging.WARNING):
            return True
        if time.monotonic() < self._quiet_until:
            return False
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        record.msg = self.words or printable(record.getMessage())
        record.args, record.exc_info = (), None
        return True


def limit_repeated_records() -> None:
    """Limit uvicorn's warnings of requests that are none, those of libraries that no handler takes,
    as the reader of forms, and asyncio's errors where there are too many connections.
    """
    once = OncePerMinute()
    logging.getLogger("uvicorn.error").addFilter(once)
    if logging.lastResort:  # The handler of loggers that have none.
        logging.lastResort.addFilter(once)
    logging.getLogger("asyncio").addFilter(OncePerMinute(NO_FILE_LEFT))
