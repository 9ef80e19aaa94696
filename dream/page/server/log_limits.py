"""What strangers can have libraries log as often as they like, once a minute at most."""

from __future__ import annotations

import logging
import time

from dream.errors import to_printable_line

QUIET_SECONDS = 60.0
# What asyncio says, as an error, of each connection that finds no file left to be opened.
NO_FILE_LEFT = "socket.accept() out of system resource"
# The loggers of libraries that read what strangers send, which warn of what is wrong with it.
READERS = ("uvicorn.error", "python_multipart", "multipart", "mcp", "PIL")


class OncePerMinute(logging.Filter):
    """Lets pass, in one printable line a minute, what some loggers say that begins with some words;
    without words all their warnings. All else passes as it is.

    Args:
        words: with which a record begins.
        loggers: the names with which its logger's begins.
    """

    def __init__(self, words: str = "", loggers: tuple[str, ...] = ("",)) -> None:
        super().__init__()
        self.words, self.loggers, self._quiet_until = words, loggers, 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = record.name.startswith(self.loggers) and str(record.msg).startswith(self.words)
        if not is_ours or (not self.words and record.levelno > logging.WARNING):
            return True
        if time.monotonic() < self._quiet_until:
            return False
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        record.msg = self.words or to_printable_line(record.getMessage())
        record.args, record.exc_info = (), None
        return True


def limit_repeated_records() -> None:
    """Limit the warnings of libraries that read what strangers send: uvicorn's of bytes that are no
    HTTP, and others' that no handler of their own takes; and asyncio's errors where there are too
    many connections.
    """
    once = OncePerMinute(loggers=READERS)
    logging.getLogger("uvicorn.error").addFilter(once)
    if logging.lastResort:  # The handler of loggers that have none.
        logging.lastResort.addFilter(once)
    logging.getLogger("asyncio").addFilter(OncePerMinute(NO_FILE_LEFT))
