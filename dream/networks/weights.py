"""Weights: where to find the file of a network, and whether to trust it.

A file is looked for in `DREAM_WEIGHTS_DIR`, beside this module, in the caches of the hub and of
torchvision, on the hub, and at torchvision's own address, in that order. All but the first are
taken only if their sha256 is the one in the card. What is found and is not that file is passed
over, never removed: it may be another program's.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import HTTPError, URLError

from dream.errors import WeightsError, WeightsUnavailable, first_line
from dream.networks.download import (
    DownloadSteps,
    download_from_hub,
    download_from_torchvision,
    hub_cache_path,
    torchvision_cache_path,
    verify_sha256,
)
from dream.networks.model_card import ModelCard, Source


def find_weights(card: ModelCard) -> Path | None:
    """The file of a network that is here already, or None. Asks nothing of the network."""
    return user_weights_file(card.name) or next(
        (path for path, _ in _local_files(card.source)), None
    )


def fetch_weights(card: ModelCard) -> DownloadSteps:
    """The file of a network, verified; yields how far the download is, if there is one.

    Raises:
        WeightsUnavailable: if no source has it; the message says what each one answered.
    """
    if own := user_weights_file(card.name):
        return own
    source, causes = card.source, []
    for path, sha256 in _local_files(source):
        try:
            return verify_sha256(path, sha256)
        except (OSError, WeightsError) as error:
            # Not as OSError prints itself, with a path that visitors need not see.
            causes.append(f"here: {error.strerror if isinstance(error, OSError) else error}")
    from huggingface_hub import constants

    downloads = {"the hub": download_from_hub} if source.repo and source.sha256 else {}
    downloads |= {"torchvision": download_from_torchvision} if source.url else {}
    for name, download in downloads.items():
        try:
            if constants.HF_HUB_OFFLINE:
                raise WeightsError("HF_HUB_OFFLINE is set")
            return (yield from download(card.name, source))
        except Exception as error:  # Clients fail in many ways; each is told, none is hidden.
            causes.append(f"{name}: {_error_reason(error)}")
    if source.is_shipped:
        raise WeightsUnavailable(
            f"the weights of {card.name}, which ship with this program, are missing or damaged "
            f"({'; '.join(causes)}). Install it again, or choose another network."
        )
    raise WeightsUnavailable(
        f"the weights of {card.name} could not be fetched ({'; '.join(causes)}). "
        f"Put them into DREAM_WEIGHTS_DIR as {card.name}.safetensors, or take dreamlet, "
        "which needs no download."
    )


def user_weights_file(model: str) -> Path | None:
    """The file of one's own for that network in `DREAM_WEIGHTS_DIR`, if there is one."""
    folder = os.environ.get("DREAM_WEIGHTS_DIR")
    path = Path(folder, f"{model}.safetensors") if folder else None
    return path if path and os.path.isfile(path) else None


def _local_files(source: Source) -> list[tuple[Path, str]]:
    """The file that ships, or those in the caches, each with how its sha256 begins."""
    if source.is_shipped:
        return [(Path(__file__).with_name(source.file), source.sha256)]
    cached = [
        (hub_cache_path(source), source.sha256),
        (torchvision_cache_path(source), source.sha256_prefix),
    ]
    return [(path, sha256) for path, sha256 in cached if path and path.is_file() and sha256]


def _error_reason(error: Exception) -> str:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    known = {
        GatedRepoError: "access is restricted; log in with a token that has it",
        RepositoryNotFoundError: "there is no such repository",
        RevisionNotFoundError: "there is no such revision",
        EntryNotFoundError: "there is no such file",
        HTTPError: str(error),
        URLError: f"no answer, {getattr(error, 'reason', '')}",
    }
    said = next((text for kind, text in known.items() if isinstance(error, kind)), "")
    return said or first_line(error)
