"""Disk cache of channel images, which depend on no visitor's photo."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dream.errors import DreamError
from dream.files.image import save_image
from dream.recipe.channel import ChannelRecipe
from dream.recipe.knob import read_env_number

# Increase this when a new version renders the same recipe differently.
CACHE_VERSION = 2
DEFAULT_CACHE_MB = 256.0
# Share of the limit that may be written before the folder is listed again; processes share it.
SLACK_SHARE = 1 / 16


class ImageCache:
    """Images by recipe, as PNG files in a folder of limited size.

    The folder is `DREAM_CACHE_DIR`, or dream in the user's cache. The limit is `DREAM_CACHE_MB`,
    256 by default, 0 to disable the cache; each process may exceed it by a sixteenth until it lists
    the folder again. The least recently used images are deleted first. Folders in `shipped` are
    only read. Damaged files, and folders that cannot be written, are ignored.
    """

    def __init__(self, shipped: Sequence[Path] = ()) -> None:
        folder = os.environ.get("DREAM_CACHE_DIR") or _default_folder()
        self.folder = Path(os.path.expanduser(folder))
        self.max_bytes = read_env_number("DREAM_CACHE_MB", DEFAULT_CACHE_MB, 0, 1e7) * 1e6
        self.shipped_folders = tuple(shipped)
        self._bytes_left = 0.0  # Bytes to write before the folder is listed again.

    def get(self, recipe: ChannelRecipe, weights_id: str, device: str = "") -> Image.Image | None:
        """Return the cached image of a recipe, or None.

        The other arguments identify the weights of the network, and the device and precision, which
        do not matter for shipped images.
        """
        paths = [folder / _file_name(recipe, weights_id) for folder in self.shipped_folders]
        if self.max_bytes > 0:
            paths.append(self.folder / _file_name(recipe, weights_id, device))
        for path in paths:
            try:
                with Image.open(path, formats=["PNG"]) as file:
                    image = file.convert("RGB")
                if path.parent == self.folder:
                    os.utime(path)
                return image
            except (OSError, SyntaxError, ValueError):
                continue  # The file is missing or damaged, so the image is rendered again.
        return None

    def put(
        self, image: Image.Image, recipe: ChannelRecipe, weights_id: str, device: str = ""
    ) -> None:
        """Store the image of a recipe, and delete old images beyond the limit."""
        if self.max_bytes <= 0:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / _file_name(recipe, weights_id, device)
            save_image(image, path, recipe)
            self._bytes_left -= path.stat().st_size
            if self._bytes_left < 0:
                self._evict_oldest()
        except (DreamError, OSError):
            pass  # Rendering works without a cache.

    def _evict_oldest(self) -> None:
        stats = [(path.stat(), path) for path in self.folder.glob("*.png")]
        files = [(stat.st_mtime, stat.st_size, path) for stat, path in stats]
        total, slack = sum(size for _, size, _ in files), SLACK_SHARE * self.max_bytes
        for _, size, path in sorted(files) if total > self.max_bytes else []:
            if total <= self.max_bytes - slack:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._bytes_left = min(self.max_bytes - total, slack)


def _default_folder() -> Path:
    """Return a folder in the user's cache, or in the temporary folder if there is no home."""
    try:
        return Path.home() / ".cache" / "dream"
    except RuntimeError:
        return Path(tempfile.gettempdir(), "dream")


def _file_name(recipe: ChannelRecipe, weights_id: str, device: str = "") -> str:
    """Return a readable file name, unique to the recipe, weights and device."""
    text = f"{CACHE_VERSION} {weights_id}{device} {recipe.to_json()}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{recipe.model}-{recipe.layer}-{recipe.channel}-{digest}.png"
