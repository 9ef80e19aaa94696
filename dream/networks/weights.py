"""Weights: find, download and verify the weights files of networks.

The search order is `DREAM_WEIGHTS_DIR`, the folder of this module, the caches of the hub and of
torchvision, the hub, and torchvision's own URL. All but the first must match the sha256 in the
model card. Files that do not match are skipped but not deleted: they may belong to another program.
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

    downloads = {"the hub": download_from_hub} if source.repo and source.sha256 else {}
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
    return [(path, sha256) for path, sha256 in cached if path and path.is_file() and sha256]


def _error_reason(error: Exception) -> str:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    known = {
        GatedRepoError: "access is restricted; log in with a token that grants it",
        RepositoryNotFoundError: "there is no such repository",
        RevisionNotFoundError: "there is no such revision",
        EntryNotFoundError: "there is no such file",
        HTTPError: str(error),
        URLError: f"no answer, {getattr(error, 'reason', '')}",
    }
    reason = next((text for kind, text in known.items() if isinstance(error, kind)), "")
    return reason or first_line(error)
