"""Where pictures go: a folder, or what fsspec reaches by a URL, as a bucket or a repository."""

from __future__ import annotations

import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from dream.errors import PictureError, first_line
from dream.files.image import save_image
from dream.files.limited_reader import regular_file
from dream.recipe import Recipe


class Destination:
    """A folder by its path, or a place by a URL, in which files appear whole or not at all.

    A URL's own store must see to that, as those of objects do (S3, the hub).

    Raises:
        PictureError: if it cannot be reached, or written.
    """

    def __init__(self, where: str) -> None:
        self.url = where
        self.folder = None if "://" in where else Path(where)
        try:
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            else:
                self._filesystem.makedirs(self._root, exist_ok=True)
        except Exception as error:  # Each store has errors of its own.
            raise self._to_error("be written", error) from error

    def _to_error(self, what: str, error: Exception) -> PictureError:
        return PictureError(f"{self.url} cannot {what}: {first_line(error)}")

    @cached_property
    def _filesystem_and_root(self) -> tuple[Any, str]:
        import fsspec

        files, root = fsspec.url_to_fs(self.url)
        return files, root.rstrip("/")

    @property
    def _filesystem(self) -> Any:
        return self._filesystem_and_root[0]

    @property
    def _root(self) -> str:
        return self._filesystem_and_root[1]

    def list_files(self) -> set[str]:
        """The names of the files that are there."""
        try:
            if self.folder:
                return set(os.listdir(self.folder))
            self._filesystem.invalidate_cache()
            return {
                each.rsplit("/", 1)[-1] for each in self._filesystem.ls(self._root, detail=False)
            }
        except Exception as error:
            raise self._to_error("be read", error) from error

    def read(self, name: str) -> bytes:
        """What is in that file."""
        try:
            if self.folder:
                with regular_file(self.folder / name, name) as file:
                    return file.read()
            content: bytes = self._filesystem.cat_file(f"{self._root}/{name}")
            return content
        except Exception as error:
            raise self._to_error("be read", error) from error

    def write(self, name: str, content: bytes) -> None:
        """Put that into a file of a URL's."""
        try:
            self._filesystem.pipe_file(f"{self._root}/{name}", content)
        except Exception as error:
            raise self._to_error("be written", error) from error

    def save_image(self, name: str, picture: Image.Image, recipe: Recipe | None = None) -> None:
        """Write a picture there, its recipe inside, as `save_image` does."""
        if self.folder:
            save_image(picture, self.folder / name, recipe, photo=True)
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "picture.png")
            save_image(picture, file, recipe, photo=True)
            self.write(name, file.read_bytes())
