"""The destination of a batch run: a folder, or an fsspec URL such as a bucket."""

from __future__ import annotations

import os
import tempfile
from functools import cached_property
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
        try:
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            else:
                self._filesystem.makedirs(self._root, exist_ok=True)
        except Exception as error:  # Each store raises its own types.
            raise self._to_error("written", error) from error

    def _to_error(self, action: str, error: Exception) -> PictureError:
        return PictureError(f"{self.url} cannot be {action}: {first_line(error)}")

    @cached_property
    def _filesystem_and_root(self) -> tuple[Any, str]:
        import fsspec

        filesystem, root = fsspec.url_to_fs(self.url)
        return filesystem, root.rstrip("/")

    @property
    def _filesystem(self) -> Any:
        return self._filesystem_and_root[0]

    @property
    def _root(self) -> str:
        return self._filesystem_and_root[1]

    def list_files(self) -> set[str]:
        """Return the names of the existing files."""
        try:
            if self.folder:
                return set(os.listdir(self.folder))
            self._filesystem.invalidate_cache()
            return {
                each.rsplit("/", 1)[-1] for each in self._filesystem.ls(self._root, detail=False)
            }
        except Exception as error:
            raise self._to_error("read", error) from error

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        try:
            if self.folder:
                with open_regular_file(self.folder / name, name) as file:
                    return file.read()
            content: bytes = self._filesystem.cat_file(f"{self._root}/{name}")
            return content
        except Exception as error:
            raise self._to_error("read", error) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file; only for URLs."""
        try:
            self._filesystem.pipe_file(f"{self._root}/{name}", content)
        except Exception as error:
            raise self._to_error("written", error) from error

    def save_image(self, name: str, pil_image: Image.Image, recipe: Recipe | None = None) -> None:
        """Write an image with its recipe inside, as `dream.save_image` does."""
        if self.folder:
            save_image(pil_image, self.folder / name, recipe, photo=True)
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "image.png")
            save_image(pil_image, file, recipe, photo=True)
            self.write(name, file.read_bytes())
