"""The page: of this package the only room that knows Gradio."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _no_stub_files() -> Iterator[None]:
    """As it is imported, Gradio writes a stub (.pyi) of each component beside its source: it takes
    half of that time. It writes none of what lies in no file.
    """
    original_getfile = inspect.getfile

    def getfile(target: Any) -> str:
        if isinstance(target, type) and target.__module__.startswith("gradio."):
            raise OSError("no stub is wanted")
        return original_getfile(target)

    inspect.getfile = getfile  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = original_getfile


with _no_stub_files():
    import gradio as gradio
