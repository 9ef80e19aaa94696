"""Where pictures go: a folder, or what fsspec reaches by a URL, as a bucket or a repository."""

from __future__ import annotations

import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from dream.errors import PictureError, first_line
from dream.files.bounded import regular_file
from dream.files.picture import save_image
from dream.recipe import Recipe


class Place:
    """A folder by its path, or a place by a URL, in which files appear whole or not at all.

    A URL's own store must see to that, as those of objects do (S3, the hub).

    Raises:
        PictureError: if it cannot be reached, or written.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.folder = None if "://" in where else Path(where)
        try:
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            else:
                self._files.makedirs(self._root, exist_ok=True)
        except Exception as error:  # Each store has errors of its own.
            raise self._cannot("be written", error) from error

    def _cannot(self, what: str, error: Exception) -> PictureError:
        return PictureError(f"{self.where} cannot {what}: {first_line(error)}")

    @cached_property
    def _found(self) -> tuple[Any, str]:
        import fsspec

        files, root = fsspec.url_to_fs(self.where)
        return files, root.rstrip("/")

    @property
    def _files(self) -> Any:
        return self._found[0]

    @property
    def _root(self) -> str:
        return self._found[1]

    def names(self) -> set[str]:
        """The names of the files that are there."""
        try:
            if self.folder:
                return set(os.listdir(self.folder))
            self._files.invalidate_cache()
            return {each.rsplit("/", 1)[-1] for each in self._files.ls(self._root, detail=False)}
        except Exception as error:
            raise self._cannot("be read", error) from error

    def read(self, name: str) -> bytes:
        """What is in that file."""
        try:
            if self.folder:
                with regular_file(self.folder / name, name) as file:
                    return file.read()
            content: bytes = self._files.cat_file(f"{self._root}/{name}")
            return content
        except Exception as error:
            raise self._cannot("be read", error) from error

    def write(self, name: str, content: bytes) -> None:
        """Put that into a file of a URL's."""
        try:
            self._files.pipe_file(f"{self._root}/{name}", content)
        except Exception as error:
            raise self._cannot("be written", error) from error

    def save(self, name: str, picture: Image.Image, recipe: Recipe | None = None) -> None:
        """Write a picture there, its recipe inside, as `save_image` does."""
        if self.folder:
            save_image(picture, self.folder / name, recipe, photo=True)
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "picture.png")
            save_image(picture, file, recipe, photo=True)
            self.write(name, file.read_bytes())
