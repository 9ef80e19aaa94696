"""Weights: where to find the file of a network, whether to trust it, and how it fits.

A file is looked for in `DREAM_WEIGHTS_DIR`, in the caches of the hub and of torchvision, on the
hub, and at torchvision's own address, in that order. All but the first are taken only if their
sha256 is the one in the card; what is wrong is taken out of its cache, so that no later start
trusts it.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import torch
from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm
from safetensors import safe_open
from torch import Tensor, nn

from dream.errors import WeightsError, WeightsUnavailable
from dream.networks.architecture import skeleton
from dream.networks.model_card import ModelCard, Source

# How long to wait for the hub's answer, for more of its file, and for torchvision: in all less than
# half a minute.
ANSWER_SECONDS, STALL_SECONDS, READ_SECONDS = 4, 12, 8
RESTARTS = 2
CHUNK = 1 << 20
# Parts of torchvision's files that no dream uses.
UNUSED = re.compile(r"AuxLogits\.|aux[12]\.")


@dataclass(frozen=True)
class Download:
    """How far a download has come, in bytes; `total` is 0 while it is not known."""

    model: str
    source: str
    done: int
    total: int

    @property
    def megabytes(self) -> str:
        """As 120 of 553 MB."""
        return f"{self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB"


Fetching = Generator[Download, None, Path]


def find(card: ModelCard) -> Path | None:
    """The file of a network that is here already, or None. Asks nothing of the network."""
    if card.source is None:
        return None
    cached = [path for path, _ in _cached(card.source)]
    return own_file(card.name) or (cached[0] if cached else None)


def fetch(card: ModelCard) -> Fetching:
    """The file of a network, verified; yields how far the download is, if there is one.

    Raises:
        WeightsUnavailable: if no source has it; the message says what each one answered.
    """
    source = card.source
    assert source is not None
    if own := own_file(card.name):
        return own
    causes = []
    for path, sha256 in _cached(source):
        try:
            return _verified(path, sha256)
        except WeightsError as error:  # Taken out of the cache; a fresh one may be right.
            causes.append(f"the cache: {error}")
    for name, download in (("the hub", _from_hub), ("torchvision", _from_torchvision)):
        try:
            if constants.HF_HUB_OFFLINE:
                raise WeightsError("HF_HUB_OFFLINE is set")
            return (yield from download(card.name, source))
        except Exception as error:  # Clients fail in many ways; each is told, none is hidden.
            causes.append(f"{name}: {_reason(error)}")
    raise WeightsUnavailable(
        f"the weights of {card.name} could not be fetched ({'; '.join(causes)}). "
        f"Put them into DREAM_WEIGHTS_DIR as {card.name}.safetensors, or take dreamlet, "
        "which needs no download."
    )


def own_file(model: str) -> Path | None:
    folder = os.environ.get("DREAM_WEIGHTS_DIR")
    path = Path(folder, f"{model}.safetensors") if folder else None
    return path if path and os.path.isfile(path) else None


def _cached(source: Source) -> list[tuple[Path, str]]:
    """The files in the caches of the hub and of torchvision, each with how its sha256 begins."""
    found = []
    hubs = try_to_load_from_cache(source.repo, source.file, revision=source.revision)
    if isinstance(hubs, str) and source.sha256:
        found.append((Path(hubs), source.sha256))
    torchvisions = _torchvision_path(source)
    if torchvisions.is_file():
        found.append((torchvisions, _digits(torchvisions)))
    return found


def _from_hub(model: str, source: Source) -> Fetching:
    if not source.sha256:
        raise WeightsError(f"the sha256 of {source.repo}/{source.file} is not known, so not asked")
    # The client tries a hub that does not answer for half a minute; so ask once, and shortly.
    url = hf_hub_url(source.repo, source.file, revision=source.revision)
    total = get_hf_file_metadata(url, timeout=ANSWER_SECONDS).size or 0
    path = yield from _hub_download(model, source, total)
    return _verified(path, source.sha256)


def _hub_download(model: str, source: Source, total: int) -> Fetching:
    """`hf_hub_download` in a thread, so that its progress can be told; closing stops it."""
    done, restarts, stopped, outcome = 0, 0, False, dict[str, Any]()

    class Meter(tqdm):
        def __init__(self, *_: Any, **about: Any) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]
            self.update(about.get("initial", 0))

        def update(self, n: float | None = 1) -> None:
            nonlocal done, restarts
            done += int(n or 0)
            restarts += (n or 0) < 0
            # The client would begin again for ever where each time a little more arrives.
            if restarts > RESTARTS:
                raise WeightsError("the transfer broke off again and again")
            if stopped:
                raise WeightsError("the download was stopped")

    def work() -> None:
        try:
            outcome["path"] = hf_hub_download(
                source.repo, source.file, revision=source.revision, tqdm_class=Meter
            )
        except Exception as error:
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        most, moved = 0, time.monotonic()
        while thread.is_alive():
            yield Download(model, "the hub", done, total)
            thread.join(0.2)
            if done > most:
                most, moved = done, time.monotonic()
            elif time.monotonic() - moved > STALL_SECONDS and done < total:
                raise WeightsError(f"nothing arrived for {STALL_SECONDS} seconds")
    finally:
        stopped = True
    if "error" in outcome:
        raise outcome["error"]
    return Path(outcome["path"])


def _torchvision_path(source: Source) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", source.url.rpartition("/")[2])


def _digits(path: Path) -> str:
    """The first digits of the sha256, as in torchvision's names: vgg16-397923af.pth."""
    return path.stem.rpartition("-")[2]


