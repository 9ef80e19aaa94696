"""What describes all components is compressed: Gradio does so with files alone, by their names."""

from __future__ import annotations

from typing import Any

from starlette.middleware.gzip import GZipMiddleware

COMPRESSED = ("/", "/config", "/gradio_api/info")
LEVEL = 4  # The highest one takes more than twice as long, for a tenth less.


class Compression:
    """The app (ASGI), but for those answers of it; streams, pictures and videos go as they are."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.compressed = GZipMiddleware(app, compresslevel=LEVEL)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = self.compressed if scope.get("path") in COMPRESSED else self.app
        await app(scope, receive, send)
