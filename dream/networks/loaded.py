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
from dream.networks.download import Download, Fetching
from dream.networks.network import Network


class Networks:
    """The networks loaded on a device. Safe to share between threads.

    `files` names weights of one's own by model. Networks least recently used go when together they
    take more than `limit` bytes; the one used last stays.
    """

    def __init__(self, device: torch.device, files: Mapping[str, Path], limit: float) -> None:
        self.device = device
        self.files = files
        self.limit = limit
        self._loaded: OrderedDict[tuple[str, bool], Network] = OrderedDict()
        self._loading: dict[tuple[str, bool], threading.Lock] = {}
        self._found: dict[str, Path] = {}
        self._downloads: dict[str, Shared] = {}
        # Re-entrant, as the garbage collector may close a download anywhere, which takes it.
        self._lock = threading.RLock()

    def precision(self, model: str) -> torch.dtype:
        """In what that network runs here (see `device.precision`)."""
        return device.precision(self.device, catalogue.card(model))

    def network(self, model: str, *, head: bool = False) -> Network:
        """That network, with its head or without; fetched and loaded on first use.

        Raises:
            RecipeError: if there is no such model.
            WeightsError: if its weights cannot be had (`WeightsUnavailable`) or do not fit.
        """
        card = catalogue.card(model)
        key = (model, head and bool(card.head))
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._loaded:
                    self._loaded.move_to_end(key)
                    return self._loaded[key]
            path = _last(self.fetch(model))
            network = Network(card, self.device, self.precision(model), path, head, self._shrink)
            with self._lock:
                self._loaded[key] = network
        self._shrink()
        return network

    def _shrink(self) -> None:
        with self._lock:
            while len(self._loaded) > 1 and self._bytes() > self.limit:
                self._loaded.popitem(last=False)

    def _bytes(self) -> int:
        return sum(network.bytes for network in self._loaded.values())

    def fetch(self, model: str) -> Fetching:
        """Have the weights of a network on this machine; yields how far the download is, if any.

        Those who ask for the same weights share one download, which goes on until none is left.

        Raises:
            WeightsError: as `network`, but for whether they fit.
        """
        card = catalogue.card(model)
        if own := self.files.get(model):
            return own
        with self._lock:
            # What was verified once is not read through again for every dream.
            if (found := self._found.get(model)) and found.exists():
                return found
            shared = self._downloads.get(model)
            if not shared or not shared.under_way:
                shared = self._downloads[model] = Shared(weights.fetch(card))
            shared.followers += 1
        try:
            found = self._found[model] = yield from shared.steps()
            return found
        finally:
            with self._lock:
                shared.followers -= 1
                if not shared.followers:
                    shared.downloads.close()

    def weights_id(self, model: str) -> str:
        """What tells weights of one's own from the network's, and from one another.

        Raises:
            WeightsError: if they are not there.
        """
        own = self.files.get(model) or weights.own_file(model)
        if own is None:
            return ""
        try:
            about = own.stat()
        except OSError as error:
            raise WeightsError(f"{own.name} is no weights file: {error.strerror}") from error
        return f"{own.name} {about.st_size} {about.st_mtime_ns}"


class Shared:
    """A download with followers, each of whom moves it on when it is asked how far it is."""

    def __init__(self, downloads: Fetching) -> None:
        self.downloads = downloads
        self.followers = 0
        self._moving = threading.Lock()
        self._outcome = Future[Path]()

    @property
    def under_way(self) -> bool:
        """Whether there is something left to follow."""
        return self.followers > 0 and not self._outcome.done()

    def steps(self) -> Fetching:
        """How far it is, until it is done; the file, or its error, is the same for all."""
        while (step := self._step()) is not None:
            yield step
        return self._outcome.result()

    def _step(self) -> Download | None:
        with self._moving:
            if not self._outcome.done():
                try:
                    return next(self.downloads)
                except StopIteration as end:
                    self._outcome.set_result(end.value)
                except Exception as error:
                    self._outcome.set_exception(error)
        return None


def _last(downloads: Fetching) -> Path:
    """What a download comes to in the end."""
    while True:
        try:
            next(downloads)
        except StopIteration as done:
            path: Path = done.value
            return path