def _from_torchvision(model: str, source: Source) -> Fetching:
    path = _torchvision_path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with (
            urllib.request.urlopen(source.url, timeout=READ_SECONDS) as answer,
            open(partial, "wb") as file,
        ):
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                yield Download(model, "torchvision", done, total)
        if total and done != total:
            raise WeightsError(f"the transfer broke off at {done} of {total} bytes")
        _verified(partial, _digits(path))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _verified(path: Path, sha256: str) -> Path:
    """The path, if the file's sha256 starts so. Else it is removed, where that is allowed.

    Raises:
        WeightsError: if it does not.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest().startswith(sha256):
        return path
    for each in (path, path.resolve()):  # In the hub's cache, a link and what it points to.
        try:
            each.unlink(missing_ok=True)
        except OSError:
            pass  # A read-only cache keeps it; it is refused at every start all the same.
    raise WeightsError(f"{path.name} is damaged: its sha256 is {digest.hexdigest()[:12]}…")


def _reason(error: Exception) -> str:
    known = {
        GatedRepoError: "access is restricted; log in with a token that has it",
        RepositoryNotFoundError: "there is no such repository",
        RevisionNotFoundError: "there is no such revision",
        EntryNotFoundError: "there is no such file",
        HTTPError: str(error),
        URLError: f"no answer, {getattr(error, 'reason', '')}",
    }
    text = next((text for kind, text in known.items() if isinstance(error, kind)), str(error))
    return next(iter(text.splitlines()), type(error).__name__)[:160]


class Tensors:
    """The tensors of a weights file under torchvision's names: shapes at once, tensors one by one.

    Raises:
        WeightsError: if it is no such file.
    """

    def __init__(self, path: Path, keys: tuple[tuple[str, str], ...] = ()) -> None:
        self.path = path
        try:
            if path.suffix == ".pth":
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
                self._read: Callable[[str], Tensor] = state.__getitem__
                shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
            else:
                file: Any = safe_open(path, "pt")
                self._read = file.get_tensor
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        except Exception as error:  # Readers of damaged files raise almost anything.
            raise WeightsError(f"{path.name} is no weights file: {_reason(error)}") from error
        self._stored = {_renamed(name, keys): name for name in shapes}
        self.shapes = {name: shapes[stored] for name, stored in self._stored.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._read(self._stored[name])


def _renamed(name: str, keys: tuple[tuple[str, str], ...]) -> str:
    for old, new in keys:
        if name.startswith(old):
            return new + name.removeprefix(old)
    # DenseNet as torchvision first stored it.
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", name)


def load(card: ModelCard, path: Path, *, head: bool) -> nn.Module:
    """The network with the weights of that file, in float32; without its head unless asked for.

    Only the tensors that are needed are read. A file trained for another number of classes fits.

    Raises:
        WeightsError: if the file does not fit; the message names the first tensors of each kind.
    """
    tensors = Tensors(path, card.source.keys if card.source else ())
    last = tensors.shapes.get(f"{card.logits}.weight")
    network = skeleton(card, **({"num_classes": last[0]} if last else {}))
    if card.head and not head:
        setattr(network, card.head, nn.Identity())
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state = dict(_fitting(card, tensors, wanted))
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def _fitting(
    card: ModelCard, tensors: Tensors, wanted: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Tensor]]:
    passed_by = re.compile(rf"{UNUSED.pattern}|{re.escape(card.head)}\." if card.head else UNUSED)
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = [name for name in wanted if name not in tensors.shapes and name not in counters]
    unexpected = [
        name for name in tensors.shapes if name not in wanted and not passed_by.match(name)
    ]
    # A fully connected layer may be stored as the convolution that it equals.
    wrong = [
        f"{name} ({_size(tensors.shapes[name])} for {_size(shape)})"
        for name, shape in wanted.items()
        if name in tensors.shapes
        and torch.Size(tensors.shapes[name]).numel() != torch.Size(shape).numel()
    ]
    faults = [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
    if any(names for _, names in faults):
        said = "; ".join(f"{fault}: {_first(names)}" for fault, names in faults if names)
        raise WeightsError(f"{tensors.path.name} does not fit {card.name}: {said}")
    for name, shape in wanted.items():
        if name in tensors.shapes:
            tensor = tensors[name].reshape(shape)
            yield name, tensor.float() if tensor.is_floating_point() else tensor
        else:
            yield name, torch.zeros(shape, dtype=torch.long)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def _first(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
