"""Compress the page and its configuration; Gradio compresses only files, by their names."""

from __future__ import annotations

from typing import Any

from starlette.middleware.gzip import GZipMiddleware

COMPRESSED_PATHS = ("/", "/config", "/gradio_api/info")
GZIP_LEVEL = 4  # The highest level takes more than twice as long and saves a tenth.


class Compression:
    """ASGI middleware that compresses these paths, but no streams, images or videos."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.compressed = GZipMiddleware(app, compresslevel=GZIP_LEVEL)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        app = self.compressed if scope.get("path") in COMPRESSED_PATHS else self.app
        await app(scope, receive, send)
