"""The list of open Gradio routes: those that the page, the API, its clients and MCP need.

All others get 404 before Gradio sees them, including routes that its next version adds. A test
compares this table with the routes of the installed Gradio.
"""

from __future__ import annotations

import re

from starlette.routing import compile_path

API_PREFIX = "/gradio_api/"
# Methods and paths, as Gradio writes them, by purpose.
OPEN_ROUTES: dict[str, tuple[str, ...]] = {
    "page": (
        *("GET /", "HEAD /", "GET /config", "GET /config/", "GET /theme.css"),
        *("GET /favicon.ico", "GET /robots.txt", "GET /manifest.json", "GET /gradio_api/theme.css"),
        # The sizes in the manifest; Gradio would render any other size that fits into memory.
        *("GET /pwa_icon", "GET /pwa_icon/192", "GET /pwa_icon/512"),
        *("GET /static/{path:path}", "GET /assets/{path:path}", "GET /gradio_api/app_id"),
        "GET /gradio_api/startup-events",
    ),
    "description": (
        *("GET /gradio_api/info", "GET /gradio_api/info/", "GET /gradio_api/openapi.json"),
        "GET /gradio_api/queue/status",
    ),
    "file": (
        "GET /gradio_api/file={path_or_url:path}",
        "HEAD /gradio_api/file={path_or_url:path}",
    ),
    "upload": ("POST /gradio_api/upload",),
    "upload_progress": ("GET /gradio_api/upload_progress",),
    "call": (
        *("POST /gradio_api/call/{api_name}", "POST /gradio_api/call/{api_name}/"),
        *("POST /gradio_api/call/v2/{api_name}", "POST /gradio_api/call/v2/{api_name}/"),
    ),
    "queue": ("POST /gradio_api/queue/join",),
    "run": ("POST /gradio_api/run/{api_name}", "POST /gradio_api/run/{api_name}/"),
    "api": ("POST /gradio_api/api/{api_name}", "POST /gradio_api/api/{api_name}/"),
    "stream": ("POST /gradio_api/stream/{event_id}", "POST /gradio_api/stream/{event_id}/close"),
    "cancel": ("POST /gradio_api/cancel",),
    "reset": ("POST /gradio_api/reset", "POST /gradio_api/reset/"),
    "answer": (
        "GET /gradio_api/call/{api_name}/{event_id}",
        "GET /gradio_api/call/v2/{api_name}/{event_id}",
    ),
    "answers": ("GET /gradio_api/queue/data",),
    "mcp": (
        *(f"{method} /gradio_api/mcp{end}" for method in ("GET", "POST") for end in ("", "/")),
        *("DELETE /gradio_api/mcp/", "GET /gradio_api/mcp/schema", "GET /gradio_api/mcp/sse"),
        "POST /gradio_api/mcp/messages/",
    ),
}
# No file system accepts longer names; Gradio would fail with an error.
MAX_NAME_BYTES, MAX_PATH_LENGTH = 255, 2000
# Control and surrogate characters, which no path of ours has and logs and URLs cannot show.
UNSAFE_CHARACTERS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PATTERNS = [
    (kind, method, compile_path(template)[0])
    for kind, rows in OPEN_ROUTES.items()
    for method, _, template in (row.partition(" ") for row in rows)
]


def route_kind(method: str, path: str) -> str:
    """Return the purpose of a request, a key of `OPEN_ROUTES`, or "" if the route is closed."""
    parts = path.encode(errors="replace").split(b"/")
    is_long = len(path) > MAX_PATH_LENGTH or max(map(len, parts)) > MAX_NAME_BYTES
    if is_long or UNSAFE_CHARACTERS.search(path):
        return ""
    matches = (kind for kind, allowed, row in _PATTERNS if allowed == method and row.match(path))
    return next(matches, "")
