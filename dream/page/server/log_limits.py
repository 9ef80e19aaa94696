"""Limit log lines that strangers can cause at will to one a minute."""

from __future__ import annotations

import logging
import time

from dream.errors import to_printable_line

QUIET_SECONDS = 60.0
# asyncio logs this error for each connection if no more files can be opened.
NO_FILE_LEFT_MESSAGE = "socket.accept() out of system resource"
# Loggers of libraries that warn about malformed input of strangers.
INPUT_LOGGERS = ("uvicorn.error", "python_multipart", "multipart", "mcp", "PIL")


class RateLimitFilter(logging.Filter):
    """Logging filter that passes matching records once a minute, as one printable line.

    All other records pass unchanged.

    Args:
        words: The beginning of matching records; "" matches all warnings of the loggers.
        loggers: The beginnings of the loggers' names.
    """

    def __init__(self, words: str = "", loggers: tuple[str, ...] = ("",)) -> None:
        super().__init__()
        self.words, self.loggers, self._quiet_until = words, loggers, 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        is_match = record.name.startswith(self.loggers) and str(record.msg).startswith(self.words)
        if not is_match or (not self.words and record.levelno > logging.WARNING):
            return True
        if time.monotonic() < self._quiet_until:
            return False
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        record.msg = self.words or to_printable_line(record.getMessage())
        record.args, record.exc_info = (), None
        return True


def limit_repeated_records() -> None:
    """Limit the warnings of libraries that read strangers' input, and asyncio's errors.

    uvicorn warns about bytes that are not HTTP; other libraries log without a handler of their own.
    asyncio reports an error for each connection too many.
    """
    once = RateLimitFilter(loggers=INPUT_LOGGERS)
    logging.getLogger("uvicorn.error").addFilter(once)
    if logging.lastResort:  # The handler of loggers without one.
        logging.lastResort.addFilter(once)
    logging.getLogger("asyncio").addFilter(RateLimitFilter(NO_FILE_LEFT_MESSAGE))
