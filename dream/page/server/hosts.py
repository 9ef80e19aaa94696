"""By which names the app answers, and which pages may use it.

On somebody's own machine a page on the web can have the browser call the app: by a name that leads
to 127.0.0.1 (DNS rebinding), from another port, or without reading the answer. The browser's Host
and Origin tell. A Space, or a server that was opened to a network, is for everybody: there pages
elsewhere call its API, as Gradio's CORS has it, and reach nothing that others may not.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any
from urllib.parse import urlsplit

from gradio.utils import colab_check, get_space, is_hosted_notebook

from dream.errors import RecipeError
from dream.page.refusal import refuse

VARIABLE = "DREAM_ALLOWED_HOSTS"
LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))
SAFE_METHODS = ("GET", "HEAD")
HOST = re.compile(r"[a-z0-9.:\[\]-]{1,100}")
# Which Gradio would take for the app's address; only its server of Node sends one.
NODE_HEADER = b"x-gradio-server"


def allowed_hosts() -> frozenset[str] | None:
    """Return the names that the app answers by beside those of the machine itself, as the
    environment has them, each with a port or for all ports; None if it answers by any.

    Raises:
        RecipeError: if one of them is no name.
    """
    names = os.environ.get(VARIABLE, "").lower().split(",")
    names.append(os.environ.get("GRADIO_ROOT_PATH", "").lower().partition("://")[2])
    hosts = {name.rpartition("://")[2].partition("/")[0] for name in map(str.strip, names)} - {""}
    for host in hosts:
        if not HOST.fullmatch(host):
            raise RecipeError(f"{VARIABLE} has names of hosts, as dreams.example.org, not {host!r}")
    server = os.environ.get("GRADIO_SERVER_NAME", "").lower().strip("[]")
    is_shared = os.environ.get("GRADIO_SHARE", "").lower() == "true"
    if get_space() or os.environ.get("SPACE_HOST") or is_shared:
        return None
    if colab_check() or is_hosted_notebook():  # Where Gradio shares the app by itself.
        return None
    is_open = not (server in LOCAL_HOSTS | {""} or _is_loopback(server))
    # By its own name Gradio asks the server whether it has started.
    hosts = {_name(host) if host.endswith("]") else host for host in hosts}
    return None if is_open and not hosts else frozenset((hosts | {server}) - LOCAL_HOSTS - {""})


class HostCheck:
    """The app (ASGI), but for requests by other names and from other pages.

    Args:
        app: the app.
        hosts: as `allowed_hosts` returns them.
    """

    def __init__(self, app: Any, hosts: frozenset[str] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = [pair for pair in scope["headers"] if pair[0] != NODE_HEADER]
        sent: dict[str, list[str]] = {}
        for name, value in headers:
            sent.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1").lower())
        if refusal := self._refusal(scope["method"], sent):
            await refuse(send, 403, refusal)
        else:
            await self.app(scope | {"headers": headers}, receive, send)

    def _refusal(self, method: str, sent: dict[str, list[str]]) -> str:
        """Return why a request with those headers is refused, "" if it is not."""
        hosts = sent.get("host", [])
        if "origin" in sent and len(hosts) != 1:
            return "a request of a page's has one Host"  # Gradio's CORS reads it.
        if self.hosts is None:
            return ""
        # By which name a proxy was asked; Gradio makes links of it.
        forwarded = ",".join(sent.get("x-forwarded-host", []))
        hosts = [*hosts, *filter(None, map(str.strip, forwarded.split(",")))]
        for host in hosts:
            if not self._is_allowed(host) and _name(host) not in LOCAL_HOSTS:
                return f"the app does not answer by this name; {_how_to_add(host)}"
        for origin in sent.get("origin", []):
            scheme, _, page = origin.partition("://")
            if scheme not in ("http", "https") or not (page in hosts or self._is_allowed(page)):
                return f"a page elsewhere may not use the app; {_how_to_add(page)}"
        is_foreign = sent.get("sec-fetch-site", [""])[0] in ("cross-site", "same-site")
        if is_foreign and "origin" not in sent and method not in SAFE_METHODS:
            return "a page elsewhere may not use the app"
        return ""

    def _is_allowed(self, host: str) -> bool:
        return self.hosts is not None and bool({host, _name(host)} & self.hosts)


def _name(host: str) -> str:
    """Return a host without its port, "" if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    """Return whether a host is an address that leads to this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _how_to_add(host: str) -> str:
    shown = host if HOST.fullmatch(host) else "NAME"
    return f"whoever runs it can allow that by {VARIABLE}={shown}"
