"""The destination of a batch run: a folder, or an fsspec URL such as a bucket."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from dream.errors import PictureError, first_line
from dream.files.image import save_image
from dream.files.limited_reader import open_regular_file
from dream.recipe import Recipe


class Destination:
    """A local folder or an fsspec URL, in which files appear complete or not at all.

    A store behind a URL must guarantee that itself; object stores such as S3 do.

    Raises:
        PictureError: if it cannot be reached or written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.folder = None if "://" in url else Path(url)
        self._filesystem: Any = None
        with self._rename_errors("written"):
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            else:
                import fsspec

                self._filesystem, root = fsspec.url_to_fs(url)
                self._root = root.rstrip("/")
                self._filesystem.makedirs(self._root, exist_ok=True)

    @contextmanager
    def _rename_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Each store raises its own types.
            raise PictureError(f"{self.url} cannot be {action}: {first_line(error)}") from error

    def list_files(self) -> set[str]:
        """Return the names of the existing files."""
        with self._rename_errors("read"):
            if self.folder:
                # A disk in macOS' old format, HFS+, decomposes the accents in names.
                return {unicodedata.normalize("NFC", name) for name in os.listdir(self.folder)}
            self._filesystem.invalidate_cache()
            paths = self._filesystem.ls(self._root, detail=False)
            return {path.rsplit("/", 1)[-1] for path in paths}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self._rename_errors("read"):
            if self.folder:
                with open_regular_file(self.folder / name, name) as file:
                    return file.read()
            content: bytes = self._filesystem.cat_file(f"{self._root}/{name}")
            return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file; only for URLs."""
        with self._rename_errors("written"):
            self._filesystem.pipe_file(f"{self._root}/{name}", content)

    def save_image(
        self,
        name: str,
        pil_image: Image.Image,
        recipe: Recipe | None = None,
        quality: int | None = None,
    ) -> None:
        """Write an image with its recipe inside, as `dream.save_image` does."""
        if self.folder:
            save_image(pil_image, self.folder / name, recipe, photo=True, quality=quality)
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "image").with_suffix(Path(name).suffix)
            save_image(pil_image, file, recipe, photo=True, quality=quality)
            self.write(name, file.read_bytes())
