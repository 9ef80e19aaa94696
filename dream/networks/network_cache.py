"""Cache of the networks loaded on a device, and downloads of their files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import torch

from dream.errors import WeightsError
from dream.networks import catalogue, weights
from dream.networks.device import pick_dtype
from dream.networks.network import Network
from dream.networks.weights import DownloadProgress, DownloadSteps


class NetworkCache:
    """LRU cache of the networks loaded on a device; threads may share it.

    `weights_files` maps models to files of the user. The least recently used networks are dropped
    if all take more than `max_bytes` bytes; the last used one stays.
    """

    def __init__(
        self, device: torch.device, weights_files: Mapping[str, Path], max_bytes: float
    ) -> None:
        self.device, self.weights_files, self.max_bytes = device, weights_files, max_bytes
        self._networks: OrderedDict[tuple[str, bool], Network] = OrderedDict()
        self._load_locks: dict[tuple[str, bool], threading.Lock] = {}
        self._verified_paths: dict[str, Path] = {}
        self._downloads: dict[str, SharedDownload] = {}
        # Re-entrant: the garbage collector may close a download at any time, which takes the lock.
        self._lock = threading.RLock()

    def network(self, model: str, *, with_head: bool = False) -> Network:
        """Return a network; download and load it on first use. Raises as `Engine.network`."""
        card = catalogue.get_card(model)
        key = (model, with_head and bool(card.head))
        with self._lock:
            load_lock = self._load_locks.setdefault(key, threading.Lock())
        with load_lock:
            with self._lock:
                if key in self._networks:
                    self._networks.move_to_end(key)
                    return self._networks[key]
            for _ in self.fetch(model):
                pass
            path = self.weights_files.get(model) or self._verified_paths[model]
            dtype = pick_dtype(self.device, card)
            network = Network(card, self.device, dtype, path, with_head, self._evict)
            with self._lock:
                self._networks[key] = network
        self._evict()
        return network

    def _evict(self) -> None:
        with self._lock:
            while len(self._networks) > 1 and self.max_bytes < sum(
                each.memory_bytes for each in self._networks.values()
            ):
                self._networks.popitem(last=False)

    def fetch(self, model: str) -> DownloadSteps:
        """Find or download the weights of a model; yield the progress, and return the path.

        Callers share one download, which stops when the last one leaves. Raises as `fetch_weights`.
        """
        card = catalogue.get_card(model)
        if user_file := self.weights_files.get(model):
            return user_file
        with self._lock:
            # Verify a file once, not for every dream.
            if (path := self._verified_paths.get(model)) and path.exists():
                return path
            shared = self._downloads.get(model)
            if not shared or not shared.is_active:
                shared = self._downloads[model] = SharedDownload(weights.fetch_weights(card))
            shared.follower_count += 1
        try:
            path = self._verified_paths[model] = yield from shared.follow()
            return path
        finally:
            with self._lock:
                shared.follower_count -= 1
                if not shared.follower_count:
                    shared.steps.close()

    def weights_id(self, model: str) -> str:
        """Return an identifier of the user's weights for a model, or "" if there are none.

        Raises:
            WeightsError: if the file does not exist.
        """
        user_file = self.weights_files.get(model) or weights.user_weights_file(model)
        if user_file is None:
            return ""
        try:
            stat = user_file.stat()
        except OSError as error:
            text = f"{user_file.name} is not a weights file: {error.strerror}"
            raise WeightsError(text) from error
        return f"{user_file.name} {stat.st_size} {stat.st_mtime_ns}"


class SharedDownload:
    """A download with several followers; whichever asks for progress advances it."""

    def __init__(self, steps: DownloadSteps) -> None:
        self.steps = steps
        self.follower_count = 0
        self._advance_lock = threading.Lock()
        self._outcome = Future[Path]()

    @property
    def is_active(self) -> bool:
        """Whether the download is running and has followers."""
        return self.follower_count > 0 and not self._outcome.done()

    def follow(self) -> DownloadSteps:
        """Yield the progress, and return the path; every follower gets the same path or error."""
        while (step := self._advance()) is not None:
            yield step
        return self._outcome.result()

    def _advance(self) -> DownloadProgress | None:
        with self._advance_lock:
            if not self._outcome.done():
                try:
                    return next(self.steps)
                except StopIteration as end:
                    self._outcome.set_result(end.value)
                except Exception as error:
                    self._outcome.set_exception(error)
        return None
