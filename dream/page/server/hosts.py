"""Check which host names the app answers to, and which pages may use it.

On your own machine, any web page can make the browser call the app: through a name that resolves to
127.0.0.1 (DNS rebinding), from another port, or without reading the answer. The Host and Origin
headers reveal that. A Space, or a server opened to a network, is for everybody: other pages may
call its API, as Gradio's CORS allows, and reach nothing that others cannot.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any
from urllib.parse import urlsplit

from gradio.utils import colab_check, get_space, is_hosted_notebook
from starlette.datastructures import Headers

from dream.errors import RecipeError
from dream.page.server.responses import refusal

HOSTS_ENV = "DREAM_ALLOWED_HOSTS"
LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))
SAFE_METHODS = ("GET", "HEAD")
HOST_PATTERN = re.compile(r"[a-z0-9.:\[\]-]{1,100}")
# Gradio takes this header for the app's address; only Gradio's Node server sends it.
NODE_HEADER = b"x-gradio-server"


def allowed_hosts() -> frozenset[str] | None:
    """Return the host names from the environment, besides the local ones; None to allow all.

    A name may have a port; without one it is valid for all ports.

    Raises:
        RecipeError: If one of them is not a valid host name.
    """
    names = os.environ.get(HOSTS_ENV, "").lower().split(",")
    names.append(os.environ.get("GRADIO_ROOT_PATH", "").lower().partition("://")[2])
    hosts = {name.rpartition("://")[2].partition("/")[0] for name in map(str.strip, names)} - {""}
    for host in hosts:
        if not HOST_PATTERN.fullmatch(host):
            raise RecipeError(
                f"{HOSTS_ENV} takes host names, such as dreams.example.org, not {host!r}"
            )
    server = os.environ.get("GRADIO_SERVER_NAME", "").lower().strip("[]")
    is_shared = os.environ.get("GRADIO_SHARE", "").lower() == "true"
    if get_space() or os.environ.get("SPACE_HOST") or is_shared:
        return None
    if colab_check() or is_hosted_notebook():  # Gradio shares the app there.
        return None
    is_open = not (server in LOCAL_HOSTS | {""} or _is_loopback(server))
    # Gradio requests the server by its own name to see whether it has started.
    hosts = {_name(host) if host.endswith("]") else host for host in hosts}
    return None if is_open and not hosts else frozenset((hosts | {server}) - LOCAL_HOSTS - {""})


class HostCheck:
    """ASGI middleware that refuses requests to names other than `hosts`, and from other pages."""

    def __init__(self, app: Any, hosts: frozenset[str] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or refuse it with 403."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = [pair for pair in scope["headers"] if pair[0] != NODE_HEADER]
        lowered = Headers(raw=[(name, value.lower()) for name, value in headers])
        if reason := self._refusal(scope["method"], lowered):
            await refusal(403, reason)(scope, receive, send)
        else:
            await self.app(scope | {"headers": headers}, receive, send)

    def _refusal(self, method: str, headers: Headers) -> str:
        """Return why a request with these headers is refused, or "" if it is allowed."""
        hosts = headers.getlist("host")
        if "origin" in headers and len(hosts) != 1:
            return "a request with an Origin needs exactly one Host"  # Gradio's CORS reads it.
        if self.hosts is None:
            return ""
        # The name that the proxy was called by; Gradio builds links from it.
        forwarded = ",".join(headers.getlist("x-forwarded-host"))
        hosts = [*hosts, *filter(None, map(str.strip, forwarded.split(",")))]
        for host in hosts:
            if not self._is_allowed(host) and _name(host) not in LOCAL_HOSTS:
                return f"the app does not answer to this name; {_how_to_add(host)}"
        for origin in headers.getlist("origin"):
            scheme, _, page = origin.partition("://")
            if scheme not in ("http", "https") or not (page in hosts or self._is_allowed(page)):
                return f"other pages may not use the app; {_how_to_add(page)}"
        is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if is_foreign and "origin" not in headers and method not in SAFE_METHODS:
            return "other pages may not use the app"
        return ""

    def _is_allowed(self, host: str) -> bool:
        return self.hosts is not None and bool({host, _name(host)} & self.hosts)


def _name(host: str) -> str:
    """Return a host without its port, or "" if it is invalid."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _how_to_add(host: str) -> str:
    shown = host if HOST_PATTERN.fullmatch(host) else "NAME"
    return f"whoever runs the app can allow it with {HOSTS_ENV}={shown}"
