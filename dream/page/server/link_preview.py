"""Add Open Graph and Twitter tags to the page, for link previews.

Other sites read the page as served and run no scripts, so they do not see Gradio's `head`, which a
script inserts. The page that Gradio serves is called "Gradio" and has Gradio's own image.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

CARD_IMAGE = Path(__file__).parents[3] / "examples" / "site" / "card.jpg"
GRADIO_META_TAGS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')


def link_preview_tags(title: str, description: str, host: str | None) -> str:
    """Return the tags; they include the image only if the name of the host is known."""
    tags = {"og:type": "website", "og:title": title, "og:description": description}
    if host:
        tags |= {
            "og:url": f"https://{host}/",
            "og:image": f"https://{host}/gradio_api/file={CARD_IMAGE.name}",
            "og:image:width": "1200",
            "og:image:height": "630",
            "og:image:alt": "A cup of coffee, and its dream: a puppy's face looks out of the cup",
        }
    lines = [f'<meta property="{key}" content="{html.escape(each)}">' for key, each in tags.items()]
    return "\n".join([*lines, '<meta name="twitter:card" content="summary_large_image">'])


class LinkPreviewMiddleware:
    """ASGI middleware that replaces Gradio's tags in the page."""

    def __init__(self, app: Any, tags: str) -> None:
        self.app = app
        self.tags = tags.encode() + b"\n"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request; replace the tags in the page."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        body = b""

        async def replace_tags(message: Any) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                before, *after = GRADIO_META_TAGS.split(body)
                page = before + self.tags + b"".join(after)
                others = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
                size = (b"content-length", str(len(page)).encode())
                await send(start | {"headers": [*others, size]})
                await send(message | {"body": page})

        await self.app(scope, receive, replace_tags)
