"""Download linked images before their call waits for the device.

Gradio downloads them without limits while the call holds the device.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import safehttpx
from gradio.utils import get_upload_folder

from dream.errors import first_line
from dream.page.blocks import MAX_UPLOAD_BYTES, find_files
from dream.page.call_limits import SERVER_BUSY_MESSAGE
from dream.page.ip_addresses import AddressShares, is_public
from dream.page.server.request_bodies import check_disk
from dream.page.server.responses import RequestError

# A call takes at most three images.
MAX_LINKS = 8
# For one link, and for all links of a call, which are downloaded one after the other.
MAX_LINK_SECONDS, MAX_CALL_SECONDS = 20.0, 40.0
# At a time, for all callers. Waiting calls keep their bodies in memory.
MAX_FETCHES, MAX_CALLS = 4, 16
MAX_REDIRECTS = 5


class LinkFetcher:
    """Downloads the links in calls, a few at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MAX_FETCHES)
        self._calls = AddressShares(MAX_CALLS)

    async def fetch_links(self, payload: Any, address: str) -> bool:
        """Replace the links in a call by the paths of downloaded files.

        Args:
            payload: The JSON of the call, changed in place.
            address: The caller's address, as `public_address` returns it.

        Returns:
            True if there was a link.

        Raises:
            RequestError: If a download fails, there are more than `MAX_LINKS`, all of them take too
                long, or too many such calls wait.
        """
        links = [(file, link) for file in find_files(payload) if (link := _link(file))]
        if len(links) > MAX_LINKS:
            raise RequestError(422, f"a call may have at most {MAX_LINKS} links, not {len(links)}")
        if not links:
            return False
        if self._calls.total >= MAX_CALLS or not self._calls.enter(address):
            raise RequestError(503, SERVER_BUSY_MESSAGE)
        try:
            async with asyncio.timeout(MAX_CALL_SECONDS):
                for file, link in links:
                    async with self._turns:
                        file["path"] = await fetch_link(link)
        except TimeoutError as error:
            message = f"the links of this call took more than {MAX_CALL_SECONDS:g} seconds"
            raise RequestError(422, message) from error
        finally:
            self._calls.leave(address)
        return True


def _link(file: dict[str, Any]) -> str:
    """Return the http(s) link that a file of a call names, or ""."""
    link = file.get("path") or file.get("url")
    try:
        is_link = isinstance(link, str) and urlsplit(link).scheme in ("http", "https")
    except ValueError:
        raise RequestError(422, "a link is not a valid web address") from None
    return str(link) if is_link else ""


async def fetch_link(link: str) -> str:
    """Download a link to the upload folder and return the file's path.

    Only public addresses are requested, after redirects too, for at most 50 MB and 20 seconds.

    Raises:
        RequestError: If that fails.
    """
    host = urlsplit(link).hostname or "the link"
    check_disk()
    try:
        return await asyncio.wait_for(_download(link), MAX_LINK_SECONDS)
    except TimeoutError as error:
        raise RequestError(422, f"{host} took more than {MAX_LINK_SECONDS:g} seconds") from error
    except RequestError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        message = f"the file cannot be downloaded from {host}: {first_line(error)}"
        raise RequestError(422, message) from error


async def _download(link: str) -> str:
    for _ in range(MAX_REDIRECTS + 1):
        host = httpx.URL(link).host
        address = await safehttpx.async_validate_url(host)  # Gradio's check accepts more.
        if not is_public(address):
            raise ValueError(f"Hostname {host} failed validation")  # As safehttpx says it.
        transport = safehttpx.AsyncSecureTransport(address)
        # A few compressed bytes can become hundreds of megabytes.
        headers = {"Accept-Encoding": "identity"}
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("GET", link, headers=headers) as answer,
        ):
            if answer.has_redirect_location:
                link = urljoin(link, answer.headers["Location"])
                continue
            answer.raise_for_status()
            if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise ValueError("the server sends it compressed")
            name = Path(unquote(urlsplit(link).path)).name or "picture"
            return await _write(answer, "".join(filter(_is_plain, name))[-60:].lstrip("."))
    raise RequestError(422, f"the link redirects more than {MAX_REDIRECTS} times")


def _is_plain(character: str) -> bool:
    return character.isalnum() or character in "-_. "


async def _write(answer: httpx.Response, name: str) -> str:
    """Write a response, as it arrives, to a file in a new upload folder."""
    path = Path(get_upload_folder(), uuid.uuid4().hex, name or "picture")
    path.parent.mkdir(parents=True)
    size = 0
    try:
        with path.open("wb") as file:
            async for chunk in answer.aiter_raw():
                size += len(chunk)
                if size > MAX_UPLOAD_BYTES:
                    raise RequestError(
                        422, f"the link leads to more than {MAX_UPLOAD_BYTES / 1e6:.0f} MB"
                    )
                await asyncio.to_thread(file.write, chunk)
    except BaseException:  # Including the cancellation after a timeout.
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    return os.fspath(path)
