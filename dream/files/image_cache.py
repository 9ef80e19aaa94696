"""Pictures that depend on nobody's photo, kept on disk: made once, there at once for everyone."""

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

# Raised when the same recipe comes to give another picture.
CACHE_VERSION = 2
DEFAULT_CACHE_MB = 256.0
# Share of the limit that may be written before the folder, which other processes share, is listed.
SLACK = 1 / 16


class ImageCache:
    """Pictures by recipe, as PNG files in a folder of limited size.

    The folder is `DREAM_CACHE_DIR`, or dream in the user's cache; its size `DREAM_CACHE_MB`, 256 by
    default, 0 for none, and up to a sixteenth more for each process that writes to it, until one
    of them lists the folder again. Pictures least recently looked at go first. `shipped` are
    folders that are only read. A folder that cannot be written keeps nothing, and a damaged file
    counts as none.
    """

    def __init__(self, shipped: Sequence[Path] = ()) -> None:
        self.folder = Path(
            os.path.expanduser(os.environ.get("DREAM_CACHE_DIR") or _default_folder())
        )
        self.max_bytes = read_env_number("DREAM_CACHE_MB", DEFAULT_CACHE_MB, 0, 1e7) * 1e6
        self.shipped_folders = tuple(shipped)
        self._bytes_left = 0.0  # To be written before the folder is listed again.

    def get(self, recipe: ChannelRecipe, weights: str, device: str = "") -> Image.Image | None:
        """That recipe's picture, if it is here; `weights` tells those of one network apart, and
        `device` those of one device and precision: "" are those that ship, which come anywhere.
        """
        paths = [folder / _file_name(recipe, weights) for folder in self.shipped_folders]
        if self.max_bytes > 0:
            paths.append(self.folder / _file_name(recipe, weights, device))
        for path in paths:
            try:
                with Image.open(path, formats=["PNG"]) as file:
                    image = file.convert("RGB")
                if path.parent == self.folder:
                    os.utime(path)
                return image
            except (OSError, SyntaxError, ValueError):
                continue  # Not there, or damaged: it is made anew.
        return None

    def put(
        self, image: Image.Image, recipe: ChannelRecipe, weights: str, device: str = ""
    ) -> None:
        """Keep that recipe's picture, and let go of what is beyond the limit."""
        if self.max_bytes <= 0:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / _file_name(recipe, weights, device)
            save_image(image, path, recipe)
            self._bytes_left -= path.stat().st_size
            if self._bytes_left < 0:
                self._evict_oldest()
        except (DreamError, OSError):
            pass  # A cache that cannot be written is no cache; the picture is made all the same.

    def _evict_oldest(self) -> None:
        files = [
            (each.stat().st_mtime, each.stat().st_size, each) for each in self.folder.glob("*.png")
        ]
        total, slack = sum(size for _, size, _ in files), SLACK * self.max_bytes
        for _, size, path in sorted(files) if total > self.max_bytes else []:
            if total <= self.max_bytes - slack:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._bytes_left = min(self.max_bytes - total, slack)


def _default_folder() -> Path:
    """A folder in the cache of the user; of the machine, for a user who has no home."""
    try:
        return Path.home() / ".cache" / "dream"
    except RuntimeError:
        return Path(tempfile.gettempdir(), "dream")


def _file_name(recipe: ChannelRecipe, weights: str, device: str = "") -> str:
    """A name that tells what it is, and that no other recipe, network or device has."""
    text = f"{CACHE_VERSION} {weights}{device} {recipe.to_json()}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{recipe.model}-{recipe.layer}-{recipe.channel}-{digest}.png"
