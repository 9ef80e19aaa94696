"""Downloads of weights from the Hugging Face hub and from torchvision, with progress and checks.

Closing a download stops it. Damaged downloads are deleted. The hub's client is imported in
functions, because Dreamlet does not need it.
"""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.request
import uuid
from collections.abc import Generator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dream.errors import WeightsError
from dream.networks.model_card import Source

# Seconds to wait for the hub's answer, for more of its file, and for torchvision: less than half a
# minute in total.
HUB_SECONDS, STALL_SECONDS, READ_SECONDS = 4, 12, 8
MAX_RESTARTS = 2
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class DownloadProgress:
    """Progress of a download; `bytes_total` is 0 while it is unknown."""

    model: str
    source: str
    bytes_done: int
    bytes_total: int

    @property
    def megabytes(self) -> str:
        """The progress as text, such as "120 of 553 MB"."""
        return f"{self.bytes_done / 1e6:.0f} of {self.bytes_total / 1e6:.0f} MB"


DownloadSteps = Generator[DownloadProgress, None, Path]


def hub_cache_path(source: Source) -> Path | None:
    """Return the file's path in the hub's cache, or None, also if `main` is now another file."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source.repo, source.file, revision=source.revision)
    if not isinstance(cached, str):
        return None
    # The cache links to files that are named by their sha256.
    path, stored_name = Path(cached), Path(cached).resolve().name
    return path if stored_name in (source.sha256, path.name) else None


def torchvision_cache_path(source: Source) -> Path:
    """Return where torchvision caches the file."""
    return Path(torch.hub.get_dir(), "checkpoints", source.url.rpartition("/")[2])


def download_from_hub(model: str, source: Source) -> DownloadSteps:
    """Download a file into the hub's cache, yield the progress, and return the path."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    is_damaged = hub_cache_path(source) is not None  # Otherwise it would have been used.
    # The client retries for half a minute if the hub does not answer, so check that first.
    url = hf_hub_url(source.repo, source.file, revision=source.revision)
    metadata = get_hf_file_metadata(url, timeout=HUB_SECONDS)
    if metadata.etag != source.sha256:
        raise WeightsError(f"{source.file} is a different file there now")
    transfer = _Transfer()
    arguments = (transfer, source, is_damaged)
    threading.Thread(target=_run_hub_client, args=arguments, daemon=True).start()
    try:
        max_done, last_change, total = 0, time.monotonic(), metadata.size or 0
        while not transfer.outcome.done():
            yield DownloadProgress(model, "the hub", transfer.bytes_done, total)
            wait([transfer.outcome], 0.2)
            done = transfer.bytes_done
            if done > max_done:
                max_done, last_change = done, time.monotonic()
            elif time.monotonic() - last_change > STALL_SECONDS and done < total:
                raise WeightsError(f"nothing arrived for {STALL_SECONDS} seconds")
    finally:
        transfer.is_stopped = True
    path, has_arrived = transfer.outcome.result(), transfer.bytes_done > 0
    return verify_sha256(path, source.sha256, delete_if_wrong=has_arrived)


@dataclass
class _Transfer:
    """The state of a download by the hub's client, which ends soon after `is_stopped` is set."""

    bytes_done: int = 0
    restarts: int = 0
    is_stopped: bool = False
    outcome: Future[Path] = field(default_factory=Future)


def _run_hub_client(transfer: _Transfer, source: Source, force_download: bool) -> None:
    """Download a file into the hub's cache, in a thread of its own."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    class ProgressMeter(tqdm):
        def __init__(self, *_: Any, **options: Any) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]
            self.update(options.get("initial", 0))

        def update(self, n: float | None = 1) -> None:
            transfer.bytes_done += int(n or 0)
            transfer.restarts += (n or 0) < 0
            # The client would restart without limit while each attempt receives a little more.
            if transfer.restarts > MAX_RESTARTS:
                raise WeightsError("the transfer was interrupted several times")
            if transfer.is_stopped:
                raise WeightsError("the download was stopped")

    options: Any = {"revision": source.revision, "force_download": force_download}
    try:
        path = hf_hub_download(source.repo, source.file, tqdm_class=ProgressMeter, **options)
        transfer.outcome.set_result(Path(path))
    except Exception as error:
        transfer.outcome.set_exception(error)


def download_from_torchvision(model: str, source: Source) -> DownloadSteps:
    """Download a file into torchvision's cache, yield the progress, and return the path."""
    path = torchvision_cache_path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    # Torch's `download_url_to_file` cannot be stopped and has no timeout.
    try:
        with (
            urllib.request.urlopen(source.url, timeout=READ_SECONDS) as response,
            open(partial, "wb") as file,
        ):
            total, done = int(response.headers.get("Content-Length") or 0), 0
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                yield DownloadProgress(model, "torchvision", done, total)
        if total and done != total:
            raise WeightsError(f"the transfer was interrupted at {done} of {total} bytes")
        verify_sha256(partial, source.sha256_prefix)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def verify_sha256(path: Path, sha256: str, *, delete_if_wrong: bool = False) -> Path:
    """Return the path of a file with that sha256 or prefix of it, or raise a `WeightsError`."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest.startswith(sha256):
        return path
    if delete_if_wrong:
        target = path.resolve()  # In the hub's cache the path is a link.
        path.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
    raise WeightsError(f"{path.name} is damaged or a different file: its sha256 is {digest[:12]}…")
