"""Downloads of weights, from the hub and from torchvision: told as they go, and checked.

A download that is closed stops. What was downloaded here and came damaged is removed. The hub's
client is imported where it is used: Dreamlet needs none.
"""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.request
import uuid
from collections.abc import Generator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dream.errors import WeightsError
from dream.networks.model_card import Source

# How long to wait for the hub's answer, for more of its file, and for torchvision: in all less than
# half a minute.
HUB_TIMEOUT, STALL_TIMEOUT, READ_TIMEOUT = 4, 12, 8
MAX_RESTARTS = 2
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download has come, in bytes; `total` is 0 while it is not known."""

    model: str
    source: str
    bytes_done: int
    bytes_total: int

    @property
    def megabytes(self) -> str:
        """As 120 of 553 MB."""
        return f"{self.bytes_done / 1e6:.0f} of {self.bytes_total / 1e6:.0f} MB"


DownloadSteps = Generator[DownloadProgress, None, Path]


def hub_cache_path(source: Source) -> Path | None:
    """Where the file is in the hub's cache; what is `main` there may be another one by now."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repo, source.file, revision=source.revision)
    if not isinstance(found, str):
        return None
    # The cache names what its links point to by the sha256.
    path, stored_as = Path(found), Path(found).resolve().name
    return path if stored_as in (source.sha256, path.name) else None


def torchvision_cache_path(source: Source) -> Path:
    """Where torchvision keeps the file."""
    return Path(torch.hub.get_dir(), "checkpoints", source.url.rpartition("/")[2])


def download_from_hub(model: str, source: Source) -> DownloadSteps:
    """The file, downloaded into the hub's cache."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils.tqdm import tqdm

    damaged = hub_cache_path(source) is not None  # Else it would have been taken.
    # The client tries a hub that does not answer for half a minute; so ask once, and shortly.
    url = hf_hub_url(source.repo, source.file, revision=source.revision)
    about = get_hf_file_metadata(url, timeout=HUB_TIMEOUT)
    if about.etag != source.sha256:
        raise WeightsError(f"{source.file} is another file there by now")
    done, restarts, stopped, outcome = 0, 0, False, Future[Any]()

    class Meter(tqdm):
        def __init__(self, *_: Any, **about: Any) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]
            self.update(about.get("initial", 0))

        def update(self, n: float | None = 1) -> None:
            nonlocal done, restarts
            done += int(n or 0)
            restarts += (n or 0) < 0
            # The client would begin again for ever where each time a little more arrives.
            if restarts > MAX_RESTARTS:
                raise WeightsError("the transfer broke off again and again")
            if stopped:
                raise WeightsError("the download was stopped")

    def work() -> None:
        try:
            path = hf_hub_download(
                source.repo,
                source.file,
                revision=source.revision,
                force_download=damaged,
                tqdm_class=Meter,
            )
            outcome.set_result(path)
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        most, moved, total = 0, time.monotonic(), about.size or 0
        while not outcome.done():
            yield DownloadProgress(model, "the hub", done, total)
            wait([outcome], 0.2)
            if done > most:
                most, moved = done, time.monotonic()
            elif time.monotonic() - moved > STALL_TIMEOUT and done < total:
                raise WeightsError(f"nothing arrived for {STALL_TIMEOUT} seconds")
    finally:
        stopped = True
    return verify_sha256(Path(outcome.result()), source.sha256, delete_if_wrong=done > 0)


def download_from_torchvision(model: str, source: Source) -> DownloadSteps:
    """The file, downloaded to where torchvision keeps it."""
    path = torchvision_cache_path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    # Torch's own `download_url_to_file` cannot be stopped, and waits for ever.
    try:
        with (
            urllib.request.urlopen(source.url, timeout=READ_TIMEOUT) as answer,
            open(partial, "wb") as file,
        ):
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                yield DownloadProgress(model, "torchvision", done, total)
        if total and done != total:
            raise WeightsError(f"the transfer broke off at {done} of {total} bytes")
        verify_sha256(partial, source.sha256_prefix)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def verify_sha256(path: Path, sha256: str, *, delete_if_wrong: bool = False) -> Path:
    """The path, if the file's sha256 starts so. Else it is removed if it is `ours`.

    Raises:
        WeightsError: if it does not.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest().startswith(sha256):
        return path
    for each in (
        (path, path.resolve()) if delete_if_wrong else ()
    ):  # The hub's link, and what it points to.
        each.unlink(missing_ok=True)
    raise WeightsError(
        f"{path.name} is damaged or another file: its sha256 is {digest.hexdigest()[:12]}…"
    )
