"""Links to pictures, fetched before the call that names them waits for the device.

Gradio fetches them without bounds while the call holds the device.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import safehttpx
from gradio.utils import get_upload_folder

from dream.errors import DreamError
from dream.page.blocks import FILE_BYTES, files

# A call takes three pictures at most.
MAX_LINKS = 8
LINK_SECONDS = 20.0
REDIRECTS = 5
# `ipaddress` changed its mind about some of these between Python 3.11 and 3.13, and takes multicast
# for global. Of IPv6 only 2000::/3 is routed; inside it Teredo and 6to4 lead to an IPv4 address.
IPV6_ROUTED = ipaddress.ip_network("2000::/3")
NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)


async def fetch_links(sent: Any) -> bool:
    """Put what they link to in the place of links to files; whether there were any.

    Raises:
        DreamError: if one cannot be had, or there are more than `MAX_LINKS`.
    """
    links = [(file, link) for file in files(sent) if (link := _link(file))]
    if len(links) > MAX_LINKS:
        raise DreamError(f"a call may name {MAX_LINKS} links at most, not {len(links)}")
    for file, link in links:
        file["path"] = await fetch(link)
    return bool(links)


def _link(file: dict[str, Any]) -> str:
    link = file.get("path") or file.get("url")
    is_link = isinstance(link, str) and urlsplit(link).scheme in ("http", "https")
    return str(link) if is_link else ""


async def fetch(link: str) -> str:
    """The path of the file that a link leads to, in the folder of uploads.

    Only public addresses are asked, wherever they redirect to, for at most 50 MB and 20 seconds.

    Raises:
        DreamError: if it cannot be had so.
    """
    host = urlsplit(link).hostname or "there"
    try:
        return await asyncio.wait_for(_fetch(link), LINK_SECONDS)
    except TimeoutError as error:
        raise DreamError(f"{host} took more than {LINK_SECONDS:g} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise DreamError(f"the picture cannot be fetched from {host}: {error}") from error


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, and no way to another address."""
    ip = ipaddress.ip_address(address)
    is_routed = ip.version == 4 or ip in IPV6_ROUTED
    return ip.is_global and is_routed and not any(ip in network for network in NOT_PUBLIC)


async def _fetch(link: str) -> str:
    for _ in range(REDIRECTS + 1):
        host = httpx.URL(link).host
        address = await safehttpx.async_validate_url(host)  # Gradio's own; it lets more pass.
        if not is_public(address):
            raise ValueError(f"Hostname {host} failed validation")
        transport = safehttpx.AsyncSecureTransport(address)
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("GET", link) as answer,
        ):
            if answer.has_redirect_location:
                link = urljoin(link, answer.headers["Location"])
                continue
            answer.raise_for_status()
            name = Path(unquote(urlsplit(link).path)).name or "picture"
            folder = Path(get_upload_folder(), uuid.uuid4().hex)
            return await _written(answer, folder, "".join(filter(_plain, name))[-80:])
    raise DreamError(f"the link redirects more than {REDIRECTS} times")


def _plain(letter: str) -> bool:
    return letter.isalnum() or letter in "-_. "


async def _written(answer: httpx.Response, folder: Path, name: str) -> str:
    content = bytearray()
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > FILE_BYTES:
            raise DreamError(f"the link leads to more than {FILE_BYTES / 1e6:.0f} MB")
    folder.mkdir(parents=True)
    (folder / (name.lstrip(".") or "picture")).write_bytes(content)
    return os.fspath(folder / (name.lstrip(".") or "picture"))
