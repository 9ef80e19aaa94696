"""The networks that are loaded on a device, and the files that they are loaded from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import torch

from dream.errors import WeightsError
from dream.networks import catalogue, device, weights
from dream.networks.download import DownloadProgress, DownloadSteps
from dream.networks.network import Network


class NetworkCache:
    """The networks loaded on a device. Safe to share between threads.

    `files` names weights of one's own by model. Networks least recently used go when together they
    take more than `limit` bytes; the one used last stays.
    """

    def __init__(self, device: torch.device, files: Mapping[str, Path], limit: float) -> None:
        self.device = device
        self.files = files
        self.max_bytes = limit
        self._loaded: OrderedDict[tuple[str, bool], Network] = OrderedDict()
        self._loading: dict[tuple[str, bool], threading.Lock] = {}
        self._verified_paths: dict[str, Path] = {}
        self._downloads: dict[str, SharedDownload] = {}
        # Re-entrant, as the garbage collector may close a download anywhere, which takes it.
        self._lock = threading.RLock()

    def precision(self, model: str) -> torch.dtype:
        """In what that network runs here (see `device.precision`)."""
        return device.pick_dtype(self.device, catalogue.get_card(model))

    def network(self, model: str, *, head: bool = False) -> Network:
        """That network, with its head or without; fetched and loaded on first use.

        Raises:
            RecipeError: if there is no such model.
            WeightsError: if its weights cannot be had (`WeightsUnavailable`) or do not fit.
        """
        card = catalogue.get_card(model)
        key = (model, head and bool(card.head))
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._loaded:
                    self._loaded.move_to_end(key)
                    return self._loaded[key]
            path = _run_to_end(self.fetch(model))
            network = Network(card, self.device, self.precision(model), path, head, self._evict)
            with self._lock:
                self._loaded[key] = network
        self._evict()
        return network

    def _evict(self) -> None:
        with self._lock:
            while len(self._loaded) > 1 and self._total_bytes() > self.max_bytes:
                self._loaded.popitem(last=False)

    def _total_bytes(self) -> int:
        return sum(network.bytes for network in self._loaded.values())

    def fetch(self, model: str) -> DownloadSteps:
        """Have the weights of a network on this machine; yields how far the download is, if any.

        Those who ask for the same weights share one download, which goes on until none is left.

        Raises:
            WeightsError: as `network`, but for whether they fit.
        """
        card = catalogue.get_card(model)
        if own := self.files.get(model):
            return own
        with self._lock:
            # What was verified once is not read through again for every dream.
            if (found := self._verified_paths.get(model)) and found.exists():
                return found
            shared = self._downloads.get(model)
            if not shared or not shared.is_active:
                shared = self._downloads[model] = SharedDownload(weights.fetch_weights(card))
            shared.followers += 1
        try:
            found = self._verified_paths[model] = yield from shared.follow()
            return found
        finally:
            with self._lock:
                shared.followers -= 1
                if not shared.followers:
                    shared.progress.close()

    def weights_id(self, model: str) -> str:
        """What tells weights of one's own from the network's, and from one another.

        Raises:
            WeightsError: if they are not there.
        """
        own = self.files.get(model) or weights.user_weights_file(model)
        if own is None:
            return ""
        try:
            about = own.stat()
        except OSError as error:
            raise WeightsError(f"{own.name} is no weights file: {error.strerror}") from error
        return f"{own.name} {about.st_size} {about.st_mtime_ns}"


class SharedDownload:
    """A download with followers, each of whom moves it on when it is asked how far it is."""

    def __init__(self, downloads: DownloadSteps) -> None:
        self.progress = downloads
        self.followers = 0
        self._advance_lock = threading.Lock()
        self._outcome = Future[Path]()

    @property
    def is_active(self) -> bool:
        """Whether there is something left to follow."""
        return self.followers > 0 and not self._outcome.done()

    def follow(self) -> DownloadSteps:
        """How far it is, until it is done; the file, or its error, is the same for all."""
        while (step := self._advance()) is not None:
            yield step
        return self._outcome.result()

    def _advance(self) -> DownloadProgress | None:
        with self._advance_lock:
            if not self._outcome.done():
                try:
                    return next(self.progress)
                except StopIteration as end:
                    self._outcome.set_result(end.value)
                except Exception as error:
                    self._outcome.set_exception(error)
        return None


def _run_to_end(downloads: DownloadSteps) -> Path:
    """What a download comes to in the end."""
    while True:
        try:
            next(downloads)
        except StopIteration as done:
            path: Path = done.value
            return path
