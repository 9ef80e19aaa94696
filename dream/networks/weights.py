"""Weights: find, download and verify the weights files of networks.

The search order is `DREAM_WEIGHTS_DIR`, the folder of this module, the caches of the hub and of
torchvision, the hub, and torchvision's own URL. All but the first must match the sha256 in the
model card. Files that do not match are skipped but not deleted, as they may belong to another
program; damaged downloads are deleted. Closing a download stops it. The hub's client is imported in
functions, because Dreamlet does not need it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import urllib.request
import uuid
from collections.abc import Generator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import torch

from dream.errors import WeightsError, WeightsUnavailable, first_line
from dream.networks.model_card import ModelCard, Source

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


def find_weights(card: ModelCard) -> Path | None:
    """Return the weights file of a network on this machine, or None; use no internet access."""
    return user_weights_file(card.name) or next(
        (path for path, _ in _local_files(card.source)), None
    )


def fetch_weights(card: ModelCard) -> DownloadSteps:
    """Find or download the weights of a network; yield the progress, and return the verified path.

    Raises:
        WeightsUnavailable: if no source has the file; the message gives the reason of each.
    """
    if user_file := user_weights_file(card.name):
        return user_file
    source, causes = card.source, []
    for path, sha256 in _local_files(source):
        try:
            return verify_sha256(path, sha256)
        except (OSError, WeightsError) as error:
            # The text of an OSError contains a path that visitors must not see.
            causes.append(f"here: {error.strerror if isinstance(error, OSError) else error}")
    from huggingface_hub import constants

    downloads = {"the hub": download_from_hub} if source.repo else {}
    downloads |= {"torchvision": download_from_torchvision} if source.url else {}
    for name, download in downloads.items():
        try:
            if constants.HF_HUB_OFFLINE:
                raise WeightsError("HF_HUB_OFFLINE is set")
            return (yield from download(card.name, source))
        except Exception as error:  # The clients raise almost any error; all reasons are reported.
            causes.append(f"{name}: {_error_reason(error)}")
    if source.is_shipped:
        raise WeightsUnavailable(
            f"the weights of {card.name}, which ship with this program, are missing or damaged "
            f"({'; '.join(causes)}). Install it again, or choose another network."
        )
    raise WeightsUnavailable(
        f"the weights of {card.name} could not be downloaded ({'; '.join(causes)}). "
        f"Put them into DREAM_WEIGHTS_DIR as {card.name}.safetensors, or choose dreamlet, "
        "which needs no download."
    )


def user_weights_file(model: str) -> Path | None:
    """Return the user's file for a model in `DREAM_WEIGHTS_DIR`, or None."""
    folder = os.environ.get("DREAM_WEIGHTS_DIR")
    path = Path(folder, f"{model}.safetensors") if folder else None
    return path if path and os.path.isfile(path) else None


def _local_files(source: Source) -> list[tuple[Path, str]]:
    """Return the shipped file, or the cached ones, each with the first digits of its sha256."""
    if source.is_shipped:
        return [(Path(__file__).with_name(source.file), source.sha256)]
    cached = [
        (hub_cache_path(source), source.sha256),
        (torchvision_cache_path(source), source.sha256_prefix),
    ]
    return [(path, sha256) for path, sha256 in cached if path and path.is_file()]


def _error_reason(error: Exception) -> str:
    from huggingface_hub import errors

    known = {
        errors.GatedRepoError: "access is restricted; log in with a token that grants it",
        errors.RepositoryNotFoundError: "there is no such repository",
        errors.RevisionNotFoundError: "there is no such revision",
        errors.EntryNotFoundError: "there is no such file",
        HTTPError: str(error),
        URLError: f"no answer, {getattr(error, 'reason', '')}",
    }
    reason = next((text for kind, text in known.items() if isinstance(error, kind)), "")
    return reason or first_line(error)


def hub_cache_path(source: Source) -> Path | None:
    """Return the file's path in the hub's cache, or None, also if `main` is now another file."""
    from huggingface_hub import try_to_load_from_cache

    cached = None
    if source.repo:
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
